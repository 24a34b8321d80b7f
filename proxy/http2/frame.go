package http2

import (
	"encoding/binary"

	"golang.org/x/net/http2"
)

// Frames are read and written here rather than by x/net's Framer, which makes
// an object of each frame and keeps a buffer of the largest one for as long as a
// connection lives.

const (
	headLen    = 9
	maxPayload = 16 << 10 // both ways; no peer may ask for less (RFC 9113 §4.2)
	maxWindow  = 1<<31 - 1
)

// frame is a frame's head (RFC 9113 §4.1).
type frame struct {
	length int
	kind   http2.FrameType
	flags  http2.Flags
	id     uint32
}

func parseFrame(b []byte) frame {
	return frame{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   http2.FrameType(b[3]),
		flags:  http2.Flags(b[4]),
		id:     binary.BigEndian.Uint32(b[5:]) & maxWindow,
	}
}

func (f frame) append(b []byte) []byte {
	b = append(b, byte(f.length>>16), byte(f.length>>8), byte(f.length), byte(f.kind), byte(f.flags))
	return binary.BigEndian.AppendUint32(b, f.id)
}

// put writes the head over the room that was left for it.
func (f frame) put(b []byte) { f.append(b[:0]) }

func appendWindowUpdate(b []byte, id, n uint32) []byte {
	b = frame{length: 4, kind: http2.FrameWindowUpdate, id: id}.append(b)
	return binary.BigEndian.AppendUint32(b, n)
}

func appendReset(b []byte, id uint32, code http2.ErrCode) []byte {
	b = frame{length: 4, kind: http2.FrameRSTStream, id: id}.append(b)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

func appendGoAway(b []byte, last uint32, code http2.ErrCode) []byte {
	b = frame{length: 8, kind: http2.FrameGoAway}.append(b)
	b = binary.BigEndian.AppendUint32(b, last)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

func appendPing(b []byte, flags http2.Flags, data [8]byte) []byte {
	b = frame{length: 8, kind: http2.FramePing, flags: flags}.append(b)
	return append(b, data[:]...)
}

func appendSettings(b []byte, settings ...http2.Setting) []byte {
	b = frame{length: 6 * len(settings), kind: http2.FrameSettings}.append(b)
	for _, s := range settings {
		b = binary.BigEndian.AppendUint16(b, uint16(s.ID))
		b = binary.BigEndian.AppendUint32(b, s.Val)
	}
	return b
}

func appendSettingsAck(b []byte) []byte {
	return frame{kind: http2.FrameSettings, flags: http2.FlagSettingsAck}.append(b)
}

// unpad takes the padding off a payload (RFC 9113 §6.1).
func unpad(f frame, p []byte) ([]byte, error) {
	if !f.flags.Has(http2.FlagDataPadded) { // 0x8 in DATA, HEADERS and PUSH_PROMISE alike
		return p, nil
	}
	if len(p) == 0 {
		return nil, &ConnError{http2.ErrCodeFrameSize, "padded frame without a pad length"}
	}
	pad := int(p[0])
	if pad >= len(p) {
		return nil, broken("padding longer than its frame")
	}
	return p[1 : len(p)-pad], nil
}
