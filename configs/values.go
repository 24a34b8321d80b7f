package configs

import (
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// maxDuration bounds every duration of a configuration: a longer one is a typing
// error more often than a wish.
const maxDuration = 24 * time.Hour

// Duration is a positive length of time of at most 24 hours, written with its
// unit: 500ms, 30s, 1h30m. It converts to a [time.Duration].
type Duration time.Duration

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	switch {
	case err != nil:
		return &fault{quote(string(text)) + " is not a duration", "a number with its unit, such as 30s, 5m or 1h30m"}
	case v <= 0:
		return &fault{quote(string(text)) + " is not positive", "a duration is longer than nothing and at most 24h"}
	case v > maxDuration:
		return &fault{quote(string(text)) + " is longer than 24h", "a duration is longer than nothing and at most 24h"}
	}
	*d = Duration(v)
	return nil
}

// String is d as a file would have it: 1h rather than 1h0m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Days is a number of days of at most two years, written with a d: 365d.
type Days int

// maxDays bounds Days for the same reason.
const maxDays = 730

var daysSyntax = regexp.MustCompile(`^(0|[1-9][0-9]{0,5})d$`)

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Days) UnmarshalText(text []byte) error {
	m := daysSyntax.FindSubmatch(text)
	if m == nil {
		return &fault{quote(string(text)) + " is not a number of days", "such as 365d"}
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil || n > maxDays {
		return &fault{quote(string(text)) + " is longer than two years", fmt.Sprintf("from 0d to %dd", maxDays)}
	}
	*d = Days(n)
	return nil
}

// Duration is d as a [time.Duration].
func (d Days) Duration() time.Duration { return time.Duration(d) * 24 * time.Hour }

// String is d as a file has it.
func (d Days) String() string { return strconv.Itoa(int(d)) + "d" }

// Size is a number of bytes, written as such or in binary units: 4096, 64KiB,
// 1MiB. It converts to an int64 and is never negative.
type Size int64

var (
	sizeSyntax = regexp.MustCompile(`^(0|[1-9][0-9]*)(B|KiB|MiB|GiB)?$`)
	sizeUnits  = map[string]int64{"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
)

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Size) UnmarshalText(text []byte) error {
	m := sizeSyntax.FindSubmatch(text)
	if m == nil {
		return &fault{quote(string(text)) + " is not a size", "bytes, such as 4096, or binary units, such as 64KiB or 1MiB"}
	}
	unit := sizeUnits[string(m[2])]
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return &fault{quote(string(text)) + " is too large", ""}
	}
	*s = Size(n * unit)
	return nil
}

// String is s in the largest unit that divides it.
func (s Size) String() string {
	for _, unit := range []string{"GiB", "MiB", "KiB"} {
		if u := Size(sizeUnits[unit]); s != 0 && s%u == 0 {
			return fmt.Sprintf("%d%s", s/u, unit)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// PINKind is the kind of place that a PIN is read from, or PINNone.
type PINKind string

// The kinds of a PINSource.
const (
	PINFile       PINKind = "file"       // Reference is an absolute path
	PINCredential PINKind = "credential" // Reference is a name below systemd's $CREDENTIALS_DIRECTORY
	PINEnv        PINKind = "env"        // Reference is a variable of the environment
	PINNone       PINKind = "none"       // there is no Reference: no PIN is sent
)

// PINSource says where a PIN is to be read: it never holds the PIN. The zero
// value names no place. It prints as it is written in a file, which gives away
// nothing.
type PINSource struct {
	Kind      PINKind
	Reference string
}

// pinForms is how a PINSource is written.
const pinForms = "file:PATH, credential:NAME, env:NAME or none"

// errPIN stands for everything that is wrong with a PINSource. What was written
// may well be the PIN itself, so it is not repeated.
var errPIN = &fault{
	"expected " + pinForms + " (what is written here is not shown, it may be the PIN)",
	"put the PIN in a file that only the service can read, and name that file: a PIN that has been in a configuration should be changed",
}

// pinVariable is what the variable of a PIN is called. Other names are legal,
// but more like a PIN that was written in the wrong place.
var pinVariable = regexp.MustCompile(`^[A-Z_][A-Z0-9_]{0,127}$`)

// credentialSyntax is what systemd takes as a name, less what needs quoting.
var credentialSyntax = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$`)

// UnmarshalText implements [encoding.TextUnmarshaler]. Its error never repeats
// the text.
func (s *PINSource) UnmarshalText(text []byte) error {
	kind, reference, found := strings.Cut(string(text), ":")
	switch k := PINKind(kind); {
	case k == PINEnv && strings.HasPrefix(reference, envPrefix):
		return &fault{"the variables that begin with " + envPrefix + " are settings, and none of them is for a PIN", "call the variable otherwise"}
	case k == PINNone && !found,
		k == PINEnv && pinVariable.MatchString(reference),
		k == PINFile && strings.TrimSpace(reference) != "",
		k == PINCredential && credentialSyntax.MatchString(reference):
		*s = PINSource{Kind: k, Reference: reference}
		return nil
	}
	return errPIN
}

// IsZero tells whether s names no place.
func (s PINSource) IsZero() bool { return s == PINSource{} }

// String is the source as it is written in a file, such as `credential:edge`.
func (s PINSource) String() string {
	if s.IsZero() || s.Kind == PINNone {
		return string(s.Kind)
	}
	return string(s.Kind) + ":" + s.Reference
}

// LogValue implements [slog.LogValuer].
func (s PINSource) LogValue() slog.Value { return slog.StringValue(s.String()) }
