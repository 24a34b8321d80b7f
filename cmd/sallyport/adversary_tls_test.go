package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// keyUpdates sends n KeyUpdates, each of which has the server make new keys for both
// directions. crypto/tls bears some of them in a row, so a byte of a request's
// head comes in between.
func keyUpdates(a *adversary) error {
	w, err := a.dial()
	if err != nil {
		return err
	}
	var log bytes.Buffer
	config := cheapTLS("http/1.1")
	config.KeyLogWriter = &log
	t := &tlsConn{Conn: tls.Client(w, config), wire: w}
	if err := t.Handshake(); err != nil {
		return err
	}
	secret, err := trafficSecret(log.String())
	if err != nil {
		return err
	}
	go t.drain()
	s, err := newSealer(secret)
	if err != nil {
		return err
	}
	const inARow, updateRequested = 15, 1
	head := "GET /hello HTTP/1.1\r\nX: " + strings.Repeat("y", a.n/inARow)
	w.gather = true
	for i := range a.n {
		if i%inARow == 0 {
			if _, err := w.Write(s.seal(23, []byte{head[i/inARow]})); err != nil {
				return nil // ended
			}
		}
		if _, err := w.Write(s.seal(22, []byte{24, 0, 0, 1, updateRequested})); err != nil {
			return nil
		}
		if s, err = s.next(); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return nil
	}
	t.settled(int64(a.n)) // of which each has an answer of more than a byte, unless it is ended
	return nil
}

// trafficSecret finds the client's first one in a key log.
func trafficSecret(log string) ([]byte, error) {
	for line := range strings.Lines(log) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			return hex.DecodeString(f[2])
		}
	}
	return nil, fmt.Errorf("no traffic secret in %q", log)
}

// sealer makes records of TLS_AES_128_GCM_SHA256 (RFC 8446 §5.2).
type sealer struct {
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

func newSealer(secret []byte) (*sealer, error) {
	key, err := expandLabel(secret, "key", 16)
	if err != nil {
		return nil, err
	}
	s := &sealer{secret: secret}
	if s.iv, err = expandLabel(secret, "iv", 12); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	s.aead, err = cipher.NewGCM(block)
	return s, err
}

func (s *sealer) seal(kind byte, p []byte) []byte {
	nonce := bytes.Clone(s.iv)
	for i, b := range binary.BigEndian.AppendUint64(nil, s.seq) {
		nonce[4+i] ^= b
	}
	s.seq++
	n := len(p) + 1 + s.aead.Overhead()
	head := []byte{23, 3, 3, byte(n >> 8), byte(n)}
	return s.aead.Seal(head, nonce, append(bytes.Clone(p), kind), head)
}

// next is the one after a KeyUpdate.
func (s *sealer) next() (*sealer, error) {
	secret, err := expandLabel(s.secret, "traffic upd", sha256.Size)
	if err != nil {
		return nil, err
	}
	return newSealer(secret)
}

// expandLabel is RFC 8446 §7.1's.
func expandLabel(secret []byte, label string, length int) ([]byte, error) {
	info := []byte{byte(length >> 8), byte(length), byte(len("tls13 ") + len(label))}
	info = append(info, "tls13 "+label...)
	return hkdf.Expand(sha256.New, secret, string(append(info, 0)), length)
}
