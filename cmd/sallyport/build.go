package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"sallyport/configs"
	"sallyport/hsm"
	"sallyport/hsm/wire"
	"sallyport/pool"
	"sallyport/proxy"
)

// service is what a configuration comes to: open sockets, tokens that are up,
// proved certificates. Whoever builds one must close it.
type service struct {
	config   *configs.Config
	log      *slog.Logger
	registry *prometheus.Registry

	listeners []net.Listener // one for each of config.Listeners
	admin     net.Listener   // nil: off
	tokens    []*hsm.Token   // one for each of config.HSM.Tokens
	sites     []*hsm.Certificates
	pools     map[string]*proxy.Pool

	problems []configs.Problem
	warnings []configs.Problem

	stopTokens context.CancelFunc
	running    sync.WaitGroup
}

// build makes everything that config names, and returns all the problems that
// there are at once as a *configs.Problems. When it fails nothing is left
// open. Without listen no socket is opened.
func build(ctx context.Context, config *configs.Config, file string, log *slog.Logger, listen bool) (*service, error) {
	s := &service{config: config, log: log, registry: newRegistry()}
	if listen {
		s.openSockets()
	}
	s.startTokens(ctx)
	s.proveSites(ctx)
	s.buildPools()
	if err := ctx.Err(); err != nil {
		s.close()
		return nil, errors.New("interrupted")
	}
	if len(s.problems) > 0 {
		s.close()
		return nil, &configs.Problems{File: file, List: s.problems}
	}
	return s, nil
}

// close ends what build started. It may be called once more than needed.
func (s *service) close() {
	for _, l := range s.listeners {
		if l != nil {
			l.Close()
		}
	}
	if s.admin != nil {
		s.admin.Close()
	}
	s.stopTokens()
	s.running.Wait()
}

func (s *service) problem(path string, err error) {
	s.problems = append(s.problems, configs.Problem{Path: path, Message: err.Error(), Hint: hintOf(err)})
}

func (s *service) warn(path, format string, args ...any) {
	s.warnings = append(s.warnings, configs.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "sallyport_build_info",
		Help:        "Always 1; the labels tell the version and the FIPS 140-3 mode.",
		ConstLabels: prometheus.Labels{"version": versionName(), "fips": fipsMode()},
	})
	build.Set(1)
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// openSockets opens every address that the configuration names.
func (s *service) openSockets() {
	passed := passedSockets{}
	for i, l := range s.config.Listeners {
		socket, err := passed.open(l.Address)
		if err != nil {
			s.problem(fmt.Sprintf("listeners[%d].address", i), err)
		}
		s.listeners = append(s.listeners, socket)
	}
	if s.config.Admin.Enabled() {
		var err error
		if s.admin, err = passed.open(s.config.Admin.Address); err != nil {
			s.problem("admin.address", err)
		}
	}
}

// passedSockets are those that systemd passed, by name; they are asked for once.
type passedSockets struct {
	asked  bool
	byName map[string][]net.Listener
}

func (p *passedSockets) open(address string) (net.Listener, error) {
	name, ok := strings.CutPrefix(address, "systemd:")
	if !ok {
		l, err := net.Listen("tcp", address)
		if err != nil {
			// The typed nil of a failed *net.TCPListener stays in here.
			return nil, listenError{err}
		}
		return l, nil
	}
	if !p.asked {
		p.asked = true
		var err error
		if p.byName, err = activation.ListenersWithNames(); err != nil {
			return nil, fmt.Errorf("sockets passed by systemd: %w", err)
		}
	}
	found := p.byName[name]
	if len(found) != 1 || found[0] == nil {
		return nil, fmt.Errorf("systemd passed %d TCP sockets named %q, one is needed (FileDescriptorName= in the socket unit)", len(found), name)
	}
	return found[0], nil
}

// listenError says what a failed listen needs.
type listenError struct{ error }

func (e listenError) Unwrap() error { return e.error }

func (e listenError) Hint() string {
	switch text := e.Error(); {
	case strings.Contains(text, "address already in use"):
		return "another process listens there; `ss -ltnp` shows which"
	case strings.Contains(text, "permission denied"):
		return "ports below 1024 need CAP_NET_BIND_SERVICE, as the systemd unit gives it"
	case strings.Contains(text, "cannot assign"):
		return "this machine does not have that address"
	}
	return ""
}

// startTokens brings up all tokens side by side.
func (s *service) startTokens(ctx context.Context) {
	var running context.Context
	// Not a child of ctx: requests under way may need signatures after a stop.
	running, s.stopTokens = context.WithCancel(context.WithoutCancel(ctx))
	metrics := hsm.NewMetrics(s.registry)
	for _, t := range s.config.HSM.Tokens {
		token := hsm.NewToken(tokenConfig(t, s.config.Dir), s.log, metrics)
		s.tokens = append(s.tokens, token)
		s.running.Go(func() {
			if err := token.Run(running); err != nil {
				s.log.Error("token ended", "token", token.Name(), "error", err)
			}
		})
	}
	for i, token := range s.tokens {
		if err := token.Ready(ctx); err != nil {
			path := fmt.Sprintf("hsm.tokens[%d]", i)
			var e *hsm.Error
			if errors.As(err, &e) && e.Setting != "" {
				path += "." + e.Setting
			}
			s.problem(path, err)
		}
	}
}

