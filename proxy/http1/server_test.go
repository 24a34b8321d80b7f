package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/proxy/message"
)

// respond answers with a status and a text.
func respond(t *testing.T, x *Exchange, status int, text string) {
	t.Helper()
	if err := x.WriteHead(&message.Response{Status: status, Length: int64(len(text))}, false); err != nil {
		t.Errorf("head: %v", err)
	}
	if err := x.WriteBody([]byte(text), false); err != nil {
		t.Errorf("body: %v", err)
	}
	if err := x.End(nil); err != nil {
		t.Errorf("end: %v", err)
	}
}

func path(x *Exchange) string { return string(x.Request().Path) }

func TestServerConn_AnswersPipelinedRequestsInOrder(t *testing.T) {
	overBoth(t, func(t *testing.T, server net.Conn, client halfConn) {
		ended := serve(t, NewServerConn(server, Config{}.WithDefaults()), func(x *Exchange) {
			body, err := io.ReadAll(x.Body())
			if err != nil {
				t.Error(err)
			}
			respond(t, x, 200, path(x)+string(body))
		})
		send(t, client, dos("GET /1 HTTP/1.1\nHost: a\n\nPOST /2 HTTP/1.1\nHost: a\nContent-Length: 2\n\n-2GET /3 HTTP/1.1\nHost: a\n\n"+
			"POST /4 HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n2\n-4\n0\n\nGET /5 HTTP/1.1\nHost: a\nConnection: close\n\nGET /6 HTTP/1.1\nHost: a\n\n"))
		b := bufio.NewReader(client)
		for _, want := range []string{"/1", "/2-2", "/3", "/4-4", "/5"} {
			if res, got := answer(t, b, "GET"); got != want || res.Close != (want == "/5") {
				t.Errorf("%q, close %v; want %q", got, res.Close, want)
			}
		}
		if _, err := b.ReadByte(); err != io.EOF {
			t.Errorf("after the last one: %v", err)
		}
		client.Close() // what was pipelined behind is read off until then
		if err := await(t, ended); err != io.EOF {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestServerConn_SlowHeadGets408(t *testing.T) {
	overBoth(t, func(t *testing.T, server net.Conn, client halfConn) {
		serve(t, NewServerConn(server, Config{Header: 20 * time.Millisecond}.WithDefaults()), func(*Exchange) {})
		// However fast its bytes come, a head as a whole has no more time.
		go func() {
			for {
				if _, err := io.WriteString(client, "G"); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
		if res, _ := answer(t, bufio.NewReader(client), "GET"); res.StatusCode != 408 || !res.Close {
			t.Errorf("%d, close %v", res.StatusCode, res.Close)
		}
	})
}

func TestServerConn_IdleEndsQuietly(t *testing.T) {
	for name, cfg := range map[string]Config{
		"shorter than a head": {Idle: 20 * time.Millisecond},
		"longer than a head":  {Idle: 50 * time.Millisecond, Header: 5 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			server, client := pair(t)
			ended := serve(t, NewServerConn(server, cfg.WithDefaults()), func(x *Exchange) { respond(t, x, 200, "") })
			send(t, client, fields(""))
			b := bufio.NewReader(client)
			answer(t, b, "GET")
			if err := await(t, ended); err != ErrIdle {
				t.Errorf("ended with %v", err)
			}
			if _, err := b.ReadByte(); err != io.EOF {
				t.Errorf("the client got %v", err)
			}
		})
	}
	t.Run("before the first request", func(t *testing.T) {
		server, _ := pair(t)
		ended := serve(t, NewServerConn(server, Config{Header: 5 * time.Millisecond}.WithDefaults()), func(*Exchange) {})
		if err := await(t, ended); err != ErrIdle {
			t.Errorf("ended with %v", err)
		}
	})
}

// impatient is a connection on which every other wait for a request times out.
type impatient struct {
	script
	conn   *ServerConn
	waited bool
}

func (i *impatient) Read(p []byte) (int, error) {
	if i.conn.idle {
		if i.waited = !i.waited; i.waited {
			return 0, os.ErrDeadlineExceeded
		}
	}
	return i.script.Read(p)
}

// The wait for a request is made of several, which leave no trace.
func TestServerConn_IdleLastsLongerThanAHead(t *testing.T) {
	i := &impatient{script: script{in: []byte(fields("") + fields("") + fields("")), piece: len(fields(""))}}
	i.conn = NewServerConn(i, Config{}.WithDefaults())
	i.conn.served = true
	quiet := 0
	next := func() (*Exchange, error) {
		x, err := i.conn.Next()
		if err == ErrQuiet {
			quiet++
			x, err = i.conn.Next()
		}
		return x, err
	}
	for range 3 {
		x, err := next()
		if err != nil {
			t.Fatal(err)
		}
		respond(t, x, 200, path(x))
	}
	if _, err := next(); err != io.EOF {
		t.Errorf("ended with %v", err)
	}
	if quiet == 0 {
		t.Error("it was never quiet")
	}
}

// A head that comes in pieces has its time as a whole, however little of the first
// byte's was left.
func TestServerConn_HeadInPiecesHasItsOwnTime(t *testing.T) {
	raw := fields("X-Some: field\r\n")
	i := &interrupted{script: script{in: []byte(raw), piece: 1}, at: 2}
	c := NewServerConn(i, Config{}.WithDefaults())
	x, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	respond(t, x, 200, path(x))
	i = &interrupted{script: script{in: []byte(raw), piece: 1}, at: 3}
	if _, err := NewServerConn(i, Config{}.WithDefaults()).Next(); err != errSlow {
		t.Errorf("got %v, want that the head is slow", err)
	}
}

// interrupted is a connection whose deadline passes at one of its reads.
type interrupted struct {
	script
	reads, at int
}

func (i *interrupted) Read(p []byte) (int, error) {
	if i.reads++; i.reads == i.at {
		return 0, os.ErrDeadlineExceeded
	}
	return i.script.Read(p)
}

func TestBody_SaysWhetherMoreIsThere(t *testing.T) {
	for raw, want := range map[string][]bool{
		chunked("2\r\nhi\r\n") + "3\r\nyou\r\n0\r\n\r\n": {true, true, true, true, true},
		chunked("2\r\nhi\r\n0\r\n"):                      {true, true, false},
		chunked("2\r\nhi\r\n0\r\nX: 1\r\n"):              {true, true, false},
		chunked("2\r\nhi\r\n0\r\nX: 1\r\n\r\n"):          {true, true, true},
		chunked("2\r\nhi\r\n3"):                          {true, true, false},
		chunked("2\r\nhi\r\nx"):                          {true, true, true},
		chunked("2\r\nhi\r\n"):                           {true, true, false},
		postFields("Content-Length: 4\r\n") + "hihi":     {true, true, true},
		postFields("Content-Length: 4\r\n") + "hi":       {true, false},
		fields(""): {true},
	} {
		conn := NewServerConn(&script{in: []byte(raw)}, Config{}.WithDefaults())
		x, err := conn.Next()
		if err != nil {
			t.Fatal(err)
		}
		var got []bool
		for p := make([]byte, 2); err == nil; {
			got = append(got, x.body.Ready())
			_, err = x.Body().Read(p)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", raw, got, want)
		}
	}
}

func TestServerConn_SlowBodyTimesOut(t *testing.T) {
	overBoth(t, func(t *testing.T, server net.Conn, client halfConn) {
		errs := make(chan error, 1)
		serve(t, NewServerConn(server, Config{Read: 20 * time.Millisecond}.WithDefaults()), func(x *Exchange) {
			_, err := io.ReadAll(x.Body())
			errs <- err
			respond(t, x, 408, "")
		})
		send(t, client, postFields("Content-Length: 5\r\n")+"hel")
		if err := await(t, errs); !isTimeout(err) {
			t.Errorf("body: %v", err)
		}
		if res, _ := answer(t, bufio.NewReader(client), "POST"); res.StatusCode != 408 || !res.Close {
			t.Errorf("%d, close %v", res.StatusCode, res.Close)
		}
	})
}

func TestServerConn_SlowReaderTimesOut(t *testing.T) {
	overBoth(t, func(t *testing.T, server net.Conn, client halfConn) {
		errs := make(chan error, 1)
		ended := serve(t, NewServerConn(server, Config{Write: 50 * time.Millisecond}.WithDefaults()), func(x *Exchange) {
			err := x.WriteHead(&message.Response{Status: 200, Length: message.Unknown}, false)
			p := make([]byte, 64<<10)
			for err == nil {
				err = x.WriteBody(p, true)
			}
			errs <- err
		})
		send(t, client, fields(""))
		if err := await(t, errs); !isTimeout(err) {
			t.Errorf("body: %v", err)
		}
		if err := await(t, ended); err != ErrUnanswered {
			t.Errorf("ended with %v", err)
		}
		if got, err := io.ReadAll(client); err == nil || bytes.HasSuffix(got, []byte("0\r\n\r\n")) {
			t.Errorf("the client got a whole answer: %v", err)
		}
	})
}

func TestServerConn_ReadsOffASmallRestAfterAnEarlyAnswer(t *testing.T) {
	overBoth(t, func(t *testing.T, server net.Conn, client halfConn) {
		serve(t, NewServerConn(server, Config{}.WithDefaults()), func(x *Exchange) { respond(t, x, 200, path(x)) })
		b := bufio.NewReader(client)
		for range 3 {
			send(t, client, "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
			if res, got := answer(t, b, "POST"); got != "/1" || res.Close {
				t.Fatalf("%q, close %v", got, res.Close)
			}
			send(t, client, "world")
		}
	})
}

// The answer's end wakes whoever reads the body, by the deadline; the next wait
// must not be woken by that too.
func TestServerConn_WaitsOnAfterABodyThatEndsWithItsAnswer(t *testing.T) {
	overBoth(t, func(t *testing.T, server net.Conn, client halfConn) {
		ended := serve(t, NewServerConn(server, Config{}.WithDefaults()), func(x *Exchange) {
			respond(t, x, 200, path(x))
			// What has come already can still be read.
			if path(x) == "/rest" {
				if _, err := x.Body().Read(make([]byte, 5)); err != nil {
					t.Error(err)
				}
			}
		})
		b := bufio.NewReader(client)
		for range 2 {
			send(t, client, "POST /rest HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
			if _, got := answer(t, b, "POST"); got != "/rest" {
				t.Fatalf("%q", got)
			}
		}
		client.CloseWrite()
		if err := await(t, ended); err != io.EOF {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestServerConn_EndsAfterAnEarlyAnswerToALongBody(t *testing.T) {
	overBoth(t, func(t *testing.T, server net.Conn, client halfConn) {
		reads := make(chan error, 1)
		ended := serve(t, NewServerConn(server, Config{}.WithDefaults()), func(x *Exchange) {
			var reading sync.WaitGroup
			reading.Go(func() {
				_, err := io.Copy(io.Discard, x.Body())
				reads <- err
			})
			respond(t, x, 413, "too long")
			reading.Wait()
		})
		send(t, client, postFields("Content-Length: 1000000000\r\n")+strings.Repeat("x", 100<<10))
		b := bufio.NewReader(client)
		if res, got := answer(t, b, "POST"); res.StatusCode != 413 || got != "too long" || !res.Close {
			t.Errorf("%d %q, close %v", res.StatusCode, got, res.Close)
		}
		if err := await(t, reads); err != ErrAnswered {
			t.Errorf("the body's reader: %v", err)
		}
		// The answer was all the client got, and was not lost to a reset.
		if _, err := b.ReadByte(); err != io.EOF {
			t.Errorf("after the answer: %v", err)
		}
		client.Close()
		if err := await(t, ended); err != io.EOF {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestExchange_ContinueIsSentWhenTheBodyIsRead(t *testing.T) {
	overBoth(t, func(t *testing.T, server net.Conn, client halfConn) {
		serve(t, NewServerConn(server, Config{}.WithDefaults()), func(x *Exchange) {
			if path(x) == "/no" {
				respond(t, x, 403, "no")
				return
			}
			x.WriteHead(&message.Response{Status: 103}, true) // keeps nobody from the 100
			body, err := io.ReadAll(x.Body())
			if err != nil {
				t.Error(err)
			}
			respond(t, x, 200, string(body))
		})
		b := bufio.NewReader(client)
		expect := "POST %s HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
		send(t, client, strings.Replace(expect, "%s", "/yes", 1))
		for _, want := range []int{103, 100} {
			if res, _ := answer(t, b, "POST"); res.StatusCode != want {
				t.Fatalf("%d, want %d", res.StatusCode, want)
			}
		}
		send(t, client, "hello")
		if res, got := answer(t, b, "POST"); res.StatusCode != 200 || got != "hello" || res.Close {
			t.Errorf("%d %q, close %v", res.StatusCode, got, res.Close)
		}
		// Nobody knows whether the body comes after another answer than 100.
		send(t, client, strings.Replace(expect, "%s", "/no", 1))
		if res, _ := answer(t, b, "POST"); res.StatusCode != 403 || !res.Close {
			t.Errorf("%d, close %v", res.StatusCode, res.Close)
		}
	})
}

func TestServerConn_ClientThatHasSentAllStillGetsItsAnswer(t *testing.T) {
	overBoth(t, func(t *testing.T, server net.Conn, client halfConn) {
		ended := serve(t, NewServerConn(server, Config{}.WithDefaults()), func(x *Exchange) { respond(t, x, 200, path(x)) })
		send(t, client, fields("")+fields(""))
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		b := bufio.NewReader(client)
		for range 2 {
			if _, got := answer(t, b, "GET"); got != "/" {
				t.Errorf("%q", got)
			}
		}
		if err := await(t, ended); err != io.EOF {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestExchange_ResetWakesBothItsSides(t *testing.T) {
	overBoth(t, func(t *testing.T, server net.Conn, client halfConn) {
		begun := make(chan *Exchange, 1)
		ended := serve(t, NewServerConn(server, Config{}.WithDefaults()), func(x *Exchange) {
			var sides sync.WaitGroup
			sides.Go(func() {
				if _, err := io.Copy(io.Discard, x.Body()); err == nil {
					t.Error("the body ended")
				}
			})
			sides.Go(func() {
				err := x.WriteHead(&message.Response{Status: 200, Length: message.Unknown}, false)
				p := make([]byte, 64<<10)
				for n := 0; err == nil; n++ {
					if n == 10 {
						begun <- x
					}
					err = x.WriteBody(p, true)
				}
			})
			sides.Wait()
		})
		send(t, client, postFields("Content-Length: 5\r\n"))
		io.ReadFull(client, make([]byte, 1<<20)) // whoever writes goes on writing until nobody reads
		await(t, begun).Reset()
		if err := await(t, ended); err != ErrReset {
			t.Errorf("ended with %v", err)
		}
		if _, err := io.Copy(io.Discard, client); err == nil {
			t.Error("the client takes what it got for all there is")
		}
	})
}

func TestServerConn_DrainEndsWhatIsIdle(t *testing.T) {
	overBoth(t, func(t *testing.T, server net.Conn, client halfConn) {
		conn := NewServerConn(server, Config{}.WithDefaults())
		ended := serve(t, conn, func(x *Exchange) { respond(t, x, 200, "") })
		send(t, client, fields(""))
		b := bufio.NewReader(client)
		answer(t, b, "GET")
		conn.Drain()
		if err := await(t, ended); err != io.EOF {
			t.Errorf("ended with %v", err)
		}
		if _, err := b.ReadByte(); err != io.EOF {
			t.Errorf("the client got %v", err)
		}
	})
}

func TestServerConn_DrainLetsAnExchangeEnd(t *testing.T) {
	overBoth(t, func(t *testing.T, server net.Conn, client halfConn) {
		conn := NewServerConn(server, Config{}.WithDefaults())
		ended := serve(t, conn, func(x *Exchange) {
			conn.Drain()
			respond(t, x, 200, "hello")
		})
		send(t, client, fields(""))
		if res, got := answer(t, bufio.NewReader(client), "GET"); got != "hello" || !res.Close {
			t.Errorf("%q, close %v", got, res.Close)
		}
		if err := await(t, ended); err != io.EOF {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestServerConn_SeesAClientGo(t *testing.T) {
	overBoth(t, func(t *testing.T, server net.Conn, client halfConn) {
		conn := NewServerConn(server, Config{}.WithDefaults())
		defer conn.Close()
		send(t, client, fields("")+"GET")
		if _, err := conn.Next(); err != nil {
			t.Fatal(err)
		}
		if conn.Gone() {
			t.Error("it is there")
		}
		if c, ok := client.(*net.TCPConn); ok {
			c.SetLinger(0) // a FIN alone may be of one that still reads
		}
		client.Close()
		for until := time.Now().Add(patience); !conn.Gone(); time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal("it is gone")
			}
		}
	})
}

// counting counts the writes to a socket.
type counting struct {
	net.Conn
	writes atomic.Int64
}

func (c *counting) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func TestExchange_HeadAndBodyAreOneRecord(t *testing.T) {
	var socket *counting
	server, client := tlsPair(t, func(c net.Conn) net.Conn {
		socket = &counting{Conn: c}
		return socket
	})
	before := socket.writes.Load()
	serve(t, NewServerConn(server, Config{}.WithDefaults()), func(x *Exchange) { respond(t, x, 200, strings.Repeat("x", 15<<10)) })
	send(t, client, fields(""))
	answer(t, bufio.NewReader(client), "GET")
	if n := socket.writes.Load() - before; n != 1 {
		t.Errorf("%d writes", n)
	}
}

// watched is a connection that looks at each read.
type watched struct {
	script
	look func(p []byte)
}

func (w *watched) Read(p []byte) (int, error) {
	w.look(p)
	return w.script.Read(p)
}

func TestServerConn_HoldsNothingWhileItWaits(t *testing.T) {
	w := &watched{script: script{in: []byte(fields("") + postFields("Content-Length: 2\r\n") + "hi" + chunked("2\r\nhi\r\n0\r\n\r\n")), piece: 1}}
	conn := NewServerConn(w, Config{}.WithDefaults())
	waits := 0
	w.look = func([]byte) {
		if conn.idle {
			waits++
			if conn.in.buf != nil || conn.in.head != nil || conn.out.buf != nil {
				t.Error("it holds a buffer")
			}
		}
	}
	for {
		x, err := conn.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, x.Body())
		respond(t, x, 200, "hello")
	}
	if waits != 4 {
		t.Errorf("it waited %d times", waits)
	}
}

func TestBody_IsReadToWhereItGoes(t *testing.T) {
	for name, raw := range map[string]string{
		"counted": postFields("Content-Length: 60000\r\n"),
		"chunked": postFields("Transfer-Encoding: chunked\r\n") + "ea60\r\n",
	} {
		data := make([]byte, 60000)
		w := &watched{script: script{in: []byte(raw)}}
		direct := 0
		p := make([]byte, 20000)
		w.look = func(to []byte) {
			if &to[0] == &p[0] {
				direct++
			}
		}
		conn := NewServerConn(w, Config{}.WithDefaults())
		x, err := conn.Next()
		if err != nil {
			t.Fatal(err)
		}
		w.in = append(data, "\r\n0\r\n\r\n"...)
		for n := 0; n < len(data); {
			got, err := x.Body().Read(p)
			if err != nil {
				t.Fatal(err)
			}
			n += got
		}
		if direct < 3 {
			t.Errorf("%s: %d reads", name, direct)
		}
	}
}

// Heads that could not be read back as they are meant are not written at all.
func TestExchange_RefusesToWriteWhatWouldBeMisread(t *testing.T) {
	field := func(name, value string) []message.Field {
		return []message.Field{{ID: message.IDOf([]byte(name)), Name: []byte(name), Value: []byte(value)}}
	}
	for name, r := range map[string]message.Response{
		"CR LF in a value":    {Status: 200, Fields: field("X", "a\r\nY: b")},
		"LF in a value":       {Status: 200, Fields: field("X", "a\nY: b")},
		"NUL in a value":      {Status: 200, Fields: field("X", "a\x00")},
		"CR LF in a name":     {Status: 200, Fields: field("X\r\nY", "a")},
		"colon in a name":     {Status: 200, Fields: field("X:", "a")},
		"space in a name":     {Status: 200, Fields: field("X ", "a")},
		"no name":             {Status: 200, Fields: field("", "a")},
		"length as a field":   {Status: 200, Fields: field("Content-Length", "1")},
		"coding as a field":   {Status: 200, Fields: field("transfer-encoding", "chunked")},
		"CR LF in the reason": {Status: 200, Reason: []byte("OK\r\nX: y")},
		"status 99":           {Status: 99},
		"status 1000":         {Status: 1000},
		"101 unasked":         {Status: 101},
		"a body that is none": {Status: 200, Length: 5},
	} {
		s := &script{in: []byte(fields(""))}
		conn := NewServerConn(s, Config{}.WithDefaults())
		x, err := conn.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := x.WriteHead(&r, true); err != ErrHead || s.out.Len() > 0 || conn.out.n > 0 {
			t.Errorf("%s: %v, wrote %q", name, err, s.out.String())
		}
		// There still is an answer to be given.
		respond(t, x, 502, "")
		if !strings.HasPrefix(s.out.String(), "HTTP/1.1 502 ") {
			t.Errorf("%s: then wrote %q", name, s.out.String())
		}
	}
}

func TestExchange_HoldsABodyToItsLength(t *testing.T) {
	for name, write := range map[string]func(x *Exchange) error{
		"more":    func(x *Exchange) error { return x.WriteBody([]byte("hello!"), true) },
		"fewer":   func(x *Exchange) error { return errors.Join(x.WriteBody([]byte("hell"), true), x.End(nil)) },
		"nothing": func(x *Exchange) error { return x.End(nil) },
	} {
		s := &script{in: []byte(fields(""))}
		conn := NewServerConn(s, Config{}.WithDefaults())
		x, err := conn.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := x.WriteHead(&message.Response{Status: 200, Length: 5}, false); err != nil {
			t.Fatal(err)
		}
		if err := write(x); !errors.Is(err, ErrLength) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := conn.Next(); err != ErrUnanswered {
			t.Errorf("%s: then %v", name, err)
		}
	}
}
