package hsm

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"sallyport/hsm/wire"
)

// Load is how a key signed with a number of signatures under way all the time.
type Load struct {
	AtOnce     int
	Signatures int
	Rate       float64       // signatures per second
	P50, P99   time.Duration // within which half, and 99 %, of them were made
	Slow       int           // that took SlowSignature or more
	Slowest    time.Duration
	Err        error // the first failure, which ended it; nil: none
}

// SlowSignature is what a person who opens a page notices of a single signature.
const SlowSignature = time.Second

// Load has n signatures of a scheme under way at once until d has passed, and
// waits for the last of them. Before it counts, n are made that do not, since
// sessions open when they are first used.
func (k *Key) Load(ctx context.Context, id tls.SignatureScheme, n int, d time.Duration) Load {
	i := slices.IndexFunc(k.schemes(), func(s scheme) bool { return s.id == id })
	if i < 0 {
		return Load{AtOnce: n, Err: fmt.Errorf("hsm: %s is not for a key of type %s", id, k.Type())}
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	workers := make([]loadWorker, n)
	// Once with the time over already is the one signature before it counts.
	for _, until := range []time.Duration{0, d} {
		var running sync.WaitGroup
		end := time.Now().Add(until)
		for w := range workers {
			workers[w] = loadWorker{key: k, scheme: k.schemes()[i], index: w}
			running.Go(func() {
				if err := workers[w].run(ctx, end); err != nil {
					stop(err)
				}
			})
		}
		running.Wait()
	}
	return sumLoad(workers, context.Cause(ctx))
}

// loadWorker makes one signature after the other.
type loadWorker struct {
	key    *Key
	scheme scheme
	index  int

	took  []time.Duration
	whole time.Duration
	kept  []keptSignature
}

// keptSignature is verified when the time is over: meanwhile that would only
// make this process slower. What a library mixes up under load shows early, so
// the first ones do.
type keptSignature struct{ digest, signature []byte }

const keptSignatures = 16

// run makes signatures until the end, and at least one.
func (w *loadWorker) run(ctx context.Context, end time.Time) error {
	began := time.Now()
	for {
		h := w.scheme.hash.New()
		h.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(w.index)), uint64(len(w.took))))
		digest := h.Sum(nil)
		sent := time.Now()
		signature, err := w.key.SignContext(ctx, digest, w.scheme.options())
		if err != nil {
			return err
		}
		now := time.Now()
		w.took = append(w.took, now.Sub(sent))
		w.whole = now.Sub(began)
		if len(w.kept) < keptSignatures {
			w.kept = append(w.kept, keptSignature{digest, signature})
		}
		if !now.Before(end) {
			return nil
		}
	}
}

// options are how the scheme is asked of a crypto.Signer.
func (s scheme) options() crypto.SignerOpts {
	if s.kind == wire.PSS {
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.hash}
	}
	return s.hash
}

// sumLoad puts together what the workers did. Each has a time of its own, so
// that waiting for the last one does not make the others look slower.
func sumLoad(workers []loadWorker, err error) Load {
	l := Load{AtOnce: len(workers), Err: err}
	var took []time.Duration
	for _, w := range workers {
		took = append(took, w.took...)
		if w.whole > 0 {
			l.Rate += float64(len(w.took)) / w.whole.Seconds()
		}
		for _, s := range w.kept {
			if l.Err == nil && !verify(w.key.public, s.digest, s.signature, w.scheme) {
				l.Err = problem(ErrUnfit, "the library mixes up what is asked of it at once; ask its vendor whether it may be used by several threads",
					"with %d signatures at once, one does not verify", len(workers))
			}
		}
	}
	l.Signatures = len(took)
	if slices.Sort(took); len(took) > 0 {
		l.P50, l.P99, l.Slowest = took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
		first, _ := slices.BinarySearch(took, SlowSignature)
		l.Slow = len(took) - first
	}
	return l
}
