package signer

import (
	"crypto"
	"crypto/sha256"
	"syscall"
	"testing"
	"time"

	"sallyport/hsm/hsmtest"
	"sallyport/hsm/wire"
)

// BenchmarkCrypto11_Sign is a P-256 signature by crypto11 in this very process,
// 32 at once: what BenchmarkKey_Sign in package hsm compares with.
func BenchmarkCrypto11_Sign(b *testing.B) {
	s := hsmtest.New(b)
	for name, value := range s.Environment {
		b.Setenv(name, value)
	}
	settings := wire.Settings{Module: s.Module, Label: "edge", PIN: "file:" + s.PINFile, Sessions: 16}
	open, err := openTokenOf(settings, func(wire.LoginStep) error { return nil })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := open.crypto11.Close(); err != nil {
			b.Error(err)
		}
	})
	inv, found, err := open.inventory()
	if err != nil {
		b.Fatal(err)
	}
	var key crypto.Signer
	for _, k := range inv.Keys {
		if k.Label == "ec" {
			key = found[k.Object()]
		}
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
