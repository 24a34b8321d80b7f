package configs

import (
	"encoding"
	"errors"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A scalar is how values of one Go type are written.
type scalar struct {
	name  string   // as in "expected a whole number"
	tags  []string // YAML types that it is written in
	hint  string   // for a value of another YAML type
	parse func(text string) (any, error)
}

// scalars holds every type of a single value that the schema may use. An error
// of parse is a *fault.
var scalars = map[reflect.Type]scalar{
	reflect.TypeFor[string]():       {"text", []string{"!!str"}, "put the value in quotes", parseText},
	reflect.TypeFor[bool]():         {"true or false", []string{"!!bool"}, "true or false, without quotes", parseBool},
	reflect.TypeFor[int]():          {"a whole number", []string{"!!int"}, "digits, without quotes", parseInt},
	reflect.TypeFor[uint]():         {"a whole number", []string{"!!int"}, "digits, without quotes", parseUint},
	reflect.TypeFor[Duration]():     {"a duration", []string{"!!str"}, "a number with its unit, such as 30s, 5m or 1h30m", parseBy[Duration]},
	reflect.TypeFor[Days]():         {"days", []string{"!!str"}, "a whole number with a d, such as 365d", parseBy[Days]},
	reflect.TypeFor[Size]():         {"a size", []string{"!!int", "!!str"}, "bytes, such as 4096, or binary units, such as 64KiB or 1MiB", parseBy[Size]},
	reflect.TypeFor[netip.Prefix](): {"a network", []string{"!!str"}, "a network such as 10.0.0.0/8, or a single address", parsePrefix},
	reflect.TypeFor[PINSource]():    {pinForms, []string{"!!str"}, errPIN.hint, parseBy[PINSource]},
}

// A fault is what is wrong with a value: the cause and, unless empty, what to
// do about it.
type fault struct{ message, hint string }

func (f *fault) Error() string { return f.message }

// Hint is what can be done about it, or "".
func (f *fault) Hint() string { return f.hint }

// asFault is err as a fault, whose hint is empty if it is none.
func asFault(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	return &fault{err.Error(), ""}
}

func parseText(text string) (any, error) {
	if text == "" {
		return nil, &fault{"must not be empty", ""}
	}
	if err := checkCharacters(text); err != nil {
		return nil, err
	}
	return text, nil
}

// checkCharacters refuses what neither a path nor a name can hold, and what
// would make a mess of logs.
func checkCharacters(text string) error {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return &fault{"holds a control character or broken UTF-8", ""}
	}
	return nil
}

func parseBool(text string) (any, error) {
	switch text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return nil, &fault{"expected true or false, found " + quote(text), ""}
}

// decimal leaves out what readers take for different numbers: YAML reads 010
// and 1_0 as 8 and 10.
var decimal = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

func parseInt(text string) (any, error) {
	n, err := strconv.Atoi(text)
	if err != nil || !decimal.MatchString(text) {
		return nil, &fault{quote(text) + " is not a decimal number in range", ""}
	}
	return n, nil
}

func parseUint(text string) (any, error) {
	n, err := strconv.ParseUint(text, 10, strconv.IntSize)
	if err != nil || !decimal.MatchString(text) {
		return nil, &fault{quote(text) + " is not a decimal number in range", ""}
	}
	return uint(n), nil
}

func parsePrefix(text string) (any, error) {
	prefix, err := netip.ParsePrefix(text)
	if addr, errAddr := netip.ParseAddr(text); errAddr == nil && addr.Zone() == "" {
		prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	switch {
	case err != nil:
		return nil, &fault{quote(text) + " is not a network", "a network such as 10.0.0.0/8, or a single address"}
	case prefix.Bits() == 0:
		return nil, &fault{quote(text) + " trusts everybody", "name the proxies that stand in front of this listener"}
	case prefix.Addr().Is4In6():
		return nil, &fault{quote(text) + " is an IPv4 network in IPv6 form", "write it as an IPv4 network"}
	case prefix != prefix.Masked():
		return nil, &fault{quote(text) + " has bits behind its prefix", "did you mean " + prefix.Masked().String() + "?"}
	}
	return prefix, nil
}

// parseBy parses a T by its own UnmarshalText.
func parseBy[T any, P interface {
	*T
	encoding.TextUnmarshaler
}](text string) (any, error) {
	var value T
	if err := checkCharacters(text); err != nil {
		return nil, err
	}
	if err := P(&value).UnmarshalText([]byte(text)); err != nil {
		return nil, err
	}
	return value, nil
}

// takes tells whether a YAML value of this type and text may be one of s. A
// number in quotes is text, also where text with a unit would do.
func (s scalar) takes(tag, text string) bool {
	if tag == "!!str" && decimal.MatchString(text) && slices.Contains(s.tags, "!!int") {
		return false
	}
	return slices.Contains(s.tags, tag)
}
