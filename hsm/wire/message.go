package wire

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Settings tell the signer which token to open. They hold no secret.
type Settings struct {
	Module string `json:"module"` // path of the PKCS#11 library

	// Exactly one of them selects the token.
	Label  string `json:"label,omitempty"`
	Serial string `json:"serial,omitempty"`
	Slot   *uint  `json:"slot,omitempty"`

	PIN      string `json:"pin,omitempty"` // where the PIN is: file:PATH, credential:NAME or env:NAME; or NoPIN
	Sessions int    `json:"sessions"`      // signatures under way at once

	// Again: the last login did not come to a good end. A token that has
	// counted a wrong PIN since is then left alone.
	Again bool `json:"again,omitempty"`

	// Keys are those that may sign, among all that the token holds now and later.
	Keys []KeyFilter `json:"keys,omitempty"`
	// Examining: all keys may sign, and Examine and Secrets may be asked.
	Examining bool `json:"examining,omitempty"`

	// Doubt: the token has given a wrong signature of late. All are verified.
	Doubt bool `json:"doubt,omitempty"`
}

// KeyFilter is a key's URI (RFC 7512): private keys, by attributes of the token and of
// the object. An attribute that is absent matches everything.
type KeyFilter struct {
	Token        *string `json:"token,omitempty"`
	Manufacturer *string `json:"manufacturer,omitempty"`
	Serial       *string `json:"serial,omitempty"`
	Model        *string `json:"model,omitempty"`
	Slot         *uint   `json:"slot,omitempty"`
	Object       *string `json:"object,omitempty"` // CKA_LABEL
	ID           []byte  `json:"id,omitempty"`     // CKA_ID; empty: absent
}

// MatchesToken reports whether the token's attributes are what f asks for.
func (f KeyFilter) MatchesToken(t TokenInfo) bool {
	return same(f.Token, t.Label) && same(f.Serial, t.Serial) &&
		same(f.Manufacturer, t.Manufacturer) && same(f.Model, t.Model) &&
		(f.Slot == nil || *f.Slot == t.Slot)
}

// MatchesKey reports whether the key's attributes are what f asks for.
func (f KeyFilter) MatchesKey(k Key) bool {
	return same(f.Object, k.Label) && (len(f.ID) == 0 || bytes.Equal(f.ID, k.ID))
}

func same(want *string, is string) bool { return want == nil || *want == is }

// NoPIN is Settings.PIN where none is sent: it is entered on the device, or the
// token's is empty.
const NoPIN = "none"

// TokenInfo is what C_GetTokenInfo and C_GetInfo say (PKCS#11 v2.40 §5.4, §5.5).
type TokenInfo struct {
	Slot         uint   `json:"slot"`
	Label        string `json:"label"`
	Serial       string `json:"serial"`
	Manufacturer string `json:"manufacturer"`
	Model        string `json:"model"`
	Library      string `json:"library"` // description and version of the module
	Sessions     int    `json:"sessions"`
}

// KeyID names a key, on whichever tokens hold it: the SHA-256 of its public
// key's SubjectPublicKeyInfo.
type KeyID [sha256.Size]byte

// KeyIDOf returns the KeyID of a public key in PKIX DER.
func KeyIDOf(spki []byte) KeyID { return sha256.Sum256(spki) }

// ObjectID names a private key object of one token. It stays the same when the
// token's handles change.
type ObjectID [sha256.Size]byte

// Key is a private key that the token holds.
type Key struct {
	ID     []byte `json:"id,omitempty"`    // CKA_ID
	Label  string `json:"label,omitempty"` // CKA_LABEL
	Type   string `json:"type"`            // "RSA-2048", "P-256", or what it is instead
	Public []byte `json:"public,omitempty"`
	Reason string `json:"reason,omitempty"` // why it cannot sign; empty: it can

	// Bare: the token has the private key alone. Public is empty, until whoever has a
	// certificate that a test signature verifies with fills it in.
	Bare bool `json:"bare,omitempty"`
}

