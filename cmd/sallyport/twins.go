package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"strings"

	"sallyport/hsm/wire"
)

// refuseTwins refuses a token that is configured twice: each key would be found
// twice, and a wrong PIN be tried twice. The serial alone does not tell: members of
// a cluster may share theirs, and some libraries have none but zeros. Nor does an
// environment that differs, since any variable may select the token or have nothing to
// do with it: where all else is the same, that is a warning.
func (s *service) refuseTwins() {
	for i := range s.tokens {
		for j := range i {
			path := fmt.Sprintf("hsm.tokens[%d]", i)
			switch serial := s.tokens[i].Inventory().Token.Serial; s.twins(i, j) {
			case certain:
				s.problem(path, fmt.Errorf("it is the same token as hsm.tokens[%d] (serial %q)", j, serial))
			case likely:
				s.warn(path, "it has the serial (%q), the slot and the keys of hsm.tokens[%d], and only environment differs: if it is the same token, a wrong PIN is tried twice; leave one of them out", serial, j)
			default:
				continue
			}
			break
		}
	}
}

type likeness int

const (
	unlike likeness = iota
	likely
	certain
)

// twins compares two tokens of the configuration.
func (s *service) twins(i, j int) likeness {
	a, b := s.tokens[i].Inventory(), s.tokens[j].Inventory()
	x, y := s.config.HSM.Tokens[i], s.config.HSM.Tokens[j]
	switch {
	case a.Token.Serial == "", a.Token.Serial != b.Token.Serial, a.Token.Slot != b.Token.Slot, realPath(x.Module) != realPath(y.Module):
		return unlike
	case maps.Equal(x.Environment, y.Environment):
		return certain
	case strings.Trim(a.Token.Serial, "0") != "" && sameKeys(a.Keys, b.Keys):
		return likely
	}
	return unlike
}

// realPath is a module's path behind symbolic links. One without a slash is the dynamic
// linker's to find.
func realPath(module string) string {
	if real, err := filepath.EvalSymlinks(module); err == nil && strings.Contains(module, "/") {
		return real
	}
	return module
}

// sameKeys reports whether both hold the same keys, and any.
func sameKeys(a, b []wire.Key) bool {
	return len(a) > 0 && maps.Equal(objectsOf(a), objectsOf(b))
}

func objectsOf(keys []wire.Key) map[wire.ObjectID]bool {
	all := make(map[wire.ObjectID]bool)
	for _, k := range keys {
		all[k.Object()] = true
	}
	return all
}
