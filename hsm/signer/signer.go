package signer

import (
	"crypto"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"sallyport/hsm/wire"
)

// SocketFD is where the serving process leaves the signer's end of the
// socketpair.
const SocketFD = 3

// Main runs the signer process on the socketpair at SocketFD. It returns nil
// when the serving process has gone away, and an error when it was not started
// by one.
func Main() error {
	if err := harden(); err != nil {
		return err
	}
	// The end of the socketpair is what ends this process. A signal to the
	// whole group or service must not: requests are still under way.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if kind, err := unix.GetsockoptInt(SocketFD, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil || kind != unix.AF_UNIX {
		return errors.New("sallyport signer is started by sallyport serve, not by hand")
	}
	socket := os.NewFile(SocketFD, "serving process")
	defer socket.Close()
	return Run(socket)
}

// Run answers questions until conn ends, which is not an error. Its workers end
// with the call that they are in. Run does not wait for that, since a call may
// hang inside the library for good: it is meant to be the last that a process
// does.
func Run(conn io.ReadWriter) error {
	s := &signer{out: wire.NewWriter(conn)}
	in := wire.NewReader(conn)
	defer s.stopWorkers()
	for {
		f, err := in.Read()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
			return nil
		case err != nil:
			return fmt.Errorf("read from the serving process: %w", err)
		}
		if err := s.handle(f); err != nil {
			return fmt.Errorf("answer the serving process: %w", err)
		}
	}
}

// signer is the state of the process. The read loop owns it all but keys,
// which the workers read.
type signer struct {
	out   *wire.Writer
	open  *openToken
	queue chan job
	keys  atomic.Pointer[keys]
}

type job struct {
	number  uint64
	request wire.SignRequest
}

// handle answers one question, or hands it to a worker. Its error is the
// connection's.
func (s *signer) handle(f wire.Frame) error {
	switch f.Kind {
	case wire.Sign:
		r, err := wire.ParseSignRequest(f.Payload)
		if err != nil {
			return err
		}
		if s.open == nil {
			return s.fail(f.Number, errors.New("the token is not open"))
		}
		r.Digest = append([]byte(nil), r.Digest...) // the frame's payload is read over
		s.queue <- job{f.Number, r}
		return nil
	case wire.Open:
		return s.answer(f.Number, func() (any, error) { return s.openToken(f.Payload) })
	case wire.List:
		return s.answer(f.Number, func() (any, error) { return s.list() })
	case wire.Slots:
		return s.answer(f.Number, func() (any, error) { return s.slots(f.Payload) })
	}
	return fmt.Errorf("%w: %s is no question", wire.ErrFrame, f.Kind)
}

func (s *signer) answer(number uint64, do func() (any, error)) error {
	result, err := do()
	if err != nil {
		return s.fail(number, err)
	}
	payload, err := json.Marshal(result)
	if err != nil {
		return s.fail(number, err)
	}
	return s.out.Write(wire.Frame{Kind: wire.Done, Number: number, Payload: payload})
}

func (s *signer) fail(number uint64, err error) error {
	return s.out.Write(wire.Frame{Kind: wire.Failed, Number: number, Payload: failed(err).Append(nil)})
}

func (s *signer) openToken(payload []byte) (any, error) {
	var settings wire.Settings
	if err := json.Unmarshal(payload, &settings); err != nil {
		return nil, err
	}
	if s.open != nil {
		return nil, errors.New("the token is already open")
	}
	if settings.Sessions < 1 {
		return nil, setup("sessions must be 1 or more")
	}
	open, err := openTokenOf(settings)
	if err != nil {
		return nil, err
	}
	s.open = open
	inv, err := s.list()
	if err != nil {
		return nil, err
	}
	s.queue = make(chan job)
	for range open.sessions {
		go s.work()
	}
	return inv, nil
}

// list reads the objects and swaps the keys that the workers sign with.
func (s *signer) list() (any, error) {
	if s.open == nil {
		return nil, errors.New("the token is not open")
	}
	inv, found, err := s.open.inventory()
	if err != nil {
		return nil, err
	}
	s.keys.Store(&found)
	return inv, nil
}

func (s *signer) slots(payload []byte) (any, error) {
	var settings wire.Settings
	if err := json.Unmarshal(payload, &settings); err != nil {
		return nil, err
	}
	m, err := loadModule(settings.Module)
	if err != nil {
		return nil, err
	}
	defer func() { _ = m.ctx.Finalize() }() // an Open may follow, and initialises anew
	tokens, err := m.tokens()
	if err != nil {
		return nil, err
	}
	all := wire.SlotList{}
	for _, t := range tokens {
		inv, err := m.visible(t)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t, err)
		}
		all.Slots = append(all.Slots, inv)
	}
	return all, nil
}

// work signs what comes through the queue, until it is closed.
func (s *signer) work() {
	for j := range s.queue {
		f := wire.Frame{Kind: wire.Done, Number: j.number}
		var err error
		if f.Payload, err = s.sign(j.request); err != nil {
			f.Kind, f.Payload = wire.Failed, failed(err).Append(nil)
		}
		_ = s.out.Write(f) // the read loop sees the same end of the connection
	}
}

func (s *signer) sign(r wire.SignRequest) ([]byte, error) {
	key, ok := (*s.keys.Load())[r.Key]
	if !ok {
		return nil, errors.New("the token no longer holds this key")
	}
	var opts crypto.SignerOpts = r.Hash
	if r.Scheme == wire.PSS {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: r.Hash}
	}
	_, isRSA := key.Public().(*rsa.PublicKey)
	if isRSA != (r.Scheme != wire.ECDSA) {
		return nil, fmt.Errorf("%s is not for this type of key", r.Scheme)
	}
	return key.Sign(nil, r.Digest, opts)
}

func (s *signer) stopWorkers() {
	if s.queue != nil {
		close(s.queue)
	}
}
