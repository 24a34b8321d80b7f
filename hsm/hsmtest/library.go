package hsmtest

import (
	"fmt"
	"path/filepath"
	"testing"
)

// library is findLibrary for a test.
func library(t testing.TB, debian string, names ...string) string {
	t.Helper()
	found, err := findLibrary(debian, names...)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// findLibrary finds a shared library of a Debian package, or of another
// distribution's, by the names that it may have below the folders of libraries.
func findLibrary(debian string, names ...string) (string, error) {
	for _, folder := range []string{"/usr/lib", "/usr/lib/*", "/usr/lib64"} {
		for _, name := range names {
			if found, _ := filepath.Glob(filepath.Join(folder, name)); len(found) > 0 {
				return found[0], nil
			}
		}
	}
	return "", fmt.Errorf("%s is not installed (Debian: apt-get install %s)", names[0], debian)
}
