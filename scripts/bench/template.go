package main

import (
	"embed"
	"os"
	"text/template"
)

//go:embed templates
var templateFiles embed.FS

var templates = template.Must(template.ParseFS(templateFiles, "templates/*"))

// writeTemplate writes a configuration; some of them hold the token's PIN.
func writeTemplate(name, path string, values any) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := templates.ExecuteTemplate(f, name, values); err != nil {
		return err
	}
	return f.Close()
}
