package memory

import (
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

func TestBudget_AClientAloneMayHoldHalf(t *testing.T) {
	b := NewBudget(1000)
	c := b.Client(addr("192.0.2.1"))
	defer c.Release()
	c.Take(500)
	if c.Short() || c.Out() {
		t.Error("half is too much")
	}
	c.Take(1)
	if !c.Short() || c.Out() {
		t.Error("more than half is not too much, or has to be given back")
	}
	c.Take(-501)
	if b.Used() != 0 {
		t.Errorf("%d are used", b.Used())
	}
}

func TestBudget_WhoHoldsMostIsRationedFirst(t *testing.T) {
	b := NewBudget(1000)
	hog, other, late := b.Client(addr("192.0.2.1")), b.Client(addr("192.0.2.2")), b.Client(addr("192.0.2.3"))
	hog.Take(500)
	other.Take(200)
	if !hog.Short() || hog.Out() || other.Short() {
		t.Error("with 300 left, who holds 500 is to wait and who holds 200 is not")
	}
	late.Take(180)
	if !hog.Out() || !other.Out() {
		t.Error("with 120 left, who holds 500 or 200 has to give way")
	}
	if b.Client(addr("192.0.2.4")).Short() {
		t.Error("who holds nothing is short")
	}
}

func TestBudget_AClientIsANetwork(t *testing.T) {
	b := NewBudget(1000)
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:db8::ffff:0:0:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%a", "fe80::1%b", true},
	} {
		one, other := b.Client(addr(tc.a)), b.Client(addr(tc.b))
		if (one == other) != tc.same {
			t.Errorf("%s and %s: one client: %v", tc.a, tc.b, one == other)
		}
		one.Release()
		other.Release()
	}
	none := b.Client(netip.Addr{})
	none.Release()
	if n := len(b.clients); n != 0 {
		t.Errorf("%d clients are left that nobody uses", n)
	}
}

func TestAvailable_IsTheLeastOfAllLimits(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	machine := available(root)
	if machine <= 0 || machine == math.MaxInt64 {
		t.Errorf("without control groups: %d", machine)
	}
	write("proc/self/cgroup", "0::/system.slice/sallyport.service\n")
	write("sys/fs/cgroup/system.slice/sallyport.service/memory.max", "max\n")
	if n := available(root); n != machine {
		t.Errorf("in a group without a limit: %d, not %d", n, machine)
	}
	write("sys/fs/cgroup/system.slice/memory.max", "33554432\n")
	if n := available(root); n != 32<<20 {
		t.Errorf("in a group within one of 32 MiB: %d", n)
	}
	write("sys/fs/cgroup/memory.max", "16777216\n") // a container sees its own at the top
	if n := available(root); n != 16<<20 {
		t.Errorf("in a container of 16 MiB: %d", n)
	}
	write("proc/self/cgroup", "12:cpu,cpuacct:/a\n5:memory:/a/b\n0::/\n")
	write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "8388608\n")
	if n := available(root); n != 8<<20 {
		t.Errorf("in a version 1 group of 8 MiB: %d", n)
	}
}
