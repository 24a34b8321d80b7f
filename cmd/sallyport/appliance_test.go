package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sallyport/configs"
)

// unit is the systemd unit, with all values of each setting.
func unit(t *testing.T) map[string][]string {
	text, err := os.ReadFile(filepath.Join("..", "..", "scripts", "appliance", "sallyport.service"))
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			settings[name] = append(settings[name], value)
		}
	}
	return settings
}

// The sample of the README works under the unit: it reads no PIN that the service's user
// has no right to, and its socket is where the unit makes a folder.
func TestAppliance_READMEsSampleWorksUnderTheUnit(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	sample := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(text)
	if sample == nil {
		t.Fatal("README.md has no sample")
	}
	c, err := configs.Parse("/etc/sallyport", sample[1], nil)
	if err != nil {
		t.Fatal(err)
	}
	u := unit(t)
	for _, token := range c.HSM.Tokens {
		credential, ok := strings.CutPrefix(token.PIN.String(), "credential:")
		if want := credential + ":/etc/sallyport/" + credential; !ok || u["LoadCredential"][0] != want {
			t.Errorf("the PIN of token %s is %s, the unit loads %v", token.Name, token.PIN, u["LoadCredential"])
		}
	}
	if folder := "/run/" + u["RuntimeDirectory"][0]; filepath.Dir(c.Admin.Socket) != folder {
		t.Errorf("the socket is %s, the unit makes %s", c.Admin.Socket, folder)
	}
}

// journald drops no lines, and the limit of open files suits the limits of connections.
func TestAppliance_UnitLeavesRoom(t *testing.T) {
	u := unit(t)
	if got := u["LogRateLimitIntervalSec"]; len(got) != 1 || got[0] != "0" {
		t.Errorf("LogRateLimitIntervalSec=%v", got)
	}
	files := 0
	for _, digit := range u["LimitNOFILE"][0] {
		files = files*10 + int(digit-'0')
	}
	c := &configs.Config{
		Listeners: []configs.Listener{{Limits: configs.Limits{Connections: 10000}}},
		Redirects: []configs.Redirect{{Limits: configs.Limits{Connections: 10000}}},
	}
	if got := fit(c, uint64(files))(10000); got != 10000 {
		t.Errorf("LimitNOFILE=%d leaves %d connections of the default", files, got)
	}
}
