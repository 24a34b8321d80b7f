package configs_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sallyport/configs"
)

func seconds(n int) configs.Duration { return configs.Duration(time.Duration(n) * time.Second) }

func TestParse_FillsEveryDefault(t *testing.T) {
	want := &configs.Config{
		HSM: configs.HSM{Tokens: []configs.Token{{
			Name:        "edge",
			Module:      "/etc/sallyport/lib/p11.so",
			Token:       "edge label",
			PIN:         configs.PINSource{Kind: configs.PINFile, Reference: "/etc/sallyport/edge.pin"},
			Sessions:    16,
			Processes:   1,
			Queue:       10_000,
			SignTimeout: seconds(5),
		}}, Rescan: seconds(60), StartTimeout: seconds(60)},
		Listeners: []configs.Listener{{
			Address:   ":443",
			Policy:    configs.PolicyIntermediate,
			RequestID: configs.On,
			Timeouts: configs.ListenerTimeouts{
				Handshake: seconds(10), Header: seconds(60), Read: seconds(60),
				Write: seconds(60), Idle: seconds(75), Tunnel: seconds(3600),
			},
			Limits: configs.Limits{Header: 64 << 10, Fields: 100, Connections: 10000},
		}},
		Sites: []configs.Site{{
			Name:         "www",
			Hosts:        []string{"www.example.org"},
			Certificates: []configs.Certificate{{Key: "pkcs11:token=edge%20label;object=www"}},
			Routes:       []configs.Route{{Path: "/", Pool: "web"}},
		}},
		Pools: []configs.Pool{{
			Name:            "web",
			Balance:         configs.BalanceRoundRobin,
			Protocol:        configs.ProtocolHTTP1,
			ProxyProtocol:   configs.Off,
			IdleConnections: 100,
			Backends:        []configs.Backend{{Address: "10.0.0.1:8080"}},
			Timeouts:        configs.PoolTimeouts{Connect: seconds(3), Response: seconds(60), Silence: seconds(3600), Idle: seconds(90)},
		}},
		Admin:           configs.Admin{Address: "127.0.0.1:9180", Socket: configs.AdminOff},
		Log:             configs.Log{Level: "info", Format: "json", Access: true},
		ShutdownTimeout: seconds(30),
		Dir:             "/etc/sallyport",
	}
	got := mustParse(t, valid)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
}

func TestParse_KeepsTheCaseOfTheEnvironment(t *testing.T) {
	config := mustParse(t, with(t, "pin: file:edge.pin",
		`pin: file:edge.pin
      environment: {SOFTHSM2_CONF: Soft.conf, Mixed_Case: "", lower: "a.b=c"}`))
	want := map[string]string{"SOFTHSM2_CONF": "Soft.conf", "Mixed_Case": "", "lower": "a.b=c"}
	if diff := cmp.Diff(want, config.HSM.Tokens[0].Environment); diff != "" {
		t.Errorf("Environment (-want +got):\n%s", diff)
	}
}

func TestParse_SlotZeroIsASlot(t *testing.T) {
	config := mustParse(t, with(t, "token: edge label", "slot: 0"))
	if slot := config.HSM.Tokens[0].Slot; slot == nil || *slot != 0 {
		t.Errorf("Slot = %v, want 0", slot)
	}
}

func TestParse_ResolvesPathsAgainstTheFile(t *testing.T) {
	config := mustParse(t, strings.NewReplacer(
		"lib/p11.so", "p11.so",
		"file:edge.pin", "credential:edge",
		"object=www", "object=www\n        chain: ../tls/www.pem\n    error_pages: [{status: 502, file: 502.html}]").Replace(valid)+"admin: {socket: run/admin.sock}\n")
	if got := config.Sites[0].ErrorPages[0].File; got != "/etc/sallyport/502.html" {
		t.Errorf("error page = %q", got)
	}
	token := config.HSM.Tokens[0]
	if token.Module != "p11.so" {
		t.Errorf("Module = %q, want it left to the dynamic linker", token.Module)
	}
	if got := token.PIN.String(); got != "credential:edge" {
		t.Errorf("PIN = %q", got)
	}
	if got := config.Sites[0].Certificates[0].Chain; got != "/etc/tls/www.pem" {
		t.Errorf("Chain = %q", got)
	}
	if got := config.Admin.Socket; got != "/etc/sallyport/run/admin.sock" {
		t.Errorf("Socket = %q", got)
	}
}

