package configs

import (
	"fmt"
	"reflect"
	"strings"
)

// envPrefix begins the name of every variable that overrides a setting.
const envPrefix = "SALLYPORT_"

// A field is one key that a struct of the schema has.
type field struct {
	key string
	typ reflect.Type
	def any // the typed default; nil: none
}

// fieldsOf lists the keys of a struct of the schema, in the order of its fields.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for f := range t.Fields() {
		key := f.Tag.Get("mapstructure")
		if key == "-" {
			continue
		}
		fields = append(fields, field{key: key, typ: f.Type, def: defaultOf(f)})
	}
	return fields
}

// defaultOf parses a field's default by the same rules as the file's values. It
// panics on one that breaks them, which no test would let through.
func defaultOf(f reflect.StructField) any {
	text, ok := f.Tag.Lookup("default")
	if !ok {
		return nil
	}
	value, err := scalars[f.Type].parse(text)
	if err != nil {
		panic(fmt.Sprintf("configs: default of %s: %v", f.Name, err))
	}
	return value
}

// fillDefaults adds what an item of a list, of type t, has left out. Outside
// lists viper knows the defaults; inside them it can't.
func fillDefaults(item map[string]any, t reflect.Type) {
	for _, f := range fieldsOf(t) {
		switch value, given := item[f.key]; {
		case isSection(f.typ):
			section, ok := value.(map[string]any)
			if !ok {
				section = map[string]any{}
				item[f.key] = section
			}
			fillDefaults(section, f.typ)
		case !given && f.def != nil:
			item[f.key] = f.def
		}
	}
}

// A setting is a scalar outside lists: what viper knows by path, and what a
// variable of the environment can override.
type setting struct {
	field
	path     string
	variable string
}

// settings lists every setting of the schema.
var settings = settingsOf(reflect.TypeFor[Config](), "")

func settingsOf(t reflect.Type, path string) []setting {
	var list []setting
	for _, f := range fieldsOf(t) {
		at := join(path, f.key)
		if isSection(f.typ) {
			list = append(list, settingsOf(f.typ, at)...)
		} else if _, ok := scalars[f.typ]; ok {
			variable := envPrefix + strings.ToUpper(strings.ReplaceAll(at, ".", "_"))
			list = append(list, setting{field: f, path: at, variable: variable})
		}
	}
	return list
}

// isSection tells a mapping with keys of its own from a scalar that happens to
// be a struct in Go.
func isSection(t reflect.Type) bool {
	_, scalar := scalars[t]
	return t.Kind() == reflect.Struct && !scalar
}
