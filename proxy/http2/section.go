package http2

import (
	"bytes"
	"sync"
	"unsafe"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sallyport/proxy/message"
)

// block is a field section while it is read. Between sections a connection has none.
type block struct {
	raw    []byte // of HEADERS and CONTINUATION, where it is not whole at once
	fields []message.Field
	lines  int  // fields but for pseudo-fields, Host in whichever form and all cookies as one each
	size   int  // as HTTP/1.1 would send it
	large  bool // beyond a limit; what follows was not kept
	long   int  // of :path, where only its beginning was kept

	// Browsers send a cookie in crumbs (RFC 9113 §8.2.3): from the second one on they
	// are joined as they come.
	crumbs int
	crumb  int // where in fields the first one is
	cookie []byte
}

var blockPool = sync.Pool{New: func() any { return new(block) }}

func getBlock() *block { return blockPool.Get().(*block) }

// Blocks keep these much when they are not in use.
const (
	keptLines  = 256
	keptCookie = 8 << 10
)

func (b *block) release() {
	clear(b.fields)
	b.raw, b.fields, b.cookie = b.raw[:0], b.fields[:0], b.cookie[:0]
	if cap(b.raw) > maxPayload {
		b.raw = nil
	}
	if cap(b.fields) > keptLines {
		b.fields = nil
	}
	if cap(b.cookie) > keptCookie {
		b.cookie = nil
	}
	b.lines, b.size, b.large, b.long, b.crumbs, b.crumb = 0, 0, false, 0, 0, 0
	blockPool.Put(b)
}

// bytesOf gives a string of hpack's as the bytes that it is. Nobody changes
// them: see package message.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// take is called by the HPACK decoder for each field.
func (c *conn) take(f hpack.HeaderField) {
	b := c.block
	name := bytesOf(f.Name)
	field := message.Field{ID: message.IDOf(name), Name: name, Value: bytesOf(f.Value)}
	if b.count(field); b.size > c.cfg.MaxHeaderBytes || b.lines > c.cfg.MaxFields {
		b.large = true
		b.keepStart(field)
		c.dec.SetEmitEnabled(false)
		return
	}
	if field.ID == message.Cookie && !c.client {
		if b.crumbs++; b.crumbs > 1 {
			b.join(field.Value)
			return
		}
		b.crumb = len(b.fields)
	}
	b.fields = append(b.fields, field)
}

// count counts a field as it would stand in HTTP/1.1's head, so that a limit is the same for
// both.
func (b *block) count(f message.Field) {
	switch {
	case len(f.Name) > 0 && f.Name[0] == ':':
		b.countPseudo(f)
	case f.ID == message.Cookie && b.crumbs > 0:
		b.size += len("; ") + len(f.Value)
	default:
		b.lines++
		b.size += len(f.Name) + len(": \r\n") + len(f.Value)
	}
}

func (b *block) countPseudo(f message.Field) {
	switch string(f.Name) {
	case ":authority":
		b.lines++
		b.size += len("host: \r\n") + len(f.Value)
	case ":scheme":
		b.size += max(0, len(f.Value)-len("https")) // the first line does without
	case ":method":
		b.size += len(f.Value) + len("  HTTP/1.1\r\n\r\n")
	default:
		b.size += len(f.Value)
	}
}

// keepStart keeps the beginning of a target or authority that is beyond the limit, for the log.
func (b *block) keepStart(f message.Field) {
	switch string(f.Name) {
	case ":path":
		b.long = len(f.Value)
	case ":authority":
	default:
		return
	}
	f.Value = bytes.Clone(f.Value[:min(len(f.Value), keptTarget)])
	b.fields = append(b.fields, f)
}

const keptTarget = 512

func (b *block) join(crumb []byte) {
	if b.crumbs == 2 {
		b.cookie = append(b.cookie[:0], b.fields[b.crumb].Value...)
	}
	b.cookie = append(append(b.cookie, "; "...), crumb...)
}

// readHeaders takes a HEADERS frame (RFC 9113 §6.2).
func (c *conn) readHeaders(f frame, p []byte) error {
	if f.id == 0 {
		return broken("HEADERS without a stream")
	}
	p, err := unpad(f, p)
	if err != nil {
		return err
	}
	if f.flags.Has(http2.FlagHeadersPriority) {
		if len(p) < 5 {
			return &ConnError{http2.ErrCodeFrameSize, "HEADERS too short for its priority"}
		}
		if parent(p) == f.id {
			return broken("stream depends on itself")
		}
		p = p[5:]
	}
	c.block, c.blockFor = getBlock(), f
	if f.flags.Has(http2.FlagHeadersEndHeaders) {
		return c.decode(p)
	}
	c.late()
	c.block.raw = append(c.block.raw, p...)
	return nil
}

// readContinuation takes a CONTINUATION frame (RFC 9113 §6.10).
func (c *conn) readContinuation(f frame, p []byte) error {
	if c.block == nil || f.id != c.blockFor.id {
		return broken("CONTINUATION of nothing")
	}
	if len(c.block.raw)+len(p) > c.cfg.maxSection() {
		return &ConnError{codeCalm, "field section too large"}
	}
	c.block.raw = append(c.block.raw, p...)
	if f.flags.Has(http2.FlagContinuationEndHeaders) {
		return c.decode(c.block.raw)
	}
	if len(p) >= smallData {
		return nil
	}
	return c.charge(costFrame)
}

func (c *conn) charge(n int32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spend(n)
}

// decode decodes a whole field section and hands it on.
func (c *conn) decode(p []byte) error {
	b := c.block
	defer func() {
		c.block = nil
		b.release()
	}()
	if c.dec == nil {
		c.dec = hpack.NewDecoder(maxTable, c.take)
		c.dec.SetMaxStringLength(c.cfg.maxSection())
	}
	c.dec.SetEmitEnabled(true)
	_, err := c.dec.Write(p)
	if err == nil {
		err = c.dec.Close()
	}
	if err != nil {
		return &ConnError{http2.ErrCodeCompression, err.Error()}
	}
	if b.size > swollen && b.size > swollenTimes*len(p) {
		if err := c.charge(costReset); err != nil {
			return err
		}
	}
	return c.role.headers(c.blockFor, b)
}

// A section that is so large, and so many times as large as what was sent of
// it, lives off the dynamic table: it costs the peer next to nothing, and those
// that it is sent on to all of it.
const (
	swollen      = 16 << 10
	swollenTimes = 64
)
