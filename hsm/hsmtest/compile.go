package hsmtest

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// compile makes a shared library of the C files in a folder of sources.
func compile(sources fs.FS, folder string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "hsmtest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, sources); err != nil {
		return nil, err
	}
	files, err := fs.Glob(sources, folder+"/*.c")
	if err != nil {
		return nil, err
	}
	args := []string{"-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread", "-o", "made.so"}
	cmd := exec.Command(cmp.Or(os.Getenv("CC"), "cc"), append(append(args, files...), "-ldl")...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile %s: %w\n%s", folder, err, out)
	}
	return os.ReadFile(filepath.Join(dir, "made.so"))
}
