package signer

import (
	"crypto"
	"crypto/sha256"
	"syscall"
	"testing"
	"time"

	"github.com/ThalesIgnite/crypto11"

	"sallyport/hsm/hsmtest"
)

// BenchmarkCrypto11_Sign is a P-256 signature by crypto11 in this very process,
// 32 at once: what BenchmarkKey_Sign in package hsm compares with.
func BenchmarkCrypto11_Sign(b *testing.B) {
	s := hsmtest.New(b)
	for name, value := range s.Environment {
		b.Setenv(name, value)
	}
	c, err := crypto11.Configure(&crypto11.Config{Path: s.Module, TokenLabel: "edge", Pin: s.PIN, MaxSessions: 17})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	})
	key, err := c.FindKeyPair(nil, []byte("ec"))
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("message"))
	cpu := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := cpu()
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := key.Sign(nil, digest[:], crypto.SHA256); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}
