package http2

import (
	"encoding/binary"

	"golang.org/x/net/http2"
)

// settings are the peer's, as far as they matter here. HEADER_TABLE_SIZE does
// not: what is sent never uses the dynamic table (encode.go).
type settings struct {
	initialWindow int32
	maxStreams    uint32 // for a client
	connect       bool   // SETTINGS_ENABLE_CONNECT_PROTOCOL, for a client
}

// readSettings takes a SETTINGS frame (RFC 9113 §6.5).
func (c *conn) readSettings(f frame, p []byte) error {
	switch {
	case f.id != 0:
		return broken("SETTINGS on a stream")
	case f.flags.Has(http2.FlagSettingsAck) && f.length > 0, f.length%6 != 0:
		return &ConnError{http2.ErrCodeFrameSize, "SETTINGS of a wrong size"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.flags.Has(http2.FlagSettingsAck) {
		if c.settingsSince == 0 {
			return c.spend(costFrame)
		}
		if c.settingsSince = 0; len(c.streams) == 0 {
			c.idle()
		}
		return nil
	}
	if err := c.spend(costFrame + int32(len(p)/64)); err != nil {
		return err
	}
	window := c.peer.initialWindow
	for ; len(p) > 0; p = p[6:] {
		s := http2.Setting{
			ID:  http2.SettingID(binary.BigEndian.Uint16(p)),
			Val: binary.BigEndian.Uint32(p[2:]),
		}
		if err := s.Valid(); err != nil {
			code := http2.ErrCodeProtocol
			if s.ID == http2.SettingInitialWindowSize {
				code = http2.ErrCodeFlowControl
			}
			return &ConnError{code, "bad setting " + s.ID.String()}
		}
		if s.ID == http2.SettingInitialWindowSize {
			window = int32(s.Val)
		} else if err := c.role.setting(s); err != nil {
			return err
		}
	}
	if err := c.openAll(window); err != nil {
		return err
	}
	c.role.configured()
	c.out.pending = appendSettingsAck(c.out.room(headLen))
	c.flushSoon()
	return nil
}

// openAll moves the window of all streams (RFC 9113 §6.9.2). It may become
// negative.
func (c *conn) openAll(window int32) error {
	by := int64(window) - int64(c.peer.initialWindow)
	if by == 0 {
		return nil
	}
	c.peer.initialWindow = window
	for _, s := range c.streams {
		w := int64(s.sendWindow) + by
		if w > maxWindow {
			return &ConnError{http2.ErrCodeFlowControl, "window of a stream overflows"}
		}
		s.sendWindow = int32(w)
		s.opened()
	}
	return nil
}
