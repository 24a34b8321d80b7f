package hsmtest

import (
	"path/filepath"
	"testing"
)

// library finds a shared library of a Debian package, or of another
// distribution's, by the names that it may have below the folders of libraries.
func library(t testing.TB, debian string, names ...string) string {
	t.Helper()
	for _, folder := range []string{"/usr/lib", "/usr/lib/*", "/usr/lib64"} {
		for _, name := range names {
			if found, _ := filepath.Glob(filepath.Join(folder, name)); len(found) > 0 {
				return found[0]
			}
		}
	}
	t.Fatalf("%s is not installed (Debian: apt-get install %s)", names[0], debian)
	return ""
}
