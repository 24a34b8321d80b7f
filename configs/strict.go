package configs

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// A strictDecoder is what viper reads YAML with in place of its own decoder,
// which lets through unknown keys and repeats values in its errors. Only what
// the schema knows, in the type that the schema wants, comes out of it; the rest
// goes to the report. It never fails.
type strictDecoder struct{ report *report }

// Decoder implements [viper.DecoderRegistry].
func (d strictDecoder) Decoder(string) (viper.Decoder, error) { return d, nil }

// Decode implements [viper.Decoder]. Into comes a tree of maps and lists with
// typed values at its ends. Such values are left alone by viper, which else would
// lower-case the names in a Token's Environment.
func (d strictDecoder) Decode(data []byte, into map[string]any) error {
	node := readTree(d.report.root(), data)
	if node == nil {
		return nil
	}
	if value, ok := decode(d.report.root(), node, reflect.TypeFor[Config]()); ok {
		for key, v := range value.(map[string]any) {
			into[key] = v
		}
	}
	return nil
}

// decode is the value of a node for a field of type t. What is wrong with it
// is reported at p; ok is false where there is no value at all.
func decode(p place, n *yaml.Node, t reflect.Type) (value any, ok bool) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		p.spoil("anchors and aliases are not supported", "write the value out")
	case n.Style&yaml.TaggedStyle != 0:
		p.spoil("YAML tags are not supported", "leave out the word that begins with !")
	case n.ShortTag() == "!!null":
		p.spoil("has no value", "give it one, or leave out the key")
	case scalars[t].parse != nil:
		return decodeScalar(p, n, scalars[t])
	case t.Kind() == reflect.Struct && n.Kind == yaml.MappingNode:
		return decodeSection(p, n, t), true
	case t.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode:
		return decodeList(p, n, t.Elem()), true
	case t.Kind() == reflect.Map && n.Kind == yaml.MappingNode:
		return decodeEnvironment(p, n), true
	case t.Kind() == reflect.Slice:
		p.spoil("expected a list, found "+kindOf(n), "write each item behind a dash, or all of them in brackets")
	default:
		p.spoil("expected a mapping, found "+kindOf(n), "write each key on a line of its own, further to the right")
	}
	return nil, false
}

func decodeScalar(p place, n *yaml.Node, s scalar) (any, bool) {
	if n.Kind != yaml.ScalarNode || !s.takes(n.ShortTag(), n.Value) {
		p.spoil("expected "+s.name+", found "+kindOf(n), s.hint)
		return nil, false
	}
	value, err := s.parse(n.Value)
	if err != nil {
		p.refuse(err)
		p.mute()
		return nil, false
	}
	return value, true
}

// decodeList keeps every item in its position, so that paths stay true: a
// broken one leaves a zero value, which validation knows to be muted.
func decodeList(p place, n *yaml.Node, t reflect.Type) []any {
	list := make([]any, 0, len(n.Content))
	for i, node := range n.Content {
		at := p.item(i)
		p.report.lines[at.path] = node.Line
		value, ok := decode(at, node, t)
		if !ok && isSection(t) {
			value = map[string]any{}
		} else if !ok {
			value = reflect.Zero(t).Interface()
		}
		if item, ok := value.(map[string]any); ok {
			fillDefaults(item, t)
		}
		list = append(list, value)
	}
	return list
}

func decodeSection(p place, n *yaml.Node, t reflect.Type) map[string]any {
	fields := fieldsOf(t)
	known := make(map[string]field, len(fields))
	for _, f := range fields {
		known[f.key] = f
	}
	section := map[string]any{}
	for key, node := range entries(p, n) {
		f, ok := known[key]
		if !ok {
			unknownKey(p, n, node, key, keysOf(fields))
			continue
		}
		if value, ok := decode(p.key(key), node, f.typ); ok {
			section[key] = value
		}
	}
	return section
}

// variableSyntax is what a variable of the environment may be called.
var variableSyntax = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// decodeEnvironment reads the one mapping whose keys are the operator's. Its
// values may be empty.
func decodeEnvironment(p place, n *yaml.Node) map[string]string {
	environment := map[string]string{}
	for key, node := range entries(p, n) {
		if !variableSyntax.MatchString(key) {
			p.say("a key is not the name of a variable", "letters, digits and underscores, such as SOFTHSM2_CONF")
			continue
		}
		at := p.key(key)
		if node.Kind == yaml.ScalarNode && node.Anchor == "" && node.ShortTag() == "!!str" && node.Value == "" {
			environment[key] = ""
		} else if value, ok := decode(at, node, reflect.TypeFor[string]()); ok {
			environment[key] = value.(string)
		}
	}
	return environment
}

// entries yields a mapping's keys with their values, notes their lines, and
// reports keys that are doubled or that no schema could hold.
func entries(p place, n *yaml.Node) func(yield func(string, *yaml.Node) bool) {
	return func(yield func(string, *yaml.Node) bool) {
		first := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			switch line, doubled := first[key.Value]; {
			case key.ShortTag() == "!!merge":
				p.sayAt(key.Line, "merge keys are not supported", "write the values out")
			case key.Kind != yaml.ScalarNode || key.Anchor != "" || key.Style&yaml.TaggedStyle != 0:
				p.sayAt(key.Line, "a key is not a plain word", "")
			case doubled && showable(key.Value):
				p.key(key.Value).sayAt(key.Line, fmt.Sprintf("is given twice, first in line %d", line), "leave out one of them")
			case doubled:
				p.sayAt(key.Line, fmt.Sprintf("a key is given twice, first in line %d", line), "leave out one of them")
			default:
				first[key.Value] = key.Line
				p.report.lines[join(p.path, key.Value)] = key.Line
				if !yield(key.Value, value) {
					return
				}
			}
		}
	}
}

// unknownKey reports a key that the mapping n at p should not have. Where it
// was likely meant to be one that is missing, that one is not reported too.
func unknownKey(p place, n, node *yaml.Node, key string, known []string) {
	if !showable(key) {
		p.sayAt(p.report.lines[join(p.path, key)], "unknown key (not shown: it is no plain word)",
			"a key is followed by a colon and a space; "+suggest("", known))
		return
	}
	p.key(key).say("unknown key", suggest(key, known))
	if near, ok := nearest(key, known); ok && !hasKey(n, near) {
		p.key(near).mute()
	}
}

// showable tells whether an unknown key may be repeated in an error. It may not
// when it could be a PIN: `{pin:1234}`, without a space, is a key.
func showable(key string) bool {
	return keySyntax.MatchString(key) && !pinKey.MatchString(key)
}

var (
	keySyntax = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,39}$`)
	pinKey    = regexp.MustCompile(`(?i)^pin.*[0-9]`)
)

func hasKey(n *yaml.Node, key string) bool {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return true
		}
	}
	return false
}

// kindOf names what a node is, and shows nothing of it.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	}
	switch tag := n.ShortTag(); tag {
	case "!!str":
		return "text"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!timestamp":
		return "a date"
	default:
		return "a value of type " + strings.TrimPrefix(tag, "!!")
	}
}
