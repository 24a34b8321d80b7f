package http2

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"

	"sallyport/proxy/message"
)

// relay forwards exchanges to a backend as a proxy does.
func relay(c *ClientConn) func(message.Exchange) {
	return func(e message.Exchange) {
		k, err := c.NewCall()
		if err != nil {
			answer(e, 503, "no room")
			return
		}
		defer k.Close()
		e.OnGone(k.Close)
		r := *e.Request()
		var wg sync.WaitGroup
		defer wg.Wait()
		if err := k.WriteHead(&r, r.Length == 0); err != nil {
			return
		}
		if r.Length != 0 {
			wg.Go(func() {
				if trailers, err := copyBody(k, e.Body()); err == nil {
					k.End(trailers)
				}
			})
		}
		res, err := k.ReadHead()
		for err == nil && res.Status < 200 {
			e.WriteHead(res, false)
			res, err = k.ReadHead()
		}
		if err != nil {
			ResetLike(e, err)
			return
		}
		if e.WriteHead(res, res.Length == 0 || res.Bodiless) != nil || res.Length == 0 || res.Bodiless {
			return
		}
		trailers, err := copyBody(e, k.Body())
		if err != nil {
			ResetLike(e, err)
			return
		}
		e.End(trailers)
	}
}

func copyBody(to message.Sender, from message.Body) ([]message.Field, error) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		switch {
		case errors.Is(err, io.EOF):
			return from.Trailers(), nil
		case err != nil:
			return nil, err
		}
		if err := to.WriteBody(buf[:n], true); err != nil {
			return nil, err
		}
	}
}

// TestRelay_CarriesWhatGRPCNeeds has a conversation both ways, trailers, and an
// answer that is trailers only.
func TestRelay_CarriesWhatGRPCNeeds(t *testing.T) {
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		if r.URL.Path == "/unknown" {
			w.Header().Set("Grpc-Status", "12")
			return
		}
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		w.Header().Set("Trailer", "Grpc-Status")
		rc.Flush()
		for lines := bufio.NewScanner(r.Body); lines.Scan(); rc.Flush() {
			io.WriteString(w, "got "+lines.Text()+"\n")
		}
		w.Header().Set("Grpc-Status", "0")
	})
	f := serve(t, Config{}, relay(connect(t, s.Listener.Addr().String(), Config{})))
	tr := transport(t)

	pr, pw := io.Pipe()
	res, err := tr.RoundTrip(request(t, "POST", f.url("/talk"), pr))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for _, word := range []string{"one", "two", "three"} {
		io.WriteString(pw, word+"\n")
		if line, err := lines.ReadString('\n'); err != nil || line != "got "+word+"\n" {
			t.Fatalf("%q, %v", line, err)
		}
	}
	pw.Close()
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 || res.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("%q, %v, trailers %v", rest, err, res.Trailer)
	}

	res, _ = get(t, tr, request(t, "POST", f.url("/unknown"), bytes.NewReader([]byte("x"))))
	if res.Header.Get("Grpc-Status") != "12" {
		t.Errorf("trailers only: %v", res.Header)
	}
}

func TestRelay_ClientThatGivesUpCancelsTheCall(t *testing.T) {
	begun, ended := make(chan bool), make(chan bool)
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(ended)
	})
	f := serve(t, Config{}, relay(connect(t, s.Listener.Addr().String(), Config{})))
	c := f.dial(t)
	c.request(1, true, plain...)
	<-begun
	c.WriteRSTStream(1, 8)
	<-ended
}
