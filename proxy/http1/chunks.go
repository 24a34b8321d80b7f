package http1

import "bytes"

// maxExtensions bounds the octets of all the chunk extensions of a body.
// Nobody uses them but to have others do work.
const maxExtensions = 4 << 10

// maxDigits are more digits than a chunk's size needs, and few enough not to overflow.
const maxDigits = 15

// chunks takes the chunked coding from a body (RFC 9112 §7.1), in whichever
// pieces it comes.
type chunks struct {
	state      chunkState
	left       int64 // of the chunk under way
	digits     int
	extensions int

	// lax takes what has one meaning though it is not to be sent: blanks behind a size, any
	// number of zeros before it, and LF alone at the end of a line. For what is written
	// anew, and from backends alone.
	lax bool
}

type chunkState uint8

const (
	beforeSize chunkState = iota
	inSize
	behindSize // blanks
	inExtension
	afterSize // the line's LF is next
	inData
	afterData // its CR is next
	afterCR
	ended // trailers follow
)

// decode decodes p in place: its first n octets are data then, and used have
// been taken of it; the rest is as it was. It stops behind the last chunk.
func (d *chunks) decode(p []byte) (n, used int, err *Error) {
	for used < len(p) && d.state != ended {
		if d.state == inData {
			size := int(min(d.left, int64(len(p)-used)))
			copy(p[n:], p[used:used+size])
			n += size
			used += size
			if d.left -= int64(size); d.left == 0 {
				d.state = afterData
			}
			continue
		}
		if err := d.step(p[used]); err != nil {
			return n, used, err
		}
		used++
	}
	return n, used, nil
}

// ready says whether p, which comes next, holds data, or all of the end, or what
// is wrong: more than a part of what is between chunks.
func (d chunks) ready(p []byte) bool {
	for len(p) > 0 && d.state != inData && d.state != ended {
		if d.step(p[0]) != nil {
			return true
		}
		p = p[1:]
	}
	if d.state == ended && d.lax && (bytes.HasPrefix(p, lineFeed) || bytes.Contains(p, laxHeadEnd)) {
		return true
	}
	if d.state == ended {
		return bytes.HasPrefix(p, lineEnd) || bytes.Contains(p, headEnd)
	}
	return len(p) > 0
}

var (
	lineEnd = []byte("\r\n")
	headEnd = []byte("\r\n\r\n")

	lineFeed   = []byte("\n")
	laxHeadEnd = []byte("\n\n")
)

// step takes an octet that is not data. In requests white space behind a size is
// refused: one parser's end of a chunk would be the other's bad size.
func (d *chunks) step(c byte) *Error {
	switch d.state {
	case beforeSize, inSize, behindSize:
		return d.size(c)
	case inExtension:
		return d.extension(c)
	case afterSize:
		if c != '\n' {
			return errChunkEnd
		}
		d.endSize()
	case afterData:
		if c == '\n' && d.lax {
			d.state = beforeSize
			return nil
		}
		if c != '\r' {
			return errChunkEnd
		}
		d.state = afterCR
	case afterCR:
		if c != '\n' {
			return errChunkEnd
		}
		d.state = beforeSize
	}
	return nil
}

// endSize ends the line of a size.
func (d *chunks) endSize() {
	d.digits = 0
	if d.state = inData; d.left == 0 {
		d.state = ended
	}
}

func (d *chunks) size(c byte) *Error {
	switch {
	case classes[c]&isHex != 0 && d.state != behindSize:
		if d.lax && c == '0' && d.left == 0 {
			if d.extensions++; d.extensions > maxExtensions {
				return errChunkSize
			}
		} else if d.digits++; d.digits > maxDigits {
			return errChunkSize
		}
		d.left = d.left<<4 | int64(hexValue(c))
		d.state = inSize
	case d.state == beforeSize:
		return errChunkSize
	case c == '\r':
		d.state = afterSize
	case c == ';':
		d.state = inExtension
	case d.lax && c == '\n':
		d.endSize()
	case d.lax && (c == ' ' || c == '\t'):
		if d.extensions++; d.extensions > maxExtensions {
			return errExtension
		}
		d.state = behindSize
	default:
		return errChunkSize
	}
	return nil
}

func (d *chunks) extension(c byte) *Error {
	switch {
	case c == '\r':
		d.state = afterSize
		return nil
	case c == '\n' && d.lax:
		d.endSize()
		return nil
	}
	if d.extensions++; d.extensions > maxExtensions || classes[c]&isText == 0 {
		return errExtension
	}
	return nil
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}
