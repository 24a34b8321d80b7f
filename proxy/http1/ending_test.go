package http1

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// halfPipe is one end of a net.Pipe that can close its writing half.
type halfPipe struct{ net.Conn }

func (halfPipe) CloseWrite() error { return nil }

// Clients that send all before they read see what they were answered.
func TestLinger(t *testing.T) {
	for name, tc := range map[string]struct {
		every   time.Duration // that the client sends a piece
		piece   int
		most    int // pieces
		drained bool
		took    time.Duration // at least; it ends within a step and a pause
		bytes   int           // at least, that were taken
	}{
		"600 KB at 100 KB a second": {100 * time.Millisecond, 10_000, 60, false, 6*time.Second + lingerSilence, 600_000},
		"50 MB at once":             {0, 50_000, 1000, false, lingerSilence, 50_000_000},
		"silent":                    {time.Hour, 1, 1, false, lingerSilence, 0},
		"for ever":                  {time.Second, 10, 1 << 30, false, lingerTime, 250},
		"for ever, and a lot":       {0, 1 << 20, 1 << 30, false, 0, lingerBytes},
		"for ever, in a drain":      {100 * time.Millisecond, 10, 1 << 30, true, lingerDrain, 50},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				c := NewServerConn(halfPipe{ours}, Config{}.WithDefaults())
				c.draining = tc.drained
				taken := make(chan int, 1)
				go func() {
					total := 0
					defer func() { taken <- total }()
					for range tc.most {
						time.Sleep(tc.every)
						n, err := theirs.Write(make([]byte, tc.piece))
						if total += n; err != nil {
							return
						}
					}
				}()
				began := time.Now()
				c.linger()
				if took := time.Since(began); took < tc.took || took > tc.took+2*time.Second {
					t.Errorf("it took %v, want %v", took, tc.took)
				}
				ours.Close()
				if n := <-taken; n < tc.bytes {
					t.Errorf("%d bytes were taken, want %d", n, tc.bytes)
				}
			})
		})
	}
}
