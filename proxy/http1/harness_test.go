package http1

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/proxy/message"
)

// script is a connection whose peer has said all that it will say, piece bytes
// a read (0: what fits). It is not a socket, so nothing is known of it but that.
type script struct {
	in    []byte
	piece int
	out   bytes.Buffer
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	if s.piece > 0 {
		p = p[:min(len(p), s.piece)]
	}
	n := copy(p, s.in)
	s.in = s.in[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) Close() error                     { return nil }
func (s *script) CloseWrite() error                { return nil }
func (s *script) LocalAddr() net.Addr              { return nil }
func (s *script) RemoteAddr() net.Addr             { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// relay is what package proxy does with an exchange at its least: the request
// goes to the backend, the answer to the client. Errors say whose they are.
func relay(x *Exchange, b *ClientConn) error { return relayWith(x, b, make([]byte, 32<<10)) }

func relayWith(x *Exchange, b *ClientConn, buf []byte) error {
	call := b.Call()
	defer call.Close()
	r := x.Request()
	end := r.Length == 0
	if err := call.WriteHead(r, end); err != nil {
		return backendError{err}
	}
	if !end {
		if err := pump(x.Body(), call, true, buf); err != nil {
			return err
		}
	}
	return relayAnswer(x, call, buf)
}

// relayBoth does so for a backend that may answer while it is still sent to.
func relayBoth(x *Exchange, b *ClientConn) error {
	call := b.Call()
	defer call.Close()
	r := x.Request()
	if r.Length == 0 {
		return relayWith(x, b, make([]byte, 32<<10))
	}
	if err := call.WriteHead(r, false); err != nil {
		return backendError{err}
	}
	var upload sync.WaitGroup
	defer upload.Wait()
	upload.Go(func() {
		if pump(x.Body(), call, true, make([]byte, 32<<10)) != nil {
			call.Close()
		}
	})
	return relayAnswer(x, call, make([]byte, 32<<10))
}

func relayAnswer(x *Exchange, call *Call, buf []byte) error {
	for {
		head, err := call.ReadHead()
		if err != nil {
			return backendError{err}
		}
		end := head.Bodiless || head.Length == 0 && head.Status != 101
		if err := x.WriteHead(head, end); err != nil {
			return clientError{err}
		}
		switch {
		case head.Status == 101:
			return tunnel(x, call)
		case head.Status < 200:
			continue
		case end:
			return nil
		}
		return pump(call.Body(), x, false, buf)
	}
}

type (
	clientError  struct{ error }
	backendError struct{ error }
)

func (e clientError) Unwrap() error  { return e.error }
func (e backendError) Unwrap() error { return e.error }

func side(err error, client bool) error {
	if client {
		return clientError{err}
	}
	return backendError{err}
}

// pump sends a body on. fromClient says whose the errors of its reading are.
func pump(from message.Body, to message.Sender, fromClient bool, buf []byte) error {
	ready := from.(interface{ Ready() bool })
	if !ready.Ready() { // the head must not wait for the body
		if err := to.WriteBody(nil, true); err != nil {
			return side(err, !fromClient)
		}
	}
	for {
		n, err := from.Read(buf)
		switch {
		case err == io.EOF:
			if err := to.End(from.Trailers()); err != nil {
				return side(err, !fromClient)
			}
			return nil
		case err != nil:
			return side(err, fromClient)
		}
		if err := to.WriteBody(buf[:n], !ready.Ready()); err != nil {
			return side(err, !fromClient)
		}
	}
}

func tunnel(x *Exchange, call *Call) error {
	var both sync.WaitGroup
	var up, down error
	both.Go(func() { up = pump(x.Body(), call, true, make([]byte, 32<<10)) })
	both.Go(func() { down = pump(call.Body(), x, false, make([]byte, 32<<10)) })
	both.Wait()
	return errors.Join(up, down)
}

const answerOK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// seen is what became of requests: what the client got, and what each call
// said to the backend.
type seen struct {
	client  string
	backend []string
	err     error // that ended the connection
}

// serveScript serves requests that came in pieces of so many bytes by
// backends that all say answer.
func serveScript(t testing.TB, requests string, piece int, answer string, cfg Config) seen {
	t.Helper()
	client := &script{in: []byte(requests), piece: piece}
	conn := NewServerConn(client, cfg.WithDefaults())
	defer conn.Close()
	var got seen
	for {
		x, err := conn.Next()
		if err != nil {
			var refused *Error
			if errors.As(err, &refused) {
				conn.Refuse(refused)
			}
			got.client, got.err = client.out.String(), err
			return got
		}
		backend := &script{in: []byte(answer), piece: piece}
		b := NewClientConn(backend, ClientConfig{}.WithDefaults())
		if err := relay(x, b); err != nil {
			answerFor(t, x, err)
			if errors.As(err, new(clientError)) {
				backend.out.WriteString("…broken")
			}
		}
		b.Release()
		got.backend = append(got.backend, backend.out.String())
	}
}

// answerFor tells the client what went wrong, if it still can be told.
func answerFor(t testing.TB, x *Exchange, err error) {
	t.Helper()
	status := 502
	var refused *Error
	if errors.As(err, new(clientError)) {
		if status = 400; errors.As(err, &refused) {
			status = refused.Status
		}
	}
	if err := x.WriteHead(&message.Response{Status: status}, true); err != nil {
		x.Reset()
	}
}

// dos makes the line ends of text those of HTTP.
func dos(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }

// unix is the way back, for messages that people read.
func unixText(text string) string { return strings.ReplaceAll(text, "\r\n", "\n") }
