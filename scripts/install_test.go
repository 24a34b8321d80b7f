// Package scripts tests what the scripts share.
package scripts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// machine is one whose commands are fakes, in front of the real ones.
type machine struct {
	t   *testing.T
	dir string
	env []string
}

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, dir: t.TempDir()}
	m.env = []string{
		"PATH=" + m.dir + ":/usr/bin:/bin", "HOME=" + t.TempDir(), "DIR=" + m.dir,
		"GO_PLACES=", "APT_PAUSE=0", "POLICY_RC_D=" + filepath.Join(m.dir, "policy-rc.d"),
	}
	return m
}

// command is a fake one, at a path below the machine's folder.
func (m *machine) command(name, script string) string {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// run runs a script that has sourced install.sh, and returns what it printed.
func (m *machine) run(script string) (string, error) {
	m.t.Helper()
	cmd := exec.Command("bash", "-c", "set -euo pipefail\n. ./install.sh\n"+script)
	cmd.Env = m.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// A Go that is too old does not hide one that will do.
func TestNeedGo_TakesOneThatIsNewEnough(t *testing.T) {
	m := newMachine(t)
	m.command("go", "echo go version go1.19.8 linux/amd64")
	new := m.command("elsewhere/go", "echo go version go1.99.1 linux/amd64")
	m.env = append(m.env, "GO_PLACES="+new)
	out, err := m.run("need_go && command -v go")
	if err != nil || out != new+"\n" {
		t.Errorf("%v: %q, want %s", err, out, new)
	}
}

// One that fetches the right one by itself does as well.
func TestNeedGo_TakesOneThatFetchesTheRightOne(t *testing.T) {
	m := newMachine(t)
	path := m.command("go", `[ "${GOTOOLCHAIN-}" = local ] && echo go version go1.22.0 linux/amd64 || echo go version go1.99.0 linux/amd64`)
	if out, err := m.run("need_go && command -v go"); err != nil || out != path+"\n" {
		t.Errorf("%v: %q", err, out)
	}
}

func TestNeedGo_SaysWhatItFound(t *testing.T) {
	m := newMachine(t)
	path := m.command("go", "echo go version go1.19.8 linux/amd64")
	m.env = append(m.env, "PATH="+m.dir+":"+m.onlyReal())
	out, err := m.run("need_go")
	if want := "error: Go is too old: found go1.19.8 (" + path + "), and 1."; err == nil || !strings.HasPrefix(out, want) || !strings.Contains(out, "\nhint: install Go 1.") {
		t.Errorf("%v: %q, want %q", err, out, want)
	}
}

// onlyReal is a folder with the real commands that install.sh needs, and no Go.
func (m *machine) onlyReal() string {
	dir := m.t.TempDir()
	for _, name := range []string{"bash", "sh", "sed", "sort", "head", "dirname", "id", "getent", "cut", "mktemp"} {
		path, err := exec.LookPath(name)
		if err != nil {
			m.t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			m.t.Fatal(err)
		}
	}
	return dir
}

func TestNeedGo_WorksWithoutAHome(t *testing.T) {
	m := newMachine(t)
	m.command("go", `echo go version go1.99.1 linux/amd64`)
	m.command("getent", "echo nobody:x:1:1::/nonexistent:/bin/sh")
	out, err := m.run(`unset HOME; need_go; bash -c 'echo built >"$HOME/file" && cat "$HOME/file"'; rm -r "$HOME"`)
	if err != nil || !strings.HasSuffix(out, "\nbuilt\n") {
		t.Errorf("%v: %q", err, out)
	}
}

// aptOf installs the command tool, with the package tool and its service.
func (m *machine) aptOf(script string) {
	m.command("id", "echo 0")
	m.command("apt-get", script+`
touch "$DIR/installed"
[ -x "$DIR/policy-rc.d" ] && "$DIR/policy-rc.d" || echo "services held: $?" >>"$DIR/log"
printf '#!/bin/sh\n' >"$DIR/tool"; chmod 755 "$DIR/tool"`)
	m.command("dpkg-query", `echo "ii  nginx"; echo "rc  removed"; if [ -e "$DIR/installed" ]; then echo "ii  tool-common"; echo "ii  tool"; fi`)
	m.command("dpkg", `case $2 in
tool-common) echo /lib/systemd/system/tool.service; echo /lib/systemd/system/tool@.service; echo /usr/lib/systemd/user/tool.socket; echo /etc/init.d/tool ;;
nginx) echo /lib/systemd/system/nginx.service ;;
esac`)
	m.command("systemctl", `echo "systemctl $*" >>"$DIR/log"`)
	m.command("update-rc.d", `echo "update-rc.d $*" >>"$DIR/log"`)
}

func TestNeed_WaitsForAnotherApt(t *testing.T) {
	m := newMachine(t)
	m.aptOf(`echo x >>"$DIR/tries"
if [ "$(wc -l <"$DIR/tries")" -lt 3 ]; then echo "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1 (apt-get)"; exit 100; fi`)
	out, err := m.run("need tool=tool && command -v tool")
	if want := "installing tool\nwaiting for another apt or dpkg to finish\n" + filepath.Join(m.dir, "tool") + "\n"; err != nil || out != want {
		t.Errorf("%v: %q, want %q", err, out, want)
	}
}

func TestNeed_ShowsWhyItFailed(t *testing.T) {
	m := newMachine(t)
	m.aptOf(`echo "E: Unable to locate package tool"; exit 100`)
	out, err := m.run("need tool=tool")
	if err == nil || !strings.Contains(out, "E: Unable to locate package tool\nerror: apt-get could not install tool\n") {
		t.Errorf("%v: %q", err, out)
	}
}

// Services of packages that were installed for a script are off, and no others are.
func TestNeed_LeavesNoServiceBehind(t *testing.T) {
	m := newMachine(t)
	m.aptOf("")
	if out, err := m.run("need tool=tool"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	log, err := os.ReadFile(filepath.Join(m.dir, "log"))
	if want := "services held: 101\nsystemctl disable --now tool.service\nupdate-rc.d tool disable\n"; err != nil || string(log) != want {
		t.Errorf("%v: %q, want %q", err, log, want)
	}
	if _, err := os.Stat(filepath.Join(m.dir, "policy-rc.d")); !os.IsNotExist(err) {
		t.Errorf("policy-rc.d is left behind: %v", err)
	}
}

// A policy of the machine's owner stays as it is.
func TestNeed_LeavesThePolicyOfTheMachineAlone(t *testing.T) {
	m := newMachine(t)
	m.aptOf("")
	policy := m.command("policy-rc.d", "exit 104")
	if out, err := m.run("need tool=tool"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(policy)
	if err != nil || string(text) != "#!/bin/sh\nexit 104\n" {
		t.Errorf("%v: %q", err, text)
	}
}
