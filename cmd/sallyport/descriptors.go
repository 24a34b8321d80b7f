package main

import (
	"fmt"

	"golang.org/x/sys/unix"

	"sallyport/configs"
)

// What open files are for, beside clients.
const (
	ownFiles     = 64 // listeners, logs, the admin listener's clients in part
	signerFiles  = 8  // each signer process, while one is replaced by another
	backendShare = 4  // one in so many of the rest is kept for backends
)

// fitConnections warns where listeners may have more connections than there can be open
// files, and lowers their limits to what there can. Otherwise the clients would take
// what connections to backends, and new signer processes, need.
//
// Go raises the soft limit to the hard one when it starts, and gives its children
// the old one, which libraries may rely on that use select(2).
func (s *service) fitConnections() {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		limit.Cur = unix.RLIM_INFINITY
	}
	s.connections = fit(s.config, limit.Cur)
	lowered := func(path string, wanted int) {
		if got := s.connections(wanted); got < wanted {
			s.warnings = append(s.warnings, configs.Problem{
				Path:    path + ".limits.connections",
				Message: fmt.Sprintf("%d of %d connections can be had: there can be %d open files", got, wanted, limit.Cur),
				Hint:    "raise the limit of open files (LimitNOFILE= in the unit, ulimit -n in a shell), or lower this one",
			})
		}
	}
	for i, l := range s.config.Listeners {
		lowered(fmt.Sprintf("listeners[%d]", i), l.Limits.Connections)
	}
	for i, r := range s.config.Redirects {
		lowered(fmt.Sprintf("redirects[%d]", i), r.Limits.Connections)
	}
}

// fit returns what a listener's limit of connections comes to where there can be so many
// open files.
func fit(c *configs.Config, files uint64) func(wanted int) int {
	var wanted, own uint64
	for _, l := range c.Listeners {
		wanted += uint64(l.Limits.Connections)
	}
	for _, r := range c.Redirects {
		wanted += uint64(r.Limits.Connections)
	}
	own = ownFiles
	for _, t := range c.HSM.Tokens {
		own += signerFiles * uint64(t.Processes)
	}
	room := files - min(files, own)
	room -= room / backendShare
	if wanted <= room {
		return func(wanted int) int { return wanted }
	}
	return func(one int) int { return max(1, int(uint64(one)*room/wanted)) }
}
