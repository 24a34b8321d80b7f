package signer

import (
	"testing"

	"github.com/miekg/pkcs11"

	"sallyport/hsm/hsmtest"
	"sallyport/hsm/wire"
)

// An idle token costs one search a time, not a call for each of its objects. What
// lists the same handles is taken for the same no longer than for some times.
func TestReading_AnIdleTokenIsNotReadOverAndOver(t *testing.T) {
	s := hsmtest.NewSoftHSM(t) // in this very process, whose environment others have read already
	f := hsmtest.NewFaulty(t, s)
	for name, value := range f.Environment {
		t.Setenv(name, value)
	}
	open, err := openTokenOf(wire.Settings{Module: f.Module, Label: "edge", PIN: "file:" + s.PINFile, Sessions: 1},
		func(wire.LoginStep) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := open.module.ctx.Finalize(); err != nil {
			t.Error(err)
		}
	})
	open.few = 0
	var last *reading
	read := func(whole bool) (attributes, searches int) {
		t.Helper()
		f.ResetStats()
		r, err := open.readObjects(whole)
		if err != nil {
			t.Fatal(err)
		}
		if last != nil && last.inventory.Version != r.inventory.Version {
			t.Errorf("version %s became %s", last.inventory.Version, r.inventory.Version)
		}
		last = r
		stats := f.Stats()
		return stats["C_GetAttributeValue"].Made, stats["C_FindObjectsInit"].Made
	}
	if attributes, _ := read(false); attributes == 0 {
		t.Fatal("the first reading reads nothing")
	}
	for i := range mostTrusted {
		if attributes, searches := read(false); attributes != 0 || searches != 1 {
			t.Errorf("reading %d of an idle token: %d searches, %d calls for attributes", i, searches, attributes)
		}
	}
	if attributes, _ := read(false); attributes == 0 {
		t.Error("the same handles are trusted for ever")
	}
	if attributes, _ := read(false); attributes != 0 {
		t.Error("after a whole reading the handles are not trusted")
	}
	if attributes, _ := read(true); attributes == 0 {
		t.Error("it is not read although that was asked for")
	}

	// What a new object does is seen at once.
	h, err := open.home.ctx.CreateObject(open.home.handle, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false), pkcs11.NewAttribute(pkcs11.CKA_VALUE, "x"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if attributes, _ := read(false); attributes == 0 {
		t.Error("a new object is not seen")
	}
	if err := open.home.ctx.DestroyObject(open.home.handle, h); err != nil {
		t.Fatal(err)
	}
	if attributes, _ := read(false); attributes == 0 {
		t.Error("a deleted object is not seen")
	}
}
