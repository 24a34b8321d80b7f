package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// options are what the command line asks for.
type options struct {
	out       string
	rounds    int
	window    time.Duration
	warmup    time.Duration
	workloads []workload
	servers   []server
}

const synopsis = `usage: scripts/bench.sh [OPTION…]

Compares Sallyport with nginx, HAProxy and Caddy on this machine, in about an hour
and a quarter, and writes report.md with charts and results.json. It exits
with 1 if a sample failed, after it has written the rest.

`

func parseOptions(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(os.Stdout)
	f.Usage = func() {
		fmt.Print(synopsis)
		f.PrintDefaults()
		fmt.Print("\nWorkloads:\n")
		for _, w := range workloads {
			fmt.Printf("  %-17s %s\n", w.Name, w.Title)
		}
	}
	quick := f.Bool("quick", false, "few workloads, two rounds and short windows: three minutes in all")
	only := f.String("only", "", "run these `workloads` only, with commas between them")
	names := f.String("servers", "", "compare these `servers` only, with commas between them")
	baseline := f.String("baseline", "", "another `binary` of Sallyport, to be compared with as well")
	f.IntVar(&o.rounds, "rounds", 0, "`number` of rounds (default 5, and 2 with --quick)")
	f.StringVar(&o.out, "out", "bench-out", "`folder` for the results")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unknown argument %q (--help lists what there is)", f.Arg(0))
	}
	if f.Lookup("rounds").Value.String() != "0" && o.rounds < 1 {
		return o, fmt.Errorf("--rounds: %d is not a number of rounds", o.rounds)
	}
	o.pace(*quick)
	var err error
	if o.workloads, err = pick("--only", *only, workloads, func(w workload) string { return w.Name }); err != nil {
		return o, err
	}
	if *only == "" && *quick {
		o.workloads = slices.DeleteFunc(slices.Clone(workloads), func(w workload) bool { return !w.quick })
	}
	if o.servers, err = pick("--servers", *names, servers, func(s server) string { return strings.ToLower(s.name) }); err != nil {
		return o, err
	}
	if *baseline != "" {
		binary, err := exec.LookPath(*baseline)
		if err != nil {
			return o, fmt.Errorf("--baseline: %w", err)
		}
		// Next to Sallyport, so that what changes on the machine meets both.
		o.servers = slices.Insert(slices.Clone(o.servers), min(1, len(o.servers)), sallyportOf(baselineName, binary))
	}
	return o, nil
}

// pace sets how long things take.
func (o *options) pace(quick bool) {
	rounds := 5
	o.warmup, o.window = time.Second, 4*time.Second
	if quick {
		rounds, o.warmup, o.window = 2, 300*time.Millisecond, 1200*time.Millisecond
	}
	if o.rounds == 0 {
		o.rounds = rounds
	}
}

// pick takes the named ones of all, in the order of all; all, if none is named.
func pick[T any](option, names string, all []T, name func(T) string) ([]T, error) {
	if names == "" {
		return all, nil
	}
	wanted := strings.Split(strings.ToLower(names), ",")
	var picked []T
	var known []string
	for _, v := range all {
		known = append(known, name(v))
		if slices.Contains(wanted, name(v)) {
			picked = append(picked, v)
		}
	}
	for _, w := range wanted {
		if !slices.Contains(known, w) {
			return nil, fmt.Errorf("%s: there is no %q, only %s", option, w, strings.Join(known, ", "))
		}
	}
	return picked, nil
}
