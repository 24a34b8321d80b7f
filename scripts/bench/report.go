package main

import (
	"fmt"
	"slices"
	"strings"
)

// report is report.md: what a person reads.
func (r *record) report() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Sallyport beside %s\n\n", others(r.Servers))
	fmt.Fprintf(&b, "Taken %s, %s, windows of %s.\n\n", r.Begun.UTC().Format("2 January 2006, 15:04 UTC"), count(r.Rounds, "round"), r.Window)
	if _, ok := r.overview(); ok {
		fmt.Fprintf(&b, "![What the same work costs, compared with %s](%s)\n\n", reference, overviewFile)
	}
	r.writeMethod(&b)
	for _, group := range groups {
		if panels := r.panels(group); len(panels) > 0 {
			fmt.Fprintf(&b, "## %s\n\n![%[1]s](%s)\n\n", group.title, group.file)
			r.writeTable(&b, group)
		}
	}
	r.writeFailures(&b)
	r.writeMachine(&b)
	return b.String()
}

// others lists the servers but the first in words.
func others(servers []string) string {
	names := slices.DeleteFunc(slices.Clone(servers), func(s string) bool { return s == subject })
	switch len(names) {
	case 0:
		return "nothing else"
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

func (r *record) writeMethod(b *strings.Builder) {
	b.WriteString("## Method\n\n")
	fmt.Fprintf(b, `All servers forward to the same backends, on two CPUs and with as many threads, with the same
keys and certificates, TLS 1.3 by X25519 and TLS_AES_128_GCM_SHA256, tickets, the same
X-Forwarded fields, connections to the backends kept, and no access log; an inspection makes
sure of that before anything is measured. In each round they take every workload in turn, so
that what changes on the machine meets all of them, and ratios are made within rounds. Cost is
the CPU time of all processes of a server over a window in which the load was steady, divided by
the work that the backend or the client counted in it: neither the load's own appetite nor a
busy machine decides. Latency is taken at a fixed rate of requests, from when each was due;
it and what is done in a second are good only on a machine that does nothing else. A sample
during which anything failed is thrown away and listed below. Clients 50 ms away are behind a
relay that holds every byte back for as long in each direction: what takes time there is round
trips and windows. Uploads over it are gathered by nginx before it forwards them, as it does by
default. Of a burst in which some clients are refused no time is taken.

What is not the same: Sallyport and nginx (by OpenSSL's engine) sign with a key in a SoftHSM token.
Debian's HAProxy and Caddy cannot: they sign with the same key from a file, which spares them the
token's work in full handshakes. Sallyport sends Forwarded (RFC 7239) besides.

`)
}

// writeTable has a row for each measure: the servers' medians and spreads, and
// the subject's ratios.
func (r *record) writeTable(b *strings.Builder, g group) {
	against := r.against()
	fmt.Fprintf(b, "| workload | figure | %s |", strings.Join(r.Servers, " | "))
	for _, other := range against {
		fmt.Fprintf(b, " %s / %s |", subject, other)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("--:|", len(r.Servers)+len(against)) + "\n")
	for _, w := range r.Workloads {
		if w.Group != g.title {
			continue
		}
		for n, m := range w.Measures {
			title := w.Title
			if n > 0 {
				title = ""
			}
			fmt.Fprintf(b, "| %s | %s%s |", title, m.Unit, m.hint())
			for _, server := range r.Servers {
				fmt.Fprintf(b, " %s |", r.cell(w, m, server))
			}
			for _, other := range against {
				fmt.Fprintf(b, " %s |", r.ratioCell(w, m, other))
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("\n")
}

// against are the servers that the subject's ratios are shown to.
func (r *record) against() []string {
	var names []string
	for _, name := range []string{baselineName, nginx.name, haproxy.name} {
		if slices.Contains(r.Servers, name) && slices.Contains(r.Servers, subject) {
			names = append(names, name)
		}
	}
	return names
}

func (r *record) cell(w workload, m measure, server string) string {
	s, ok := r.of(w.Name, server, m.Name)
	switch {
	case !ok:
		return r.absence(w, server)
	case s.Spread.Rounds == 1:
		return figure(s.Spread.Median)
	}
	return fmt.Sprintf("**%s** (%s–%s)", figure(s.Spread.Median), figure(s.Spread.Min), figure(s.Spread.Max))
}

func (r *record) ratioCell(w workload, m measure, other string) string {
	s, _ := r.of(w.Name, subject, m.Name)
	ratio, ok := s.Ratios[other]
	switch {
	case !ok:
		return "–"
	case ratio.Rounds == 1:
		return times(ratio.Median)
	}
	return fmt.Sprintf("**%s** (%s–%s)", times(ratio.Median), times(ratio.Min), times(ratio.Max))
}

func (r *record) writeFailures(b *strings.Builder) {
	b.WriteString("## Samples that were thrown away\n\n")
	if r.failures() == 0 {
		b.WriteString("None.\n")
	}
	for _, s := range r.Samples {
		if s.Error != "" {
			reason := strings.Join(strings.Fields(s.Error), " ")
			fmt.Fprintf(b, "- %s, %s, round %d: %s\n", s.Workload, s.Server, s.Round, reason)
		}
	}
	b.WriteString("\n")
}

func (r *record) writeMachine(b *strings.Builder) {
	m := r.Machine
	fmt.Fprintf(b, "## Machine\n\n- %s, %s\n- %s, Linux %s\n- load average before the run: %s\n", m.CPU, count(m.Cores, "core"), m.System, m.Kernel, m.Load)
	for _, v := range r.Versions {
		fmt.Fprintf(b, "- %s: %s\n", v.Name, v.Text)
	}
	b.WriteString("\nEvery sample is in results.json beside this file. To take them again: `scripts/bench.sh`.\n")
}
