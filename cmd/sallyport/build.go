package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"sallyport/configs"
	"sallyport/hsm"
	"sallyport/hsm/wire"
	"sallyport/pool"
	"sallyport/proxy"
	"sallyport/proxy/admin"
)

// service is what a configuration comes to: open sockets, tokens that are up,
// proved certificates. Whoever builds one must close it.
type service struct {
	config   *configs.Config
	log      *slog.Logger
	registry *prometheus.Registry

	listeners []net.Listener // one for each of config.Listeners
	redirects []net.Listener // one for each of config.Redirects
	admin     net.Listener   // nil: off
	socket    *admin.Socket  // nil: off
	tokens    []*hsm.Token   // one for each of config.HSM.Tokens
	keyring   *hsm.Keyring
	sites     []*hsm.Certificates
	pools     map[string]*proxy.Pool
	balancers map[string]*pool.Pool
	pages     [][]proxy.ErrorPage // of each of config.Sites
	paths     [][]string          // likewise, of each route as requests' are read

	connections func(wanted int) int // what a listener's limit comes to

	problems []configs.Problem
	warnings []configs.Problem

	started    time.Time
	stopTokens context.CancelFunc
	running    sync.WaitGroup
}

// build makes everything that config names, and returns all the problems that
// there are at once as a *configs.Problems. When it fails nothing is left
// open. Without listen no socket is opened. Tokens that are not there yet are
// waited for, at most for patience.
func build(ctx context.Context, config *configs.Config, file string, log *slog.Logger, listen bool, patience time.Duration) (*service, error) {
	s := &service{config: config, log: log, registry: newRegistry(), started: time.Now(), warnings: config.Warnings}
	if listen {
		s.openSockets()
	}
	s.startTokens(ctx)
	s.awaitTokens(ctx, patience)
	s.proveSites(ctx)
	s.warnOfTokens()
	s.readRoutes()
	s.buildPools()
	s.readErrorPages()
	s.fitConnections()
	if ctx.Err() != nil {
		s.close()
		return nil, errInterrupted
	}
	if len(s.problems) > 0 {
		s.close()
		return nil, &configs.Problems{File: file, List: s.problems}
	}
	return s, nil
}

// errInterrupted is the error of what a signal has stopped.
var errInterrupted = errors.New("interrupted")

