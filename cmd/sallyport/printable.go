package main

import (
	"encoding/json"
	"io"

	"sallyport/proxy/printable"
)

// printJSON prints v for tools, and for who looks at it in a terminal.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(printable.JSON{Writer: w})
	e.SetIndent("", "  ")
	return e.Encode(v)
}
