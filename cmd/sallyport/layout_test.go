package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// listedPackage is what `go list -deps -json` says of a package.
type listedPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func listPackages(t *testing.T) map[string]listedPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,Deps", "sallyport/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := make(map[string]listedPackage)
	d := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listedPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

// below says whether a package is the folder's own or lies under it.
func below(pkg, folder string) bool {
	return pkg == folder || strings.HasPrefix(pkg, folder+"/")
}

// The parts of the product stand apart; only the command joins them.
func TestLayout_PartsDoNotImportEachOther(t *testing.T) {
	parts := []string{"sallyport/hsm", "sallyport/proxy", "sallyport/pool", "sallyport/configs"}
	all := listPackages(t)
	for _, part := range parts {
		if _, ok := all[part]; !ok {
			t.Errorf("there is no package %s", part)
		}
	}
	for path, p := range all {
		for _, part := range parts {
			if !below(path, part) {
				continue
			}
			for _, other := range parts {
				for _, dep := range p.Deps {
					if other != part && below(dep, other) {
						t.Errorf("%s depends on %s", path, dep)
					}
				}
			}
		}
	}
}

// A command that reads the configuration by itself would keep the PINs that are
// in its environment.
func TestLayout_ConfigurationsAreLoadedInOnePlace(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if loads := strings.Contains(string(text), "configs."+"Load("); loads != (file == "launch.go") {
			t.Errorf("%s loads a configuration: %v; that is for loadConfig", file, loads)
		}
	}
}

// The serving process's own packages cannot load a vendor's library, and a
// library has one place where it is used.
func TestLayout_LibrariesHaveOnePlace(t *testing.T) {
	places := map[string][]string{
		"github.com/miekg/pkcs11": {"sallyport/hsm/signer"},
		"github.com/spf13/viper":  {"sallyport/configs"},
		"github.com/spf13/cobra":  {"sallyport/cmd/sallyport"},
	}
	all := listPackages(t)
	for library, allowed := range places {
		found := false
		for path, p := range all {
			if !below(path, "sallyport") || !slices.Contains(p.Imports, library) {
				continue
			}
			found = true
			if !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s, which only %s may", path, library, strings.Join(allowed, ", "))
			}
		}
		if !found {
			t.Errorf("nothing imports %s: this rule no longer holds anything", library)
		}
	}
	for _, path := range []string{"sallyport/hsm", "sallyport/proxy", "sallyport/pool", "sallyport/configs"} {
		if slices.Contains(all[path].Deps, "github.com/miekg/pkcs11") {
			t.Errorf("%s depends on miekg/pkcs11", path)
		}
	}
}
