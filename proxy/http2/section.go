package http2

import (
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
	size   int  // as SETTINGS_MAX_HEADER_LIST_SIZE counts
	large  bool // beyond a limit; what follows was not kept
}

var blockPool = sync.Pool{New: func() any { return new(block) }}

func getBlock() *block { return blockPool.Get().(*block) }

func (b *block) release() {
	clear(b.fields)
	b.raw, b.fields, b.size, b.large = b.raw[:0], b.fields[:0], 0, false
	if cap(b.raw) > maxPayload {
		b.raw = nil
	}
	blockPool.Put(b)
}

// bytesOf gives a string of hpack's as the bytes that it is. Nobody changes
// them: see package message.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// take is called by the HPACK decoder for each field.
func (c *conn) take(f hpack.HeaderField) {
	b := c.block
	b.size += int(f.Size())
	if b.size > c.cfg.MaxHeaderBytes || len(b.fields) >= c.cfg.MaxFields {
		b.large = true
		c.dec.SetEmitEnabled(false)
		return
	}
	name := bytesOf(f.Name)
	b.fields = append(b.fields, message.Field{ID: message.IDOf(name), Name: name, Value: bytesOf(f.Value)})
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
	if len(c.block.raw)+len(p) > c.cfg.MaxHeaderBytes+maxPayload {
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
	return c.free.charge(n)
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
		c.dec.SetMaxStringLength(c.cfg.MaxHeaderBytes)
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