// close ends what build started. It may be called once more than needed.
func (s *service) close() {
	for _, l := range slices.Concat(s.listeners, s.redirects) {
		if l != nil {
			l.Close()
		}
	}
	if s.admin != nil {
		s.admin.Close()
	}
	if s.socket != nil {
		s.socket.Close()
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

// startTokens starts all tokens side by side.
func (s *service) startTokens(ctx context.Context) {
	var running context.Context
	// Not a child of ctx: requests under way may need signatures after a stop.
	running, s.stopTokens = context.WithCancel(context.WithoutCancel(ctx))
	metrics := hsm.NewMetrics(s.registry)
	for _, t := range s.config.HSM.Tokens {
		c := tokenConfig(t, s.config.Dir)
		c.Keys = siteKeys(s.config)
		token := hsm.NewToken(c, s.log, metrics)
		s.tokens = append(s.tokens, token)
		s.running.Go(func() { token.Run(running) })
	}
}

// siteKeys are the keys that the configuration names: no other ever signs.
func siteKeys(c *configs.Config) []hsm.URI {
	keys := []hsm.URI{}
	for _, site := range c.Sites {
		for _, certificate := range site.Certificates {
			if uri, err := hsm.ParseURI(certificate.Key); err == nil { // proveSites says what is wrong with others
				keys = append(keys, uri)
			}
		}
	}
	return keys
}

// tokenProblem notes a problem of a token by the setting that is to blame.
func (s *service) tokenProblem(i int, err error) {
	path := fmt.Sprintf("hsm.tokens[%d]", i)
	var e *hsm.Error
	if errors.As(err, &e) && e.Setting != "" {
		path += "." + e.Setting
	}
	s.problem(path, err)
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
		PIN:         sealedPIN(t.PIN),
		Environment: t.Environment,
		Dir:         dir,
		SignTimeout: time.Duration(t.SignTimeout),
		Processes:   t.Processes,
		Queue:       t.Queue,
	}
}

// proveSites finds and proves the keys and certificates of every site.
func (s *service) proveSites(ctx context.Context) {
	s.keyring = hsm.NewKeyring(s.tokens, time.Duration(s.config.HSM.Rescan), s.log)
	allUp := true
	for i, t := range s.tokens {
		if state, reason := t.State(); !state.Live() {
			allUp = false
			if len(s.problems) == 0 { // it was up, a moment ago
				s.tokenProblem(i, fmt.Errorf("it went %s: %w", state, reason))
			}
		}
	}
	for i, site := range s.config.Sites {
		path := func(j int) string { return fmt.Sprintf("sites[%d].certificates[%d]", i, j) }
		var entries []hsm.Entry
		for j, c := range site.Certificates {
			uri, err := hsm.ParseURI(c.Key)
			if err != nil {
				s.problem(path(j)+".key", err)
				continue
			}
			entries = append(entries, hsm.Entry{Key: uri, Chain: c.Chain})
		}
		s.sites = append(s.sites, nil)
		if !allUp || len(entries) < len(site.Certificates) {
			continue // a key may be on the token that is not up, whose problem is known
		}
		now := time.Now()
		certificates, problems := s.keyring.Add(ctx, site.Name, entries, now)
		for _, p := range problems {
			s.problem(strings.TrimSuffix(path(p.Entry)+"."+p.Part, "."), p.Err)
		}
		if certificates == nil {
			continue
		}
		s.sites[i] = certificates
		s.registry.MustRegister(certificates)
		for j, pairs := range certificates.Pairs() {
			s.warnOfHosts(path(j), pairs[0].Leaf(), site.Hosts)
		}
		s.warnOfVersions(fmt.Sprintf("sites[%d].certificates", i), certificates)
	}
}

// warnOfTokens warns of tokens that sign for nobody.
func (s *service) warnOfTokens() {
	used := make(map[string]bool)
	for _, certificates := range s.sites {
		if certificates == nil {
			return // what it needs is not known
		}
		for _, pairs := range certificates.Pairs() {
			for _, p := range pairs {
				for _, name := range p.Key.Tokens() {
					used[name] = true
				}
			}
		}
	}
	for i, t := range s.config.HSM.Tokens {
		if !used[t.Name] {
			s.warn(fmt.Sprintf("hsm.tokens[%d]", i), "no site has a key on it")
		}
	}
}

// warnOfVersions warns of a site none of whose keys signs in TLS 1.3.
func (s *service) warnOfVersions(path string, c *hsm.Certificates) {
	for _, pairs := range c.Pairs() {
		if pairs[0].TLS13() {
			return
		}
	}
	for _, l := range s.config.Listeners {
		if l.Policy == proxy.Modern.String() {
			s.warn(path, "no key signs in TLS 1.3 (its token makes no PSS signatures), and the listener %s takes nothing else: it refuses all clients of the site", l.Address)
			return
		}
	}
	s.warn(path, "no key signs in TLS 1.3 (its token makes no PSS signatures): the site is served in TLS 1.2 alone")
}

func (s *service) warnOfHosts(path string, leaf *x509.Certificate, hosts []string) {
	for _, host := range hosts {
		// A wildcard is covered if a name under it is.
		if err := leaf.VerifyHostname(strings.Replace(host, "*", "any", 1)); err != nil {
			s.warn(path, "the certificate (%s) is not for %s, which clients will refuse", leaf.Subject, host)
		}
	}
}

// buildPools makes the pools. Routes name them, which configs has checked.
func (s *service) buildPools() {
	s.pools = make(map[string]*proxy.Pool)
	s.balancers = make(map[string]*pool.Pool)
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
		s.balancers[p.Name] = balancer
		s.pools[p.Name] = &proxy.Pool{
			Name: p.Name, Balancer: balancer, Protocol: backendProtocol(p.Protocol),
			ConnectTimeout:  time.Duration(p.Timeouts.Connect),
			ResponseTimeout: time.Duration(p.Timeouts.Response),
			SilenceTimeout:  time.Duration(p.Timeouts.Silence),
			IdleTimeout:     time.Duration(p.Timeouts.Idle),
			MaxIdle:         maxIdle(p.IdleConnections),
			ProxyHeader:     map[string]int{configs.ProxyV1: 1, configs.ProxyV2: 2}[p.ProxyProtocol],
		}
	}
}

