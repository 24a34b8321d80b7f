package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport/proxy/message"
)

// view is what a parser makes of a message, and of what follows it.
type view struct {
	Method, Target, Host string
	Status               int
	Fields, Trailers     http.Header
	Body, Rest           string
}

// known are the fields that differ by intent: what a codec takes out, and what
// net/http adds ("Cache-Control" for a "Pragma", RFC 9111 §5.4 has given that up).
func (v *view) known(named []string) {
	for name := range v.Fields {
		if isHop(message.IDOf([]byte(name))) {
			delete(v.Fields, name)
		}
	}
	for _, name := range named {
		if !(message.Field{Name: []byte(name)}).EndToEnd() {
			v.Fields.Del(name)
		}
	}
	if v.Fields["Pragma"] != nil {
		v.Fields.Del("Cache-Control")
	}
}

func isHop(id message.FieldID) bool {
	return framing(id) || id == message.KeepAlive || id == message.ProxyConnection || id == message.ProxyAuthenticate ||
		id == message.ProxyAuthorization || id == message.HTTP2Settings
}

func headerOf(list []message.Field) http.Header {
	h := http.Header{}
	for _, f := range list {
		key := textproto.CanonicalMIMEHeaderKey(string(f.Name))
		h[key] = append(h[key], string(f.Value))
	}
	return h
}

// options are the fields that Connection names.
func options(h http.Header) (named []string) {
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			named = append(named, textproto.TrimString(name))
		}
	}
	return named
}

// ourRequest is how this package reads a request.
func ourRequest(t *testing.T, raw []byte, piece int) (v view, err error) {
	s := &watched{script: script{in: bytes.Clone(raw), piece: piece}, look: func([]byte) {}}
	conn := NewServerConn(s, Config{}.WithDefaults())
	defer conn.Close()
	x, err := conn.Next()
	if err != nil {
		return v, err
	}
	r := x.Request()
	v = view{Method: string(r.Method), Target: string(r.Path), Host: string(r.Authority), Fields: headerOf(r.Fields)}
	v.Body, err = readAll(t, &x.body.body, s, 1+piece%50)
	v.Trailers = headerOf(x.Body().Trailers())
	v.Rest = string(conn.in.unread()) + string(s.in)
	return v, err
}

// readAll reads a body, so many bytes at a time. One that is ready must not
// have to wait.
func readAll(t *testing.T, b *body, conn *watched, size int) (string, error) {
	var all strings.Builder
	for p := make([]byte, size); ; {
		ready := b.Ready()
		conn.look = func([]byte) {
			if ready {
				t.Error("it was ready, and waits")
			}
		}
		n, err := b.Read(p)
		all.Write(p[:n])
		switch {
		case err == io.EOF:
			return all.String(), nil
		case err != nil:
			return all.String(), err
		}
	}
}

// theirRequest is how net/http does.
func theirRequest(raw []byte) (v view, err error) {
	b := bufio.NewReaderSize(bytes.NewReader(raw), 1<<20)
	r, err := http.ReadRequest(b)
	if err != nil {
		return v, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return v, err
	}
	rest, _ := io.ReadAll(b)
	v = view{Method: r.Method, Target: r.RequestURI, Host: r.Host, Fields: r.Header, Trailers: r.Trailer, Body: string(body), Rest: string(rest)}
	v.known(options(r.Header))
	return v, nil
}

// originForm is the target that an absolute one means.
func originForm(method, target string) string {
	_, rest, ok := strings.Cut(target, "://")
	if target[0] == '/' || target == "*" || !ok {
		return target
	}
	at := strings.IndexAny(rest, "/?")
	switch {
	case at < 0 && method == "OPTIONS":
		return "*"
	case at < 0:
		return "/"
	case rest[at] == '?':
		return "/" + rest[at:]
	}
	return rest[at:]
}

// sentForm is a target as it is sent on, with per cent for what servers differ in.
func sentForm(target string) string {
	var sent strings.Builder
	path := true
	for i := range len(target) {
		switch c := target[i]; {
		case c >= 0x80, strings.IndexByte(`"<>`, c) >= 0, c == '\\' && path:
			fmt.Fprintf(&sent, "%%%02X", c)
		default:
			path = path && c != '?'
			sent.WriteByte(c)
		}
	}
	return sent.String()
}

// compare reports where two views differ. Nil and empty headers are the same.
func compare(ours, theirs view) string {
	if strings.EqualFold(ours.Host, theirs.Host) {
		ours.Host = theirs.Host
	}
	for _, h := range []*http.Header{&ours.Fields, &ours.Trailers, &theirs.Fields, &theirs.Trailers} {
		if len(*h) == 0 {
			*h = nil
		}
	}
	return cmp.Diff(theirs, ours)
}

