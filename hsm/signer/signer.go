package signer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"sallyport/hsm/wire"
)

// SocketFD is where the serving process leaves the signer's end of the
// socketpair.
const SocketFD = 3

// PINFD is where it leaves the file with a PIN that was in its environment.
const PINFD = 4

// Main runs the signer process on the socketpair at SocketFD. It returns nil
// when the serving process has gone away, and an error when it was not started
// by one.
func Main() error {
	if err := harden(); err != nil {
		return err
	}
	// The end of the socketpair is what ends this process. A signal to the
	// whole group or service must not: requests are still under way.
	// Nor must one that a library's connection to its device gets, or what it
	// prints when nobody reads it any more.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGQUIT)
	if kind, err := unix.GetsockoptInt(SocketFD, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil || kind != unix.AF_UNIX {
		return errors.New("sallyport signer is started by sallyport serve, not by hand")
	}
	// A vendor's library may start programs of its own.
	unix.CloseOnExec(SocketFD)
	unix.CloseOnExec(PINFD)
	// What ps and top show in the place of "exe".
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(unsafe.StringData("sallyport-sign\x00"))), 0, 0, 0)
	socket := os.NewFile(SocketFD, "serving process")
	defer socket.Close()
	return Run(socket)
}

// maxQueue bounds the signatures that wait for a worker. The serving process
// asks for no more than there are sessions, of which there are fewer.
const maxQueue = 4096

// Run answers questions until conn ends, which is not an error. Nothing in its
// own goroutine calls the library, so it notices that end whatever the library
// is stuck in; it does not wait for those calls, and is meant to be the last
// that a process does.
func Run(conn io.ReadWriter) error {
	s := &signer{
		out:    wire.NewWriter(conn),
		queue:  make(chan job, maxQueue),
		orders: make(chan order, 1),
	}
	defer close(s.queue)
	defer close(s.orders)
	go s.obey()
	in := wire.NewReader(conn)
	for {
		f, err := in.Read()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
			return nil
		case err != nil:
			return fmt.Errorf("read from the serving process: %w", err)
		}
		if err := s.take(f); err != nil {
			return fmt.Errorf("asked by the serving process: %w", err)
		}
	}
}

// signer is the state of the process.
type signer struct {
	out    *wire.Writer
	queue  chan job             // for the workers
	orders chan order           // for obey
	keys   atomic.Pointer[keys] // what the workers sign with; nil before Open
	phase  atomic.Uint32        // see phase.go
	doubt  atomic.Bool          // every signature is verified
	open   *openToken           // obey's own
}

// job is a signature to make.
type job struct {
	number  uint64
	request wire.SignRequest
}

// order is any other question.
type order struct {
	number  uint64
	kind    wire.Kind
	payload []byte
}

// take passes a question on. Its error ends the process: the other side does
// not keep to the protocol.
func (s *signer) take(f wire.Frame) error {
	if err := s.permit(f.Kind); err != nil {
		return err
	}
	payload := append([]byte(nil), f.Payload...) // the frame's is read over
	switch f.Kind {
	case wire.Sign:
		r, err := wire.ParseSignRequest(payload)
		if err != nil {
			return err
		}
		select {
		case s.queue <- job{f.Number, r}:
			return nil
		default:
			return fmt.Errorf("%d signatures at once", maxQueue)
		}
	case wire.Open, wire.List, wire.Slots, wire.Examine, wire.Secrets:
		select {
		case s.orders <- order{f.Number, f.Kind, payload}:
			return nil
		default:
			return fmt.Errorf("%s before the last question of its kind was answered", f.Kind)
		}
	}
	return fmt.Errorf("%w: %s is no question", wire.ErrFrame, f.Kind)
}

// obey answers what is not a signature, one question after the other.
func (s *signer) obey() {
	for o := range s.orders {
		result, err := s.do(o)
		if err == nil {
			var payload []byte
			if payload, err = json.Marshal(result); err == nil {
				err = s.out.Write(wire.Frame{Kind: wire.Done, Number: o.number, Payload: payload})
			}
		}
		if err != nil {
			// An answer too long for a frame comes to this as well.
			_ = s.out.Write(wire.Frame{Kind: wire.Failed, Number: o.number, Payload: failed(err).Append(nil)})
		}
	}
}

func (s *signer) do(o order) (any, error) {
	var settings wire.Settings
	if o.kind == wire.Open || o.kind == wire.Slots {
		if err := json.Unmarshal(o.payload, &settings); err != nil {
			return nil, err
		}
	}
	switch o.kind {
	case wire.Open:
		inv, err := s.openToken(o.number, settings)
		s.opened(settings, err)
		return inv, err
	case wire.List:
		var q wire.ListRequest
		if err := json.Unmarshal(o.payload, &q); err != nil {
			return nil, err
		}
		return s.list(q)
	case wire.Slots:
		return slots(settings)
	}
	if o.kind == wire.Secrets {
		return s.open.secrets()
	}
	return s.open.examine()
}

func (s *signer) openToken(number uint64, settings wire.Settings) (any, error) {
	if settings.Sessions < 1 || settings.Sessions > maxQueue {
		return nil, setup("sessions must be from 1 to %d", maxQueue)
	}
	tell := func(step wire.LoginStep) error {
		return s.out.Write(wire.Frame{Kind: wire.Login, Number: number, Payload: []byte{byte(step)}})
	}
	open, err := openTokenOf(settings, tell)
	if err != nil {
		return nil, err
	}
	s.open = open
	s.doubt.Store(settings.Doubt)
	inv, err := s.list(wire.ListRequest{Whole: true})
	if err != nil {
		return nil, err
	}
	// A call into the library keeps a processor of Go's until the runtime finds that
	// it takes long. With one for each session nobody waits for that.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), len(open.sessions)+2))
	for _, session := range open.sessions {
		go s.work(session)
	}
	return inv, nil
}

// errNoSuchKey answers a signature by a key that the last reading did not find, or that
// was not named when the token was opened.
var errNoSuchKey = errors.New("the token no longer holds this key, or the configuration does not name it")

// list reads the objects and swaps the keys that the workers sign with.
func (s *signer) list(q wire.ListRequest) (any, error) {
	r, err := s.open.readObjects(q.Whole)
	if err != nil {
		return nil, err
	}
	s.keys.Store(&r.keys)
	if r.inventory.Version == q.Known {
		return wire.Inventory{Version: q.Known, Unchanged: true}, nil
	}
	return r.inventory, nil
}

// slots lists what a module shows without a login.
func slots(settings wire.Settings) (any, error) {
	m, err := loadModule(settings.Module)
	if err != nil {
		return nil, err
	}
	if err := m.initialise(); err != nil {
		return nil, err
	}
	defer func() { _ = m.ctx.Finalize() }()
	tokens, unread, err := m.tokens()
	if err != nil {
		return nil, err
	}
	if len(tokens) == 0 && len(unread) > 0 {
		return nil, notRead(unread, "the module shows no token")
	}
	all := wire.SlotList{}
	for _, t := range tokens {
		inv, err := m.visible(t)
		if err != nil {
			inv.Problem = err.Error() // which says nothing of the others
		}
		all.Slots = append(all.Slots, inv)
	}
	return all, nil
}

// work signs what comes through the queue, by a session, until it is closed.
func (s *signer) work(session *session) {
	for j := range s.queue {
		f := wire.Frame{Kind: wire.Done, Number: j.number}
		var err error
		if f.Payload, err = s.sign(session, j.request); err != nil {
			f.Kind, f.Payload = wire.Failed, failed(err).Append(nil)
		}
		_ = s.out.Write(f) // Run sees the same end of the connection
	}
}
