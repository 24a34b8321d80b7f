package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Kind says what a frame is.
type Kind uint8

// The questions, then the two answers, then what comes unasked.
const (
	// Open loads the module, finds the token and logs in. Payload: Settings.
	// Done: Inventory.
	Open Kind = 1 + iota
	// List reads the open token's objects anew. Payload: ListRequest. Done: Inventory.
	List
	// Slots lists a module's slots with what can be seen without a login.
	// Payload: Settings, of which only Module is read. Done: SlotList.
	Slots
	// Examine finds out what the open token says of itself, and how its sessions
	// open. No payload. Done: Examination.
	Examine
	// Secrets lists the open token's secret keys, each tried. No payload. Done:
	// SecretList.
	Secrets
	// Sign signs a digest with a key of the open token. Payload: SignRequest.
	// Done: the signature (PKCS#1: as long as the modulus; ECDSA: ASN.1 DER).
	Sign
	// Done answers a question with its result.
	Done
	// Failed answers a question with a Failure.
	Failed
	// Login answers nothing: it comes before the answer of the Open whose number
	// it has. Payload: one byte, a LoginStep.
	Login
)

// LoginStep is how far a login has come. Whoever hears no more after
// LoginBegins cannot know whether the token has counted a try.
type LoginStep uint8

// The steps of a login.
const (
	LoginBegins LoginStep = 1 + iota // C_Login is called next
	LoginDone                        // C_Login has succeeded
)

// ParseLogin reads the payload of a Login.
func ParseLogin(b []byte) (LoginStep, error) {
	if len(b) != 1 || b[0] < byte(LoginBegins) || b[0] > byte(LoginDone) {
		return 0, fmt.Errorf("%w: login of %d bytes", ErrFrame, len(b))
	}
	return LoginStep(b[0]), nil
}

func (k Kind) String() string {
	names := [...]string{Open: "open", List: "list", Slots: "slots", Examine: "examine", Secrets: "secrets", Sign: "sign", Done: "done", Failed: "failed", Login: "login"}
	if int(k) < len(names) && names[k] != "" {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

const (
	// MaxFrame bounds what a frame may hold: the keys of a token with some 20,000
	// certificates fit. Memory is taken as the bytes arrive, so that a corrupted
	// length alone costs none.
	MaxFrame = 64 << 20

	lengthSize = 4
	headSize   = 1 + 8 // kind and number, counted by the length

	// usualFrame is what nearly all frames fit in. A longer one's memory is not kept.
	usualFrame = 16 << 10
)

// ErrFrame means that the peer does not speak this protocol.
var ErrFrame = errors.New("malformed frame")

// Frame is one message. Payload is only valid until the next Read of the same
// Reader.
type Frame struct {
	Kind    Kind
	Number  uint64
	Payload []byte
}

// appendFrame writes f behind b.
func appendFrame(b []byte, f Frame) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(headSize+len(f.Payload)))
	b = append(b, byte(f.Kind))
	b = binary.BigEndian.AppendUint64(b, f.Number)
	return append(b, f.Payload...)
}

// Reader reads frames. It is not safe for concurrent use.
type Reader struct {
	r   *bufio.Reader
	buf []byte
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, usualFrame)}
}

// Read returns the next frame. io.EOF means that the peer closed the
// connection between two frames; ErrFrame that what it sent is no frame.
func (r *Reader) Read() (Frame, error) {
	var head [lengthSize + headSize]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return Frame{}, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < headSize || n > MaxFrame {
		return Frame{}, fmt.Errorf("%w: length %d", ErrFrame, n)
	}
	payload := int(n) - headSize
	f := Frame{Kind: Kind(head[lengthSize]), Number: binary.BigEndian.Uint64(head[lengthSize+1:])}
	var err error
	if f.Payload, err = r.payload(payload); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	return f, nil
}

// payload reads the next n bytes.
func (r *Reader) payload(n int) ([]byte, error) {
	if n <= usualFrame {
		if r.buf == nil {
			r.buf = make([]byte, usualFrame)
		}
		_, err := io.ReadFull(r.r, r.buf[:n])
		return r.buf[:n], err
	}
	var long bytes.Buffer
	if _, err := io.CopyN(&long, r.r, int64(n)); err != nil {
		return nil, err
	}
	return long.Bytes(), nil
}