// maxIdle is how many idle connections a pool keeps; package proxy takes 0 for its default.
func maxIdle(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// backendProtocol is a pool's protocol; configs knows no other names.
func backendProtocol(name string) proxy.Protocol {
	if name == configs.ProtocolH2C {
		return proxy.H2C
	}
	return proxy.HTTP1
}

// proxyConfig is the service as the data path sees it.
func (s *service) proxyConfig(access *slog.Logger) proxy.Config {
	c := proxy.Config{
		ShutdownTimeout: time.Duration(s.config.ShutdownTimeout),
		Log:             s.log, AccessLog: access, Metrics: s.registry,
		Memory: int64(s.config.Limits.Memory),
	}
	for i, l := range s.config.Listeners {
		policy, _ := proxy.ParsePolicy(l.Policy) // configs knows the same names
		c.Listeners = append(c.Listeners, proxy.Listener{
			Name: l.Address, Listener: s.listeners[i],
			Policy: policy, ProxyProtocol: l.ProxyProtocol, TrustedProxies: l.TrustedProxies,
			HideRequestID: l.RequestID == configs.Off, Underscores: l.AllowUnderscores,
			Timeouts: proxy.Timeouts{
				Handshake: time.Duration(l.Timeouts.Handshake), Header: time.Duration(l.Timeouts.Header),
				Read: time.Duration(l.Timeouts.Read), Write: time.Duration(l.Timeouts.Write),
				Idle: time.Duration(l.Timeouts.Idle), Tunnel: time.Duration(l.Timeouts.Tunnel),
			},
			MaxHeaderBytes: int(l.Limits.Header), MaxFields: l.Limits.Fields, MaxConnections: s.connections(l.Limits.Connections),
		})
	}
	for i, r := range s.config.Redirects {
		c.Listeners = append(c.Listeners, proxy.Listener{
			Name: r.Address, Listener: s.redirects[i],
			Redirect: &proxy.Redirect{Port: r.To, Status: r.Status}, ProxyProtocol: r.ProxyProtocol,
			Timeouts: proxy.Timeouts{
				Handshake: time.Duration(r.Timeouts.Header), Header: time.Duration(r.Timeouts.Header),
				Write: time.Duration(r.Timeouts.Write), Idle: time.Duration(r.Timeouts.Idle),
			},
			MaxHeaderBytes: int(r.Limits.Header), MaxFields: r.Limits.Fields, MaxConnections: s.connections(r.Limits.Connections),
		})
	}
	for i, site := range s.config.Sites {
		var routes []proxy.Route
		for j, r := range site.Routes {
			routes = append(routes, proxy.Route{
				Path: s.paths[i][j], Pool: s.pools[r.Pool], Methods: r.Methods, MaxBody: int64(r.MaxBody),
				RequestFields: editsOf(r.RequestFields), ResponseFields: editsOf(r.ResponseFields),
			})
		}
		c.Sites = append(c.Sites, proxy.Site{
			Name: site.Name, Hosts: site.Hosts, Certificates: s.sites[i], Routes: routes,
			HSTS: hstsOf(site.HSTS), ErrorPages: s.pages[i],
		})
	}
	return c
}

func editsOf(e configs.FieldEdits) proxy.FieldEdits {
	fields := func(list []configs.Field) (all []proxy.Field) {
		for _, f := range list {
			all = append(all, proxy.Field(f))
		}
		return all
	}
	return proxy.FieldEdits{Set: fields(e.Set), Add: fields(e.Add), Remove: e.Remove}
}

func hstsOf(h configs.HSTS) *proxy.HSTS {
	if h.MaxAge == nil {
		return nil
	}
	return &proxy.HSTS{MaxAge: h.MaxAge.Duration(), IncludeSubdomains: h.IncludeSubdomains, Preload: h.Preload}
}
