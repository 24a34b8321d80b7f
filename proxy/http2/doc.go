// Package http2 turns HTTP/2 into messages and back.
package http2