// Object returns the name of the object: a digest of its CKA_ID, label and
// public key. The public key alone does not do, since it is an object of its
// own: two private keys may claim the same one, and only one of them is right.
func (k Key) Object() ObjectID {
	h := sha256.New()
	public := k.Public
	if k.Bare {
		public = nil // the token knows nothing of it
	}
	for _, part := range [][]byte{k.ID, []byte(k.Label), public} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return ObjectID(h.Sum(nil))
}

// Certificate is an X.509 certificate that the token holds.
type Certificate struct {
	ID    []byte `json:"id,omitempty"`
	Label string `json:"label,omitempty"`
	DER   []byte `json:"der"`
}

// Inventory is what one token holds.
type Inventory struct {
	Token        TokenInfo     `json:"token"`
	Keys         []Key         `json:"keys"`
	Certificates []Certificate `json:"certificates"`

	Problem string `json:"problem,omitempty"` // of a SlotList: why the objects could not be read

	// Version names all of the above: what has the same one is the same.
	Version string `json:"version,omitempty"`
	// Unchanged: it is of the version that the question named, and nothing but
	// Version is set.
	Unchanged bool `json:"unchanged,omitempty"`
}

// ListRequest says how to read the open token's objects.
type ListRequest struct {
	// Known is the version that need not be sent again; it may be empty.
	Known string `json:"known,omitempty"`
	// Whole: each object is read. Otherwise a token that lists the same objects as
	// before may be taken to hold the same, though not for ever.
	Whole bool `json:"whole,omitempty"`
}

// SlotList is what a module shows without a login: an Inventory for each slot
// with a token. Private keys are mostly hidden there (CKA_PRIVATE).
type SlotList struct {
	Slots []Inventory `json:"slots"`
}

// Scheme is a signature scheme.
type Scheme uint8

// The schemes that TLS 1.2 and 1.3 need of a server (RFC 8446 §4.2.3).
const (
	PKCS1v15 Scheme = 1 + iota // RSASSA-PKCS1-v1_5
	PSS                        // RSASSA-PSS, salt as long as the hash, MGF1 with the same hash
	ECDSA
)

func (s Scheme) String() string {
	switch s {
	case PKCS1v15:
		return "rsa-pkcs1"
	case PSS:
		return "rsa-pss"
	case ECDSA:
		return "ecdsa"
	}
	return fmt.Sprintf("scheme %d", uint8(s))
}

// SignRequest asks for a signature over Digest, which is as long as Hash says.
//
//	object  32 bytes
//	scheme  1 byte
//	hash    1 byte: 4, 5 or 6 for SHA-256, SHA-384, SHA-512 (TLS HashAlgorithm, RFC 5246 §7.4.1.4.1)
//	digest  the rest
type SignRequest struct {
	Object ObjectID
	Scheme Scheme
	Hash   crypto.Hash
	Digest []byte
}

const signRequestHead = len(ObjectID{}) + 2

var hashNumbers = map[crypto.Hash]byte{crypto.SHA256: 4, crypto.SHA384: 5, crypto.SHA512: 6}

func hashByNumber(n byte) (crypto.Hash, bool) {
	for h, number := range hashNumbers {
		if number == n {
			return h, true
		}
	}
	return 0, false
}

// Append writes the request behind b. It refuses hashes that the protocol does
// not carry and digests of another length than their hash.
func (r SignRequest) Append(b []byte) ([]byte, error) {
	number, ok := hashNumbers[r.Hash]
	if !ok {
		return nil, fmt.Errorf("hash %s cannot be signed here (SHA-256, SHA-384 and SHA-512 can)", r.Hash)
	}
	if len(r.Digest) != r.Hash.Size() {
		return nil, fmt.Errorf("digest has %d bytes, %s has %d", len(r.Digest), r.Hash, r.Hash.Size())
	}
	b = append(b, r.Object[:]...)
	b = append(b, byte(r.Scheme), number)
	return append(b, r.Digest...), nil
}

