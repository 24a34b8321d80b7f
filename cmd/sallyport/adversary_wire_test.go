package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// adversary is an attacker. It runs in a process of its own (this test binary
// by another name), so that its CPU time is known, and is as cheap as can be: what it
// sends is made beforehand, and what it gets is read below TLS and thrown away.
type adversary struct {
	address string
	n       int // how much of it there is; each attack says what it counts

	sent, got atomic.Int64 // bytes on its sockets
	opened    atomic.Int64 // connections

	mu   sync.Mutex
	open []net.Conn
}

// toll is what an attack has cost its attacker.
type toll struct {
	Sent, Got int64
	Opened    int64
	CPU       time.Duration
}

// openingBytes is what opening a TCP connection has a client send: a SYN and an ACK,
// with the headers and options that Linux gives them.
const openingBytes = 60 + 52

// attack is the body of the attacker's process: adversary NAME ADDRESS N. It tells its
// toll when the attack is at its height, which it then keeps up until its
// standard input ends.
func attack(args []string) error {
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	a := &adversary{address: args[1], n: n}
	run := assaultNamed(args[0]).run
	before := ownCPU()
	if err := run(a); err != nil {
		return err
	}
	t := toll{
		Sent: a.sent.Load() + openingBytes*a.opened.Load(), Got: a.got.Load(),
		Opened: a.opened.Load(), CPU: ownCPU() - before,
	}
	if err := json.NewEncoder(os.Stdout).Encode(t); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func adversaryMain() {
	if err := attack(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// tap is a connection of the attacker's. TLS above it gathers records in it,
// which leave in one piece.
type tap struct {
	net.Conn
	a   *adversary
	got atomic.Int64

	gather bool
	buf    []byte
}

// home is where adversaries come from: another address than their neighbour's.
var home = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}

// dial opens one below TLS.
func (a *adversary) dial() (*tap, error) {
	d := net.Dialer{LocalAddr: home, Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) {
			// A server's bytes shall wait at the server's.
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10)
		}), err)
	}}
	c, err := d.Dial("tcp", a.address)
	if err != nil {
		return nil, err
	}
	a.opened.Add(1)
	w := &tap{Conn: c, a: a}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open = append(a.open, w)
	return w, nil
}

func (w *tap) Write(p []byte) (int, error) {
	if w.gather {
		if w.buf = append(w.buf, p...); len(w.buf) >= 64<<10 {
			return len(p), w.flush()
		}
		return len(p), nil
	}
	n, err := w.Conn.Write(p)
	w.a.sent.Add(int64(n))
	return n, err
}

func (w *tap) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.a.got.Add(int64(n))
	w.got.Add(int64(n))
	return n, err
}

func (w *tap) flush() error {
	n, err := w.Conn.Write(w.buf)
	w.a.sent.Add(int64(n))
	w.buf = w.buf[:0]
	return err
}

// tlsConn is a connection after its handshake.
type tlsConn struct {
	*tls.Conn
	wire *tap
	over atomic.Bool // the server has ended it
}

// shakeHands opens a connection by the cheapest handshake there is.
func (a *adversary) shakeHands(protocol string) (*tlsConn, error) {
	w, err := a.dial()
	if err != nil {
		return nil, err
	}
	t := tls.Client(w, cheapTLS(protocol))
	if err := t.Handshake(); err != nil {
		return nil, err
	}
	return &tlsConn{Conn: t, wire: w}, nil
}

func cheapTLS(protocol string) *tls.Config {
	return &tls.Config{
		ServerName: "ec.sallyport.test", InsecureSkipVerify: true,
		CurvePreferences: []tls.CurveID{tls.X25519}, NextProtos: []string{protocol},
	}
}

// drain throws away what the server sends, until it ends the connection.
func (t *tlsConn) drain() {
	buf := make([]byte, 64<<10)
	for {
		if _, err := t.wire.Read(buf); err != nil {
			if !errors.Is(err, net.ErrClosed) {
				t.over.Store(true)
			}
			return
		}
		time.Sleep(time.Millisecond) // let some come together
	}
}

// script sends bytes, in as large records as there are.
func (t *tlsConn) script(p []byte) error {
	t.wire.gather = true
	_, err := t.Write(p)
	return errors.Join(err, t.wire.flush())
}

// answered waits until the server has sent so many bytes in all, or has ended
// the connection.
func (t *tlsConn) answered(bytes int64) bool {
	for deadline := time.Now().Add(patience); t.wire.got.Load() < bytes && !t.over.Load(); {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(200 * time.Microsecond)
	}
	return !t.over.Load()
}

// settled is answered, and waits for the rest, of which it is not known how much
// it is.
func (t *tlsConn) settled(bytes int64) bool {
	if !t.answered(bytes) {
		return false
	}
	for last := int64(-1); last != t.wire.got.Load(); time.Sleep(3 * time.Millisecond) {
		last = t.wire.got.Load()
	}
	return !t.over.Load()
}

// each runs do for 0 to n-1, some at a time.
func each(n int, do func(i int) error) error {
	const atOnce = 8
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, atOnce)
	for w := range atOnce {
		all.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(i); err != nil {
					errs[w] = fmt.Errorf("%d of %d: %w", i, n, err)
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// firstWords are a ClientHello.
func firstWords() []byte {
	var heard recorder
	_ = tls.Client(&heard, cheapTLS("http/1.1")).Handshake() // it fails where the answer should come
	return heard.first
}

type recorder struct {
	net.Conn
	first []byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.first = append(r.first, p...)
	return len(p), nil
}

func (r *recorder) Read([]byte) (int, error)         { return 0, io.EOF }
func (r *recorder) Close() error                     { return nil }
func (r *recorder) SetDeadline(time.Time) error      { return nil }
func (r *recorder) SetReadDeadline(time.Time) error  { return nil }
func (r *recorder) SetWriteDeadline(time.Time) error { return nil }
