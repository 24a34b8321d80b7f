package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// bench is a run of the comparison.
type bench struct {
	options  options
	pacing   pacing
	dir      string // holds everything that is gone after the run
	token    *token
	slow     *token
	backends *backends
	record   record

	instances map[place]*instance
	started   int
}

// place is where an instance is kept between its turns.
type place struct {
	server string
	slow   bool
}

func newBench(dir string, o options) (*bench, error) {
	b := &bench{
		options: o, dir: dir, pacing: pacing{o.warmup, o.window}, instances: make(map[place]*instance),
		record: record{
			Begun: time.Now(), Machine: thisMachine(), Versions: versionsOf(o.servers),
			Window: o.window.String(), Workloads: o.workloads,
		},
	}
	for _, s := range o.servers {
		b.record.Servers = append(b.record.Servers, s.name)
	}
	home := filepath.Join(dir, "token")
	if err := os.Mkdir(home, 0o700); err != nil {
		return nil, err
	}
	var err error
	if b.token, err = newToken(home); err != nil {
		return nil, err
	}
	if b.slow, err = b.token.slowed(home); err != nil {
		return nil, err
	}
	if err := b.writeUploads(); err != nil {
		return nil, err
	}
	if b.backends, err = startBackends(dir); err != nil {
		return nil, err
	}
	return b, nil
}

// stop ends everything that was started.
func (b *bench) stop() error {
	var err error
	for _, i := range b.instances {
		err = errors.Join(err, i.stop())
	}
	return errors.Join(err, b.backends.stop())
}

// at is the instance for a workload, started and inspected if it does not run,
// or no longer.
func (b *bench) at(ctx context.Context, s server, w workload) (*instance, error) {
	p := place{s.name, w.slow}
	if i, ok := b.instances[p]; ok {
		if !w.fresh && !i.hasEnded() {
			return i, nil
		}
		delete(b.instances, p)
		if err := i.stop(); err != nil {
			return nil, err
		}
	}
	t := b.token
	if w.slow {
		t = b.slow
	}
	i, err := b.startInstance(s, t)
	if err != nil {
		return nil, err
	}
	b.instances[p] = i
	if err := inspect(ctx, i); err != nil {
		return nil, i.complaint(err)
	}
	return i, nil
}

// rounds has every server take every workload in turn, again and again. What
// there is after each round is written, so that a run may be broken off.
func (b *bench) rounds(ctx context.Context) error {
	for round := 1; round <= b.options.rounds; round++ {
		for _, w := range b.options.workloads {
			for _, s := range b.options.servers {
				if w.slow && !s.usesToken {
					continue
				}
				if err := b.turn(ctx, round, w, s); err != nil {
					return err
				}
			}
		}
		b.record.Rounds = round
		if err := b.record.write(b.options.out); err != nil {
			return err
		}
	}
	return nil
}

// turn takes one sample. A server that does not start, or does not do what the
// others do, ends the run; a sample that fails is kept with its reason.
func (b *bench) turn(ctx context.Context, round int, w workload, s server) error {
	i, err := b.at(ctx, s, w)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	v, err := w.run(ctx, b, i)
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted in round %d; the report has those before it", round)
	}
	taken := sample{Round: round, Workload: w.Name, Server: s.name, Values: v}
	if err != nil {
		taken.Values, taken.Error = nil, err.Error()
	}
	b.record.Samples = append(b.record.Samples, taken)
	fmt.Fprintf(os.Stderr, "round %d of %d  %-16s %-10s %s\n", round, b.options.rounds, w.Name, s.name, taken.line(w))
	return nil
}

// line tells a sample in words.
func (s sample) line(w workload) string {
	if s.Error != "" {
		return "failed: " + s.Error
	}
	text := ""
	for _, m := range w.Measures {
		v, ok := s.Values[m.Name]
		if !ok {
			continue
		}
		if text != "" {
			text += "; "
		}
		text += figure(v) + " " + m.Unit
	}
	return text
}