func TestParse_HostsTakeTheirCanonicalForm(t *testing.T) {
	config := mustParse(t, with(t, "[www.example.org]",
		`[WWW.Example.ORG, "*.Example.org", 192.0.2.1, "2001:DB8:0::1", a_b.test]`))
	want := []string{"www.example.org", "*.example.org", "192.0.2.1", "2001:db8::1", "a_b.test"}
	if diff := cmp.Diff(want, config.Sites[0].Hosts); diff != "" {
		t.Errorf("Hosts (-want +got):\n%s", diff)
	}
}

func TestParse_TrustedProxies(t *testing.T) {
	config := mustParse(t, with(t, `":443"`, `"systemd:https"
    trusted_proxies: [10.0.0.0/8, 192.0.2.1, "2001:db8::/32"]`))
	want := []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("192.0.2.1/32"),
		netip.MustParsePrefix("2001:db8::/32"),
	}
	if diff := cmp.Diff(want, config.Listeners[0].TrustedProxies, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("TrustedProxies (-want +got):\n%s", diff)
	}
}

func TestParse_TheEnvironmentOverridesTheFile(t *testing.T) {
	config := mustParse(t, valid+"admin: {address: 127.0.0.1:1}\nlog: {level: warn}\n",
		"SALLYPORT_ADMIN_ADDRESS=off", "SALLYPORT_LOG_ACCESS=false",
		"SALLYPORT_SHUTDOWN_TIMEOUT=1m", "PATH=/bin", "sallyport_log_level=error")
	if config.Admin.Enabled() {
		t.Errorf("Admin.Address = %q, want off", config.Admin.Address)
	}
	if config.Log != (configs.Log{Level: "warn", Format: "json", Access: false}) {
		t.Errorf("Log = %+v", config.Log)
	}
	if config.ShutdownTimeout != seconds(60) {
		t.Errorf("ShutdownTimeout = %v, want 1m", config.ShutdownTimeout)
	}
}

func TestParse_LoadsShareNothing(t *testing.T) {
	first := mustParse(t, valid, "SALLYPORT_LOG_LEVEL=debug")
	second := mustParse(t, valid)
	if first.Log.Level != "debug" || second.Log.Level != "info" {
		t.Errorf("levels %q and %q, want debug and info", first.Log.Level, second.Log.Level)
	}
}

func TestLoad_ProblemsNameTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sallyport.yaml")
	write(t, path, with(t, "pool: web", "pool: wbe"))
	_, err := configs.Load(path)
	want := path + `:15: sites[0].routes[0].pool: no pool named "wbe" (hint: did you mean "web"?)`
	if err == nil || err.Error() != want {
		t.Errorf("Load: got %v, want %s", err, want)
	}
}

func TestLoad_PathsAreRelativeToTheFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "sallyport.yaml"), valid)
	t.Chdir(filepath.Dir(dir))
	config, err := configs.Load(filepath.Join(filepath.Base(dir), "sallyport.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := config.HSM.Tokens[0].PIN.Reference, filepath.Join(dir, "edge.pin"); got != want || config.Dir != dir {
		t.Errorf("PIN in %q and Dir %q, want %q and %q", got, config.Dir, want, dir)
	}
}

func TestLoad_AnUnreadableFileHasAHint(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]error{filepath.Join(dir, "absent.yaml"): fs.ErrNotExist, dir: nil} {
		_, err := configs.Load(path)
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("Load(%s): got %v, want %v", path, err, want)
			continue
		}
		if _, ok := errors.AsType[*configs.Problems](err); ok {
			t.Errorf("Load(%s): %v is *Problems", path, err)
		}
		if hinted, ok := errors.AsType[interface {
			error
			Hint() string
		}](err); !ok || hinted.Hint() == "" {
			t.Errorf("Load(%s): %v has no hint", path, err)
		}
	}
}

func TestLoad_SampleRunsAsItIs(t *testing.T) {
	config, err := configs.Load("sallyport.yaml")
	if err != nil {
		t.Fatal(err)
	}
	demo := filepath.Join(filepath.Dir(config.Dir), "demo")
	if got, want := config.HSM.Tokens[0].PIN.String(), "file:"+filepath.Join(demo, "edge.pin"); got != want {
		t.Errorf("PIN = %s, want %s", got, want)
	}
	if got, want := config.Sites[1].Certificates[0].Chain, filepath.Join(demo, "rsa.pem"); got != want {
		t.Errorf("Chain = %s, want %s", got, want)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
