package configs_test

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"sallyport/configs"
)

// schema lists every key by its path, such as `sites[].routes[].path`, with its
// default as the struct tag has it.
func schema() map[string]string {
	keys := map[string]string{}
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		for f := range t.Fields() {
			key := f.Tag.Get("mapstructure")
			if key == "-" {
				continue
			}
			at := strings.TrimPrefix(path+"."+key, ".")
			typ := f.Type
			if typ.Kind() == reflect.Slice && typ.Elem().PkgPath() == reflect.TypeFor[configs.Config]().PkgPath() {
				at, typ = at+"[]", typ.Elem()
			}
			if typ.Kind() == reflect.Struct && typ != reflect.TypeFor[configs.PINSource]() {
				walk(typ, at)
				continue
			}
			keys[at] = f.Tag.Get("default")
		}
	}
	walk(reflect.TypeFor[configs.Config](), "")
	return keys
}

// written lists every key of a YAML file by its path, with the values it has.
func written(t *testing.T, file string, known map[string]string) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var document any
	if err := yaml.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	keys := map[string][]string{}
	var walk func(value any, path string)
	walk = func(value any, path string) {
		_, leaf := known[path]
		switch v := value.(type) {
		case map[string]any:
			if leaf {
				break
			}
			for key, value := range v {
				walk(value, strings.TrimPrefix(path+"."+key, "."))
			}
			return
		case []any:
			if leaf {
				break
			}
			for _, value := range v {
				walk(value, path+"[]")
			}
			return
		}
		keys[path] = append(keys[path], fmt.Sprint(value))
	}
	walk(document, "")
	return keys
}

func TestReference_HoldsEveryKeyWithItsDefault(t *testing.T) {
	known := schema()
	keys := written(t, "reference.yaml", known)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(known)), slices.Sorted(maps.Keys(keys))); diff != "" {
		t.Fatalf("keys (-schema +reference.yaml):\n%s", diff)
	}
	for path, def := range known {
		if def != "" && !slices.Contains(keys[path], def) {
			t.Errorf("%s: reference.yaml has %v, the default is %s", path, keys[path], def)
		}
	}
	if _, err := configs.Load("reference.yaml"); err != nil {
		t.Error(err)
	}
}

func TestReference_SaysWhatIsADefault(t *testing.T) {
	data, err := os.ReadFile("reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// A key stands below the comment that explains it. Of the keys without a
	// default, trusted_proxies alone shows what holds without it.
	told := strings.Count(string(data), "(default).") + strings.Count(string(data), "(default: none)")
	defaults := 1
	for _, def := range schema() {
		if def != "" {
			defaults++
		}
	}
	if told != defaults {
		t.Errorf("reference.yaml tells %d defaults, the schema has %d", told, defaults)
	}
}

var (
	heading = regexp.MustCompile("^#+ (?:`([^`]+)`|.*)$")
	row     = regexp.MustCompile("^\\| `([a-z_]+)` \\| [^|]+ \\| ([^|]+) \\|")
)

func TestREADME_TellsEveryKeyWithItsDefault(t *testing.T) {
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	section := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if m := heading.FindStringSubmatch(line); m != nil {
			section = m[1]
		} else if strings.HasPrefix(line, "| `sallyport_") {
			continue // a metric
		} else if m := row.FindStringSubmatch(line); m != nil {
			told[strings.TrimPrefix(section+"."+m[1], ".")] = m[2]
		}
	}
	known := schema()
	if diff := cmp.Diff(slices.Sorted(maps.Keys(known)), slices.Sorted(maps.Keys(told))); diff != "" {
		t.Fatalf("keys (-schema +README.md):\n%s", diff)
	}
	for path, def := range known {
		if got := strings.Trim(told[path], "`"); def != "" && got != def {
			t.Errorf("%s: README.md says %s, the default is %s", path, got, def)
		} else if def == "" && got != "required" && got != "–" {
			t.Errorf("%s: README.md says %s, there is no default", path, got)
		}
	}
}

func TestREADME_TellsEveryVariable(t *testing.T) {
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for path := range schema() {
		if strings.Contains(path, "[]") {
			continue
		}
		variable := "SALLYPORT_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
		if want := fmt.Sprintf("| `%s` | `%s` |", variable, path); !strings.Contains(string(data), want) {
			t.Errorf("README.md lacks the row %s", want)
		}
		// An empty value shows that the variable is known.
		if got := problemsOf(t, valid, variable+"=").List[0]; got.Path != variable || got.Message == "no setting has this variable" {
			t.Errorf("%s is not known: %v", variable, got)
		}
	}
}

func TestREADME_ExampleLoads(t *testing.T) {
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "```yaml\n")
	example, _, _ := strings.Cut(rest, "```")
	mustParse(t, example)
}
