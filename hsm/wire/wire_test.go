package wire

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFrames_ComeOutAsTheyWentIn(t *testing.T) {
	frames := []Frame{
		{Kind: Open, Number: 0, Payload: []byte(`{}`)},
		{Kind: Sign, Number: 1<<64 - 1, Payload: bytes.Repeat([]byte{7}, 100)},
		{Kind: List, Number: 3, Payload: []byte{}},
		{Kind: Done, Number: 4, Payload: bytes.Repeat([]byte{1}, MaxFrame-headSize)},
	}
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, f := range frames {
		if err := w.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(&b)
	for _, want := range frames {
		got, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		if got.Kind != want.Kind || got.Number != want.Number || !bytes.Equal(got.Payload, want.Payload) {
			t.Errorf("got %s %d with %d bytes, want %s %d with %d",
				got.Kind, got.Number, len(got.Payload), want.Kind, want.Number, len(want.Payload))
		}
	}
	if _, err := r.Read(); err != io.EOF {
		t.Errorf("after the last frame: %v, want io.EOF", err)
	}
}

func TestReader_RefusesWhatIsNoFrame(t *testing.T) {
	for name, in := range map[string]struct {
		bytes []byte
		want  error
	}{
		"too long":        {[]byte{0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0}, ErrFrame},
		"too short":       {[]byte{0, 0, 0, 8, 1, 0, 0, 0, 0, 0, 0, 0, 0}, ErrFrame},
		"cut in the head": {[]byte{0, 0, 0}, io.ErrUnexpectedEOF},
		"cut in the body": {[]byte{0, 0, 0, 10, 1, 0, 0, 0, 0, 0, 0, 0, 0}, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewReader(bytes.NewReader(in.bytes)).Read(); !errors.Is(err, in.want) {
				t.Errorf("got %v, want %v", err, in.want)
			}
		})
	}
}

func TestWriter_RefusesAFrameThatNoReaderTakes(t *testing.T) {
	w := NewWriter(io.Discard)
	if err := w.Write(Frame{Kind: Done, Payload: make([]byte, MaxFrame)}); !errors.Is(err, ErrFrame) {
		t.Errorf("got %v, want ErrFrame", err)
	}
	if err := w.Write(Frame{Kind: Done}); err != nil {
		t.Errorf("the next frame: %v", err)
	}
}

func TestWriter_ManyGoroutinesLoseNothing(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	const writers, each = 16, 200
	w := NewWriter(a)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for j := range each {
				if err := w.Write(Frame{Kind: Sign, Number: uint64(i*each + j), Payload: fmt.Appendf(nil, "%d/%d", i, j)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := make(map[uint64]bool)
	r := NewReader(b)
	for range writers * each {
		f, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%d/%d", f.Number/each, f.Number%each); string(f.Payload) != want {
			t.Fatalf("frame %d holds %q, want %q", f.Number, f.Payload, want)
		}
		seen[f.Number] = true
	}
	wg.Wait()
	if len(seen) != writers*each {
		t.Errorf("%d different frames, want %d", len(seen), writers*each)
	}
}

func TestWriter_AnErrorStays(t *testing.T) {
	a, b := net.Pipe()
	b.Close()
	defer a.Close()
	w := NewWriter(a)
	for range 2 {
		if err := w.Write(Frame{Kind: Sign}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("got %v, want a closed pipe", err)
		}
	}
}

func TestSignRequest_RoundTrip(t *testing.T) {
	want := SignRequest{Object: Key{Label: "key"}.Object(), Scheme: PSS, Hash: crypto.SHA384, Digest: bytes.Repeat([]byte{9}, 48)}
	b, err := want.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseSignRequest(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestSignRequest_RefusesDigestsThatAreNone(t *testing.T) {
	for name, r := range map[string]SignRequest{
		"hash":   {Scheme: ECDSA, Hash: crypto.SHA1, Digest: make([]byte, 20)},
		"length": {Scheme: ECDSA, Hash: crypto.SHA256, Digest: make([]byte, 31)},
	} {
		if _, err := r.Append(nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestFailure_RoundTripAndCut(t *testing.T) {
	want := &Failure{Class: Device, Code: 0x30, Setting: "module", Cause: "CKR_DEVICE_ERROR", Hint: "look at the device"}
	got, err := ParseFailure(want.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	long := &Failure{Class: Setup, Cause: string(bytes.Repeat([]byte{'x'}, 100_000))}
	if got, err = ParseFailure(long.Append(nil)); err != nil || len(got.Cause) != 4096 {
		t.Errorf("long cause: %d bytes, %v", len(got.Cause), err)
	}
}

func TestParseLogin(t *testing.T) {
	for _, step := range []LoginStep{LoginBegins, LoginDone} {
		if got, err := ParseLogin([]byte{byte(step)}); err != nil || got != step {
			t.Errorf("%d: got %d, %v", step, got, err)
		}
	}
	for _, b := range [][]byte{nil, {0}, {3}, {1, 1}} {
		if _, err := ParseLogin(b); !errors.Is(err, ErrFrame) {
			t.Errorf("%v: got %v, want ErrFrame", b, err)
		}
	}
}

// What the peer sends is never trusted: whatever parses must come out again as
// the same bytes, and nothing may panic.
func FuzzParse(f *testing.F) {
	r, _ := SignRequest{Object: Key{}.Object(), Scheme: ECDSA, Hash: crypto.SHA256, Digest: make([]byte, 32)}.Append(nil)
	f.Add(appendFrame(nil, Frame{Kind: Sign, Number: 1, Payload: r}))
	f.Add(appendFrame(nil, Frame{Kind: Failed, Number: 2, Payload: (&Failure{Class: PIN, Code: 0xA0, Cause: "c", Hint: "h"}).Append(nil)}))
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		frames := NewReader(bytes.NewReader(b))
		for {
			fr, err := frames.Read()
			if err != nil {
				return
			}
			if r, err := ParseSignRequest(fr.Payload); err == nil {
				if again, err := r.Append(nil); err != nil || !bytes.Equal(again, fr.Payload) {
					t.Errorf("sign request %x came out as %x (%v)", fr.Payload, again, err)
				}
			}
			if fl, err := ParseFailure(fr.Payload); err == nil {
				if again := fl.Append(nil); !bytes.Equal(again, fr.Payload) {
					t.Errorf("failure %x came out as %x", fr.Payload, again)
				}
			}
		}
	})
}

// A token with thousands of keys and certificates has a long inventory.
func TestReader_ALongFrame(t *testing.T) {
	long := bytes.Repeat([]byte("inventory "), 1<<20)
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, payload := range [][]byte{long, []byte("short")} {
		if err := w.Write(Frame{Kind: Done, Number: 1, Payload: payload}); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(&b)
	for _, want := range [][]byte{long, []byte("short")} {
		if f, err := r.Read(); err != nil || !bytes.Equal(f.Payload, want) {
			t.Fatalf("%d bytes, %v; want %d", len(f.Payload), err, len(want))
		}
	}
}

// A length that was corrupted makes nobody allocate what it says.
func TestReader_ALengthAloneTakesNoMemory(t *testing.T) {
	b := binary.BigEndian.AppendUint32(nil, MaxFrame)
	b = append(b, make([]byte, headSize+100)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := NewReader(bytes.NewReader(b)).Read(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 1<<20 {
		t.Errorf("%d bytes were allocated", taken)
	}
}
