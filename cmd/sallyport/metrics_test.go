package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestManual_HasEachMetric holds the manual's table to the names in the code, in both
// directions.
func TestManual_HasEachMetric(t *testing.T) {
	const root = "../.."
	name := regexp.MustCompile(`"(sallyport_[a-z_]+)"`)
	made := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range name.FindAllSubmatch(text, -1) {
			made[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile(filepath.Join(root, "configs/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[string]bool)
	for _, m := range regexp.MustCompile("(?m)^\\| `(sallyport_[a-z_]+)` \\|").FindAllSubmatch(manual, -1) {
		told[string(m[1])] = true
	}
	for m := range made {
		if !told[m] {
			t.Errorf("the manual does not have %s", m)
		}
	}
	for m := range told {
		if !made[m] {
			t.Errorf("the manual has %s, and nothing makes it", m)
		}
	}
	if len(made) == 0 {
		t.Error("no metrics were found")
	}
}
