package proxy

import (
	"fmt"
	"slices"
	"strings"

	"sallyport/proxy/message"
)

// FieldEdits change the fields of messages that pass. They know nothing of
// framing, forwarding and what else is written here: New refuses such names.
type FieldEdits struct {
	Set    []Field  // takes the place of all fields of its name
	Add    []Field  // comes beside them
	Remove []string // names
}

// Field is a field's name and literal value.
type Field struct{ Name, Value string }

// fieldEdits are FieldEdits made ready. nil changes nothing.
type fieldEdits struct {
	drop  []string // names in lower case
	noVia bool     // Via is among them, and not written here either
	add   []message.Field
}

func newFieldEdits(e FieldEdits) *fieldEdits {
	if len(e.Set)+len(e.Add)+len(e.Remove) == 0 {
		return nil
	}
	ready := new(fieldEdits)
	for _, name := range e.Remove {
		ready.drop = append(ready.drop, strings.ToLower(name))
	}
	for _, f := range e.Set {
		ready.drop = append(ready.drop, strings.ToLower(f.Name))
	}
	ready.noVia = slices.Contains(ready.drop, "via")
	for _, f := range slices.Concat(e.Set, e.Add) {
		ready.add = append(ready.add, message.Field{ID: message.IDOf([]byte(f.Name)), Name: []byte(f.Name), Value: []byte(f.Value)})
	}
	return ready
}

// drops says whether a field that came goes no further.
func (e *fieldEdits) drops(f message.Field) bool {
	if e == nil {
		return false
	}
	for _, name := range e.drop {
		if f.Is(name) {
			return true
		}
	}
	return false
}

// appendTo adds the fields that are set and added.
func (e *fieldEdits) appendTo(fields []message.Field) []message.Field {
	if e == nil {
		return fields
	}
	return append(fields, e.add...)
}

// hidesVia says whether a message goes on without Via.
func (e *fieldEdits) hidesVia() bool { return e != nil && e.noVia }

// check finds what must not be written.
func (e FieldEdits) check() error {
	for _, f := range slices.Concat(e.Set, e.Add) {
		if err := checkEditedName(f.Name); err != nil {
			return err
		}
		if strings.Trim(f.Value, " \t") != f.Value || strings.ContainsFunc(f.Value, notInValue) {
			return fmt.Errorf("the value of %q cannot be one of a field", f.Name)
		}
	}
	for _, name := range e.Remove {
		if err := checkEditedName(name); err != nil {
			return err
		}
	}
	return nil
}

// notInValue takes printable ASCII, blanks and tabs as values.
func notInValue(r rune) bool { return r < ' ' && r != '\t' || r > '~' }

func notInName(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// checkEditedName refuses what is no name, and what belongs to the codecs or is
// written here.
func checkEditedName(name string) error {
	f := message.Field{ID: message.IDOf([]byte(name)), Name: []byte(name)}
	switch f.ID {
	case message.Cookie, message.Server, message.Date, message.Via, message.Other:
		if name == "" || strings.ContainsFunc(name, notInName) {
			return fmt.Errorf("%q is not the name of a field", name)
		}
		if !isClaim(f) {
			return nil
		}
	}
	return fmt.Errorf("the field %q is not edited: it is written anew, or frames the message", name)
}
