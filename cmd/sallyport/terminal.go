package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"golang.org/x/text/width"

	"sallyport/proxy/printable"
)

// What tokens, certificates and vendors' libraries say of themselves is printed
// for people, and may hold anything: control sequences that a terminal obeys,
// marks that turn the direction of writing, letters of two columns and of none.

// plain is text that a terminal shows and does not obey.
func plain(text string) string { return printable.Text(text) }

// columnsOf is how many columns of a terminal text takes (Unicode Standard
// Annex #11). Letters of an ambiguous width take one, as outside of East Asia.
func columnsOf(text string) int {
	n := 0
	for _, r := range text {
		switch kind := width.LookupRune(r).Kind(); {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case kind == width.EastAsianWide || kind == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}

// padTo is text with blanks behind it, up to so many columns.
func padTo(text string, columns int) string {
	return text + strings.Repeat(" ", max(0, columns-columnsOf(text)))
}

// table is rows of cells that are printed in columns.
type table struct{ rows [][]string }

func (t *table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = plain(c)
	}
	t.rows = append(t.rows, cells)
}

// print writes the rows with so much in front of each. The last cell of a row may
// be of any length.
func (t *table) print(w io.Writer, indent string) error {
	var columns []int
	for _, r := range t.rows {
		for i, c := range r[:len(r)-1] {
			if i == len(columns) {
				columns = append(columns, 0)
			}
			columns[i] = max(columns[i], columnsOf(c))
		}
	}
	for _, r := range t.rows {
		var b strings.Builder
		for i, c := range r[:len(r)-1] {
			b.WriteString(padTo(c, columns[i]) + "  ")
		}
		if _, err := fmt.Fprintln(w, indent+b.String()+r[len(r)-1]); err != nil {
			return err
		}
	}
	return nil
}
