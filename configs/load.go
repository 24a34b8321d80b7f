package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
)

// Load reads a configuration from a file and the process's environment.
// Relative paths in it are relative to the file's folder. The error is a
// *Problems where the file could be read and its content is wrong. The error of
// a file that could not be read wraps the cause, and has a method Hint() string.
func Load(path string) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	config, err := Parse(filepath.Dir(path), data, os.Environ())
	if problems, ok := errors.AsType[*Problems](err); ok {
		problems.File = path
	}
	return config, err
}

// Parse is Load for a file's content and an environment in the form of
// [os.Environ]. Dir is what relative paths are relative to.
func Parse(dir string, data []byte, environ []string) (*Config, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("configuration: find the folder of relative paths: %w", err)
	}
	report := newReport()
	config, err := read(report, data, environ)
	if err != nil {
		return nil, err
	}
	config.validate(report.root())
	if err := report.err(); err != nil {
		return nil, err
	}
	config.warnOfNoEffect(report.root())
	config.Warnings = sorted(report.warnings)
	config.finish(dir)
	return config, nil
}

// readFile reads no more of a file than tells that it is too large.
func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, unreadable(err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, unreadable(err)
	}
	return data, nil
}

// unreadable wraps the error of a file that could not be read, with what the
// operator can do about it.
func unreadable(err error) error {
	hint := "the configuration is one YAML file"
	switch {
	case errors.Is(err, os.ErrNotExist):
		hint = "check the path; configs/sallyport.yaml is a sample to begin with"
	case errors.Is(err, os.ErrPermission):
		hint = "the file must be readable by the user that the service runs as"
	}
	return &hintedError{fmt.Errorf("read the configuration: %w", err), hint}
}

// A hintedError is an error whose Hint says what to do about it.
type hintedError struct {
	error
	hint string
}

func (e *hintedError) Unwrap() error { return e.error }
func (e *hintedError) Hint() string  { return e.hint }

// read fills a Config from the three layers: defaults, file, environment. What
// does not fit the schema is left out of it and reported.
func read(report *report, data []byte, environ []string) (*Config, error) {
	v := viper.NewWithOptions(viper.WithDecoderRegistry(strictDecoder{report}))
	v.SetConfigType("yaml")
	for _, s := range settings {
		v.SetDefault(s.path, s.def)
	}
	if err := v.ReadConfig(bytes.NewReader(data)); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	override(v, report, environ)

	config := new(Config)
	if err := v.UnmarshalExact(config, exactly); err != nil {
		// The strict decoder lets nothing through that could bring this
		// about. The cause is left out since it would quote values.
		return nil, errors.New("configuration: what was read does not fit the schema")
	}
	return config, nil
}

// exactly takes away viper's weak conversions and its hooks.
func exactly(c *mapstructure.DecoderConfig) {
	c.WeaklyTypedInput = false
	c.DecodeHook = nil
}

// override lets the variables of the environment take the place of what the file
// says. viper's own way, BindEnv, would read the process's environment, untyped,
// and pass over names that it doesn't know.
func override(v *viper.Viper, report *report, environ []string) {
	known := make(map[string]setting, len(settings))
	names := make([]string, 0, len(settings))
	for _, s := range settings {
		known[s.variable] = s
		names = append(names, s.variable)
	}
	for _, entry := range environ {
		name, text, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		s, ok := known[name]
		if !ok {
			report.sayVariable(name, "no setting has this variable", suggest(name, names))
			continue
		}
		if text == "" {
			report.sayVariable(name, "is set and empty", "unset it, or give it a value")
			continue
		}
		value, err := scalars[s.typ].parse(text)
		if err != nil {
			f := asFault(err)
			report.sayVariable(name, f.message, f.hint)
			place{report, s.path}.mute()
			continue
		}
		report.variables[s.path] = name
		v.Set(s.path, value)
	}
}
