package http1

import (
	"cmp"
	"time"
)

// Config is how a client's connection is treated. What is zero gets the default
// named beside it.
type Config struct {
	Secure      bool // the connection has TLS: a target that names a scheme must name https, and otherwise http
	MaxHead     int  // 64 KiB, its first line included (414), and of a body's trailers
	MaxFields   int  // 100 field lines, and as many trailers
	Underscores bool // let field names with underscores through; some backends take them for dashes

	Header time.Duration // 60s, a head as a whole, and the first one from the connection on
	Read   time.Duration // 60s without progress of a body
	Write  time.Duration // 60s without progress of an answer
	Idle   time.Duration // 75s between requests
}

// WithDefaults returns c with its zero values filled.
func (c Config) WithDefaults() *Config {
	c.MaxHead = cmp.Or(c.MaxHead, 64<<10)
	c.MaxFields = cmp.Or(c.MaxFields, 100)
	c.Header = cmp.Or(c.Header, time.Minute)
	c.Read = cmp.Or(c.Read, time.Minute)
	c.Write = cmp.Or(c.Write, time.Minute)
	c.Idle = cmp.Or(c.Idle, 75*time.Second)
	return &c
}

// ClientConfig is how a backend's connection is treated. What is zero gets the
// default named beside it.
type ClientConfig struct {
	MaxHead   int // 256 KiB, and of a body's trailers
	MaxFields int // 200 field lines, and as many trailers

	Response time.Duration // 60s from the request's last byte to the answer's head, and between heads
	Read     time.Duration // 1h without progress of an answer's body
	Write    time.Duration // 30s without progress of the request
}

// WithDefaults returns c with its zero values filled.
func (c ClientConfig) WithDefaults() *ClientConfig {
	c.MaxHead = cmp.Or(c.MaxHead, 256<<10)
	c.MaxFields = cmp.Or(c.MaxFields, 200)
	c.Response = cmp.Or(c.Response, time.Minute)
	c.Read = cmp.Or(c.Read, time.Hour)
	c.Write = cmp.Or(c.Write, 30*time.Second)
	return &c
}
