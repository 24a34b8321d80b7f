package hsm_test

import (
	"crypto"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
)

// cpuTime is what this process and its signer processes have used.
func cpuTime(b *testing.B, children []int) time.Duration {
	b.Helper()
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		b.Fatal(err)
	}
	total := time.Duration(own.Utime.Nano() + own.Stime.Nano())
	for _, pid := range children {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			b.Fatal(err)
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
		var user, system time.Duration // in ticks of 10 ms (proc(5), fields 14 and 15)
		if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
			b.Fatal(err)
		}
		total += (user + system) * 10 * time.Millisecond
	}
	return total
}

// BenchmarkHandshake_SlowToken makes full TLS handshakes, client and server in
// this process, with a token that takes 5 ms for each signature: 64 at once, for
// growing numbers of sessions.
func BenchmarkHandshake_SlowToken(b *testing.B) {
	for _, sessions := range []int{1, 2, 4, 8, 16, 32} {
		b.Run(fmt.Sprintf("%d-sessions", sessions), func(b *testing.B) {
			s := hsmtest.New(b)
			f := hsmtest.NewFaulty(b, s)
			f.Latency("C_Sign", 5*time.Millisecond, 0)
			c := configOf(s)
			c.Settings.Module, c.Environment, c.Settings.Sessions = f.Module, f.Environment, sessions
			token := benchmarkToken(b, c)
			r := hsm.NewKeyring([]*hsm.Token{token}, time.Hour, slog.New(slog.DiscardHandler))
			site, problems := r.Add(b.Context(), "www", []hsm.Entry{{Key: uri(b, "pkcs11:object=ec")}}, time.Now())
			if len(problems) > 0 {
				b.Fatal(problems[0])
			}
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := sign(b, site.Certificate); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "handshakes/s")
		})
	}
}

// benchmarkToken runs a token until the benchmark ends.
func benchmarkToken(b *testing.B, c hsm.Config) *hsm.Token {
	b.Helper()
	token := hsm.NewToken(c, slog.New(slog.DiscardHandler), hsm.NewMetrics(prometheus.NewRegistry()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		token.Run(b.Context())
	}()
	b.Cleanup(func() { <-ended })
	if err := token.Ready(b.Context()); err != nil {
		b.Fatal(err)
	}
	return token
}

// BenchmarkKey_Sign is a P-256 signature by way of the signer process, 32 at
// once. Its cpu-µs/op, of both processes, compares with that of
// BenchmarkCrypto11_Sign in hsm/signer.
func BenchmarkKey_Sign(b *testing.B) {
	s := hsmtest.New(b)
	c := configOf(s)
	c.Settings.Sessions = 16
	keys, _, err := hsm.FindKeys([]*hsm.Token{benchmarkToken(b, c)}, uri(b, "pkcs11:object=ec"))
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("message"))
	signers := children(b)
	before := cpuTime(b, signers)
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := keys[0].Sign(nil, digest[:], crypto.SHA256); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64((cpuTime(b, signers)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}
