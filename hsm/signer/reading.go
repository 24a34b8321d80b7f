package signer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"sallyport/hsm/wire"
)

// reading is what the token held when each of its objects was read.
type reading struct {
	inventory wire.Inventory
	keys      keys
	handles   []object // of all objects at that time, in order
	trusted   int      // how often a list of the same handles has been taken for the same objects since
}

const (
	// fewObjects are read each time.
	fewObjects = 128
	// mostTrusted is how often in a row a token with more objects is taken to hold the
	// same because it lists the same handles. That is true of new and deleted
	// objects, and no more than likely: a label can be changed, and a token may give
	// the handle of a deleted object to the next one.
	mostTrusted = 9
)

// readObjects reads the token's objects, each of them where whole is set or that is due.
// The result is the same as the last time where nothing has changed.
func (o *openToken) readObjects(whole bool) (*reading, error) {
	s, giveBack, err := o.borrow()
	if err != nil {
		return nil, err
	}
	defer giveBack()
	if err := o.unchanged(s); err != nil {
		return nil, err
	}
	// Before what they are is read: what changes meanwhile is seen the next time.
	handles, err := s.all()
	if err != nil {
		return nil, err
	}
	if l := o.last; l != nil && !whole && len(handles) > o.few && l.trusted < mostTrusted && slices.Equal(l.handles, handles) {
		l.trusted++
		return l, nil
	}
	r := &reading{handles: handles}
	if r.inventory, r.keys, err = o.inventory(s); err != nil {
		return nil, err
	}
	content, err := json.Marshal(r.inventory)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	r.inventory.Version = hex.EncodeToString(sum[:])
	o.last = r
	return r, nil
}

// all lists the handles of all objects, in order.
func (s *session) all() ([]object, error) {
	handles, err := s.find()
	slices.Sort(handles)
	return handles, err
}