// Whatever we accept, net/http reads in the same way: method, target, host,
// fields, body, and where the next request begins. So it does what we write to a
// backend. It refuses some of what we take: a Trailer field that names what frames,
// a line break before a request.
func FuzzRequest(f *testing.F) {
	for _, c := range requests {
		if len(c.raw) < 2<<10 {
			f.Add([]byte(c.raw), byte(0))
		}
	}
	f.Add([]byte(browser+upload), byte(5))
	f.Fuzz(func(t *testing.T, raw []byte, piece byte) {
		ours, err := ourRequest(t, raw, int(piece))
		whole, errWhole := ourRequest(t, raw, 0)
		if (err == nil) != (errWhole == nil) || err == nil && cmp.Diff(whole, ours) != "" {
			t.Fatalf("in pieces of %d: %v, %v\n%s", piece, err, errWhole, cmp.Diff(whole, ours))
		}
		if err != nil || ours.Fields["Trailer"] != nil {
			return
		}
		theirs, err := theirRequest(bytes.TrimPrefix(raw, []byte("\r\n")))
		if err != nil {
			t.Fatalf("net/http refuses it: %v", err)
		}
		if ours.Method == "CONNECT" {
			return
		}
		theirs.Target, theirs.Host = sentForm(originForm(theirs.Method, theirs.Target)), strings.TrimSuffix(theirs.Host, ":")
		if diff := compare(ours, theirs); diff != "" {
			t.Fatalf("net/http reads otherwise:\n%s", diff)
		}
		got := serveScript(t, string(raw), int(piece), answerOK, Config{})
		if len(got.backend) == 0 || strings.Contains(got.backend[0], "…broken") {
			t.Fatalf("not sent on: %v", got.err)
		}
		written, err := theirRequest([]byte(got.backend[0]))
		if err != nil {
			t.Fatalf("net/http refuses what the backend gets: %v\n%q", err, got.backend[0])
		}
		ours.Rest = ""
		if diff := compare(ours, written); diff != "" {
			t.Fatalf("the backend gets something else:\n%s", diff)
		}
	})
}

// ourAnswer is how this package reads an answer, past the interim ones.
func ourAnswer(t *testing.T, raw []byte, head bool, piece int) (v view, err error) {
	s := &watched{script: script{in: bytes.Clone(raw), piece: piece}, look: func([]byte) {}}
	conn := NewClientConn(s, ClientConfig{}.WithDefaults())
	call := conn.Call()
	r := message.Request{Method: []byte("GET"), Path: []byte("/")}
	if head {
		r.Method = []byte("HEAD")
	}
	if err := call.WriteHead(&r, true); err != nil {
		return v, err
	}
	for v.Status < 200 {
		res, err := call.ReadHead()
		if err != nil {
			return v, err
		}
		v = view{Status: res.Status, Fields: headerOf(res.Fields)}
	}
	v.Body, err = readAll(t, &call.body, s, 1+piece%50)
	v.Trailers = headerOf(call.Body().Trailers())
	v.Rest = string(conn.in.unread()) + string(s.in)
	return v, err
}

// theirAnswer is how net/http does.
func theirAnswer(raw []byte, head bool) (v view, err error) {
	b := bufio.NewReaderSize(bytes.NewReader(raw), 1<<20)
	request := &http.Request{Method: "GET"}
	if head {
		request.Method = "HEAD"
	}
	for v.Status < 200 {
		r, err := http.ReadResponse(b, request)
		if err != nil {
			return v, err
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return v, err
		}
		v = view{Status: r.StatusCode, Fields: r.Header, Trailers: r.Trailer, Body: string(body)}
		v.known(options(r.Header))
	}
	rest, _ := io.ReadAll(b)
	v.Rest = string(rest)
	return v, nil
}

// rewritten is what a client gets of a response.
func rewritten(t *testing.T, raw []byte, head bool) []byte {
	request := toGet
	if head {
		request = toHead
	}
	client := &script{in: []byte(request)}
	x, err := NewServerConn(client, Config{}.WithDefaults()).Next()
	if err != nil {
		t.Fatal(err)
	}
	b := NewClientConn(&script{in: bytes.Clone(raw)}, ClientConfig{}.WithDefaults())
	if err := relay(x, b); err != nil {
		t.Fatalf("what was read cannot be relayed: %v", err)
	}
	return client.out.Bytes()
}

// framedOtherwise is what frames a response to us and not to net/http: fields with a space before
// their colon, and the chunked coding by HTTP/1.0.
var framedOtherwise = regexp.MustCompile("(?i)\n(content-length|transfer-encoding|connection|keep-alive|upgrade|te|expect|proxy-[a-z]*|http2-settings)[ \t]+:|^HTTP/1\\.0 (.*\n)*transfer-encoding")