// ParseSignRequest reads what Append wrote. Digest points into b.
func ParseSignRequest(b []byte) (SignRequest, error) {
	var r SignRequest
	if len(b) < signRequestHead {
		return r, fmt.Errorf("%w: sign request of %d bytes", ErrFrame, len(b))
	}
	copy(r.Object[:], b)
	r.Scheme = Scheme(b[len(r.Object)])
	if r.Scheme < PKCS1v15 || r.Scheme > ECDSA {
		return r, fmt.Errorf("%w: %s", ErrFrame, r.Scheme)
	}
	var ok bool
	if r.Hash, ok = hashByNumber(b[len(r.Object)+1]); !ok {
		return r, fmt.Errorf("%w: hash %d", ErrFrame, b[len(r.Object)+1])
	}
	r.Digest = b[signRequestHead:]
	if len(r.Digest) != r.Hash.Size() {
		return r, fmt.Errorf("%w: digest of %d bytes for %s", ErrFrame, len(r.Digest), r.Hash)
	}
	return r, nil
}

// Class says what a failure means for the token, and so what to do about it.
type Class uint8

const (
	// Setup: the module, the token or its settings are not what was configured.
	Setup Class = 1 + iota
	// PIN: the login was refused. Never tried again: tokens lock themselves.
	PIN
	// Session: the sessions or the login are gone; a new signer process has new ones.
	Session
	// Device: the token does not work or is not there.
	Device
	// Request: this question cannot be answered; the token is well.
	Request
	// Wrong: the token gave a wrong signature, which is not passed on.
	Wrong
)

func (c Class) String() string {
	names := [...]string{Setup: "setup", PIN: "pin", Session: "session", Device: "device", Request: "request", Wrong: "wrong"}
	if int(c) < len(names) && names[c] != "" {
		return names[c]
	}
	return fmt.Sprintf("class %d", uint8(c))
}

// Failure is why a question has no answer.
//
//	class    1 byte
//	code     8 bytes: the CK_RV, or 0 where the cause is no PKCS#11 call
//	setting, cause, hint: each 2 bytes of length, then the text
type Failure struct {
	Class   Class
	Code    uint64
	Setting string // the setting of the token that is to blame, as the configuration calls it; may be empty
	Cause   string
	Hint    string
}

func (f *Failure) Error() string { return f.Cause }

// maxText is where the texts of a Failure are cut.
const maxText = 4096

// Append writes the failure behind b.
func (f *Failure) Append(b []byte) []byte {
	b = append(b, byte(f.Class))
	b = binary.BigEndian.AppendUint64(b, f.Code)
	for _, text := range []string{f.Setting, f.Cause, f.Hint} {
		text = text[:min(len(text), maxText)]
		b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
		b = append(b, text...)
	}
	return b
}

// ParseFailure reads what Append wrote.
func ParseFailure(b []byte) (*Failure, error) {
	malformed := fmt.Errorf("%w: failure of %d bytes", ErrFrame, len(b))
	if len(b) < 1+8 {
		return nil, malformed
	}
	f := &Failure{Class: Class(b[0]), Code: binary.BigEndian.Uint64(b[1:])}
	if f.Class < Setup || f.Class > Wrong {
		return nil, fmt.Errorf("%w: %s", ErrFrame, f.Class)
	}
	b = b[1+8:]
	for _, text := range []*string{&f.Setting, &f.Cause, &f.Hint} {
		if len(b) < 2 {
			return nil, malformed
		}
		n := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; n > maxText || len(b) < n {
			return nil, malformed
		}
		*text, b = string(b[:n]), b[n:]
	}
	if len(b) > 0 {
		return nil, malformed
	}
	return f, nil
}