func tokenConfig(t configs.Token, dir string) hsm.Config {
	return hsm.Config{
		Name: t.Name,
		Settings: wire.Settings{
			Module: t.Module,
			Label:  t.Token, Serial: t.Serial, Slot: t.Slot,
			PIN:      t.PIN.String(),
			Sessions: t.Sessions,
		},
		Environment: t.Environment,
		Dir:         dir,
		SignTimeout: time.Duration(t.SignTimeout),
	}
}

// proveSites finds and proves the keys and certificates of every site.
func (s *service) proveSites(ctx context.Context) {
	for i, site := range s.config.Sites {
		var pairs []*hsm.Pair
		for j, c := range site.Certificates {
			path := fmt.Sprintf("sites[%d].certificates[%d]", i, j)
			if pair := s.prove(ctx, path, c, site.Hosts); pair != nil {
				pairs = append(pairs, pair)
			}
		}
		if len(pairs) < len(site.Certificates) {
			s.sites = append(s.sites, nil) // the problems have been reported
			continue
		}
		certificates, err := hsm.NewCertificates(pairs)
		if err != nil {
			s.problem(fmt.Sprintf("sites[%d].certificates", i), err)
		}
		s.sites = append(s.sites, certificates)
	}
}

// prove returns nil when the pair cannot be served; the problem is then noted.
func (s *service) prove(ctx context.Context, path string, c configs.Certificate, hosts []string) *hsm.Pair {
	uri, err := hsm.ParseURI(c.Key)
	if err != nil {
		s.problem(path+".key", err)
		return nil
	}
	for _, t := range s.tokens {
		if state, _ := t.State(); state != hsm.Up {
			return nil // the key may be there; the token's own problem is known
		}
	}
	key, err := hsm.FindKey(s.tokens, uri)
	if err != nil {
		s.problem(path+".key", err)
		return nil
	}
	now := time.Now()
	var chain hsm.Chain
	if c.Chain != "" {
		chain, err = hsm.ReadChain(c.Chain)
	} else {
		chain, err = key.ChainFromToken(now)
	}
	if err != nil {
		s.problem(path+".chain", err)
		return nil
	}
	pair, err := hsm.Prove(ctx, key, chain, now)
	if err != nil {
		s.problem(path, err)
		return nil
	}
	s.warnOfCertificate(path, pair.Leaf(), hosts, now)
	return pair
}

// expiresSoon is when a certificate that still is valid is worth a warning.
const expiresSoon = 14 * 24 * time.Hour

func (s *service) warnOfCertificate(path string, leaf *x509.Certificate, hosts []string, now time.Time) {
	for _, host := range hosts {
		// A wildcard is covered if a name under it is.
		if err := leaf.VerifyHostname(strings.Replace(host, "*", "any", 1)); err != nil {
			s.warn(path, "the certificate (%s) is not for %s, which clients will refuse", leaf.Subject, host)
		}
	}
	if left := leaf.NotAfter.Sub(now); left < expiresSoon {
		s.warn(path, "the certificate (%s) expires in %d days", leaf.Subject, int(left.Hours()/24))
	}
}

// buildPools makes the pools. Routes name them, which configs has checked.
func (s *service) buildPools() {
	s.pools = make(map[string]*proxy.Pool)
	for i, p := range s.config.Pools {
		var addresses []string
		for _, b := range p.Backends {
			addresses = append(addresses, b.Address)
		}
		balancer, err := pool.New(p.Name, addresses, pool.Options{Log: s.log, Metrics: s.registry})
		if err != nil {
			s.problem(fmt.Sprintf("pools[%d]", i), err)
			continue
		}
		s.pools[p.Name] = &proxy.Pool{
			Name: p.Name, Balancer: balancer,
			ConnectTimeout:  time.Duration(p.Timeouts.Connect),
			ResponseTimeout: time.Duration(p.Timeouts.Response),
			IdleTimeout:     time.Duration(p.Timeouts.Idle),
		}
	}
}

// proxyConfig is the service as the data path sees it.
func (s *service) proxyConfig(access *slog.Logger) proxy.Config {
	c := proxy.Config{
		ShutdownTimeout: time.Duration(s.config.ShutdownTimeout),
		Log:             s.log, AccessLog: access, Metrics: s.registry,
	}
	for i, l := range s.config.Listeners {
		policy, _ := proxy.ParsePolicy(l.Policy) // configs knows the same names
		c.Listeners = append(c.Listeners, proxy.Listener{
			Name: l.Address, Listener: s.listeners[i],
			Policy: policy, TrustedProxies: l.TrustedProxies,
			Timeouts: proxy.Timeouts{
				Handshake: time.Duration(l.Timeouts.Handshake), Header: time.Duration(l.Timeouts.Header),
				Read: time.Duration(l.Timeouts.Read), Write: time.Duration(l.Timeouts.Write),
				Idle: time.Duration(l.Timeouts.Idle), Tunnel: time.Duration(l.Timeouts.Tunnel),
			},
			MaxHeaderBytes: int(l.Limits.Header), MaxConnections: l.Limits.Connections,
		})
	}
	for i, site := range s.config.Sites {
		var routes []proxy.Route
		for _, r := range site.Routes {
			routes = append(routes, proxy.Route{Path: r.Path, Pool: s.pools[r.Pool]})
		}
		c.Sites = append(c.Sites, proxy.Site{
			Name: site.Name, Hosts: site.Hosts, Certificates: s.sites[i], Routes: routes,
		})
	}
	return c
}