// laxly makes of net/http's view what we make of field lines that should not be sent.
func (v *view) laxly() {
	for name := range v.Trailers {
		if forbiddenTrailer(message.IDOf([]byte(name))) {
			delete(v.Trailers, name)
		}
	}
	laxly(v.Fields)
	laxly(v.Trailers)
}

func oneBlank(fields http.Header) {
	for _, values := range fields {
		for i := range values {
			values[i] = strings.Join(strings.Fields(values[i]), " ")
		}
	}
}

func laxly(fields http.Header) {
	for name, values := range fields {
		bare := strings.TrimRight(name, " \t")
		for i := range values {
			value := []byte(values[i])
			clean(value)
			values[i] = string(trim(value))
		}
		switch {
		case !all([]byte(bare), isToken):
			delete(fields, name)
		case bare != name:
			delete(fields, name)
			bare = http.CanonicalHeaderKey(bare)
			fields[bare] = append(fields[bare], values...)
		}
	}
}

// Whatever we accept of a backend, net/http reads in the same way if it reads it at all, and
// so it does with what is written anew.
func FuzzResponse(f *testing.F) {
	for _, c := range answers {
		if len(c.raw) < 2<<10 {
			f.Add([]byte(c.raw), strings.HasPrefix(c.request, "HEAD"), byte(0))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, head bool, piece byte) {
		ours, err := ourAnswer(t, raw, head, int(piece))
		whole, errWhole := ourAnswer(t, raw, head, 0)
		if (err == nil) != (errWhole == nil) || err == nil && cmp.Diff(whole, ours) != "" {
			t.Fatalf("in pieces of %d: %v, %v\n%s", piece, err, errWhole, cmp.Diff(whole, ours))
		}
		if err != nil || ours.Fields["Trailer"] != nil {
			return
		}
		anew, err := theirAnswer(rewritten(t, raw, head), head)
		if err != nil {
			t.Fatalf("net/http refuses what is written anew: %v", err)
		}
		if anew.Rest != "" || anew.Body != ours.Body || anew.Status != ours.Status {
			t.Fatalf("net/http reads otherwise what is written anew:\n%s", cmp.Diff(anew, ours))
		}
		theirs, err := theirAnswer(raw, head)
		if err != nil || framedOtherwise.Match(raw) {
			return
		}
		theirs.laxly()
		if bytes.Contains(raw, []byte("\n ")) || bytes.Contains(raw, []byte("\n\t")) {
			oneBlank(ours.Fields) // net/http makes a blank of a folded line that is empty, too
			oneBlank(theirs.Fields)
		}
		if diff := compare(ours, theirs); diff != "" {
			t.Fatalf("net/http reads otherwise:\n%s", diff)
		}
	})
}

// decodeAll decodes a body that comes in pieces of so many bytes, up to its
// last chunk.
func decodeAll(raw []byte, piece int) (data, rest []byte, err error) {
	raw = bytes.Clone(raw)
	if piece == 0 {
		piece = len(raw)
	}
	var d chunks
	for d.state != ended {
		if len(raw) == 0 {
			return data, nil, io.ErrUnexpectedEOF
		}
		p := raw[:min(piece, len(raw))]
		n, used, bad := d.decode(p)
		if bad != nil {
			return data, nil, bad
		}
		data = append(data, p[:n]...)
		raw = raw[used:]
	}
	return data, raw, nil
}

// Whatever we accept as chunked, in whichever pieces it comes, net/http
// decodes to the same.
func FuzzChunked(f *testing.F) {
	for _, c := range requests {
		if _, body, ok := strings.Cut(c.raw, "chunked\r\n\r\n"); ok && len(body) < 2<<10 {
			f.Add([]byte(body), byte(1))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, piece byte) {
		data, rest, err := decodeAll(raw, int(piece))
		whole, wholeRest, errWhole := decodeAll(raw, 0)
		if !errors.Is(err, errWhole) || !bytes.Equal(data, whole) && err == nil || !bytes.Equal(rest, wholeRest) {
			t.Fatalf("in pieces of %d: %q %q %v, as a whole: %q %q %v", piece, data, rest, err, whole, wholeRest, errWhole)
		}
		if err != nil {
			return
		}
		b := bufio.NewReaderSize(bytes.NewReader(raw), 1<<20)
		theirs, err := io.ReadAll(httputil.NewChunkedReader(b))
		if err != nil {
			t.Fatalf("net/http refuses it: %v", err)
		}
		theirRest, _ := io.ReadAll(b)
		if !bytes.Equal(data, theirs) || !bytes.Equal(rest, theirRest) {
			t.Fatalf("%q %q, net/http: %q %q", data, rest, theirs, theirRest)
		}
	})
}
