package configs

import "net/netip"

// Every key of the file is a field below: the tag `mapstructure` names the
// key, and `default` its value where the file leaves it out. There is no other
// place for either. reference.yaml and README.md are tested against them.

// Config is a whole configuration, as one file and the environment give it.
type Config struct {
	HSM       HSM        `mapstructure:"hsm"`
	Listeners []Listener `mapstructure:"listeners"`
	Redirects []Redirect `mapstructure:"redirects"`
	Sites     []Site     `mapstructure:"sites"`
	Pools     []Pool     `mapstructure:"pools"`
	Admin     Admin      `mapstructure:"admin"`
	Log       Log        `mapstructure:"log"`
	Limits    Service    `mapstructure:"limits"`

	// ShutdownTimeout is how long requests under way may take to finish once
	// the service has been told to stop.
	ShutdownTimeout Duration `mapstructure:"shutdown_timeout" default:"30s"`

	// Dir is the absolute folder of the file. It is no key: relative paths
	// of the file have been resolved against it.
	Dir string `mapstructure:"-"`

	// Warnings tell of settings that can never take effect. They are no key.
	Warnings []Problem `mapstructure:"-"`
}

// HSM lists the tokens that keys may live on.
type HSM struct {
	Tokens []Token `mapstructure:"tokens"`
	// Rescan is how often the tokens are read anew, for keys and
	// certificates that were made meanwhile.
	Rescan Duration `mapstructure:"rescan" default:"1m"`
	// StartTimeout is how long the start waits for tokens that are not there
	// yet. What is wrong with their settings is not waited for.
	StartTimeout Duration `mapstructure:"start_timeout" default:"1m"`
}

// Token is one PKCS#11 token, served by a signer process of its own. Exactly
// one of Token, Serial and Slot identifies it within its module.
type Token struct {
	// Name is what logs, metrics and errors call the token.
	Name string `mapstructure:"name"`
	// Module is the vendor's PKCS#11 library: an absolute path, or a bare
	// file name that the dynamic linker searches for.
	Module string `mapstructure:"module"`

	Token  string `mapstructure:"token"`  // CKA label of the token; empty: not by label
	Serial string `mapstructure:"serial"` // serial number; empty: not by serial number
	Slot   *uint  `mapstructure:"slot"`   // slot ID, where 0 is a valid one; nil: not by slot

	// PIN is where the signer process finds the user PIN.
	PIN PINSource `mapstructure:"pin"`
	// Sessions bounds the signatures under way at once in each process.
	Sessions int `mapstructure:"sessions" default:"16"`
	// Processes is how many signer processes serve the token.
	Processes int `mapstructure:"processes" default:"1"`
	// Queue bounds the signatures that wait for a session, of RSA and of
	// ECDSA keys each, for the sake of memory.
	Queue int `mapstructure:"queue" default:"10000"`
	// SignTimeout is how long a signature waits for its answer, and before that
	// for a session while none comes free, or twice as long while others get theirs.
	SignTimeout Duration `mapstructure:"sign_timeout" default:"5s"`
	// Environment is added to the signer process's environment, for the
	// vendor's library. Names keep their case; values may be empty.
	Environment map[string]string `mapstructure:"environment"`
}

// Listener is one address that clients connect to.
type Listener struct {
	// Address is `host:port` with an empty host or an IP address, where port
	// 0 takes any free one, or `systemd:NAME` for a socket passed by systemd.
	Address string `mapstructure:"address"`
	// Policy is PolicyIntermediate or PolicyModern.
	Policy string `mapstructure:"policy" default:"intermediate"`
	// ProxyProtocol are the peers whose connections begin with a PROXY
	// header, of either version; none by default, and never everybody.
	ProxyProtocol []netip.Prefix `mapstructure:"proxy_protocol"`
	// TrustedProxies are the peers whose Forwarded, X-Forwarded-* and
	// X-Request-ID fields are believed; none by default, and never everybody.
	TrustedProxies []netip.Prefix `mapstructure:"trusted_proxies"`
	// RequestID is On, or Off to leave X-Request-ID out of answers.
	RequestID string `mapstructure:"request_id" default:"on"`
	// AllowUnderscores lets names of fields with underscores through.
	AllowUnderscores bool             `mapstructure:"allow_underscores" default:"false"`
	Timeouts         ListenerTimeouts `mapstructure:"timeouts"`
	Limits           Limits           `mapstructure:"limits"`
}

// Redirect is one address where plain HTTP is sent on to HTTPS.
type Redirect struct {
	Address string `mapstructure:"address"`              // like that of a Listener
	To      int    `mapstructure:"to" default:"443"`     // the port of HTTPS
	Status  int    `mapstructure:"status" default:"308"` // 301, 302, 307 or 308
	// ProxyProtocol is like that of a Listener.
	ProxyProtocol []netip.Prefix   `mapstructure:"proxy_protocol"`
	Timeouts      RedirectTimeouts `mapstructure:"timeouts"`
	Limits        Limits           `mapstructure:"limits"`
}

// RedirectTimeouts bound what a client that is redirected may keep waiting.
type RedirectTimeouts struct {
	Header Duration `mapstructure:"header" default:"60s"` // a PROXY header, and then a request's head
	Write  Duration `mapstructure:"write" default:"60s"`  // a response of which the client takes nothing
	Idle   Duration `mapstructure:"idle" default:"75s"`   // a connection without a request
}

// What some settings can be.
const (
	On  = "on"
	Off = "off"
)

// The TLS policies, after Mozilla's of the same names.
const (
	PolicyIntermediate = "intermediate" // TLS 1.2 and 1.3
	PolicyModern       = "modern"       // TLS 1.3 only
)

// ListenerTimeouts bound what a client may keep waiting.
type ListenerTimeouts struct {
	Handshake Duration `mapstructure:"handshake" default:"10s"` // the TLS handshake, once the ClientHello is whole
	Header    Duration `mapstructure:"header" default:"60s"`    // a ClientHello, and a request's head
	Read      Duration `mapstructure:"read" default:"60s"`      // a request's body without progress
	Write     Duration `mapstructure:"write" default:"60s"`     // a response of which the client takes nothing
	Idle      Duration `mapstructure:"idle" default:"75s"`      // a connection without a request
	Tunnel    Duration `mapstructure:"tunnel" default:"1h"`     // a WebSocket without traffic
}

// Service bounds what the service as a whole may use.
type Service struct {
	// Memory is for clients: their connections, their streams, and the bodies on their
	// way; 0: a third of what the process may have.
	Memory Size `mapstructure:"memory"`
}

// Limits bound what clients of a listener may use.
type Limits struct {
	Header      Size `mapstructure:"header" default:"64KiB"`      // a request's head
	Fields      int  `mapstructure:"fields" default:"100"`        // of a request's head, in lines
	Connections int  `mapstructure:"connections" default:"10000"` // open at once
}

// Site is a set of names that are served with the same certificates and routes.
type Site struct {
	Name string `mapstructure:"name"`
	// Hosts are lower-case exact names, wildcards (`*.example.org`, for one
	// label), or IP addresses in canonical form for clients that send no
	// name. No host belongs to two sites.
	Hosts        []string      `mapstructure:"hosts"`
	Certificates []Certificate `mapstructure:"certificates"`
	Routes       []Route       `mapstructure:"routes"`
	HSTS         HSTS          `mapstructure:"hsts"`
	ErrorPages   []ErrorPage   `mapstructure:"error_pages"`
}

// ErrorPage is what clients see of an error that is made here.
type ErrorPage struct {
	Status int    `mapstructure:"status"` // 400 to 599
	File   string `mapstructure:"file"`   // its extension is one of ErrorPageTypes
}

// ErrorPageTypes are the content types of error pages by the extension of
// their files.
var ErrorPageTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".json": "application/json",
	".txt":  "text/plain; charset=utf-8",
}

// HSTS is a site's Strict-Transport-Security, in place of its backends'.
type HSTS struct {
	MaxAge            *Days `mapstructure:"max_age"` // nil: there is none; 0 has browsers forget it
	IncludeSubdomains bool  `mapstructure:"include_subdomains" default:"false"`
	Preload           bool  `mapstructure:"preload" default:"false"`
}

// Certificate is a key on a token and the chain that goes with it.
type Certificate struct {
	// Key is an RFC 7512 URI that matches one private key. It holds no PIN; where
	// it says where that is, the token's PIN says so.
	Key string `mapstructure:"key"`
	// Chain is a PEM file, leaf first; empty: the chain is on the token.
	Chain string `mapstructure:"chain"`
}

// Route sends the requests below a path to a pool. The longest path wins.
type Route struct {
	Path string `mapstructure:"path" default:"/"`
	Pool string `mapstructure:"pool"` // the name of one of Config.Pools

	// Methods that are let through, HEAD with GET; none: all.
	Methods []string `mapstructure:"methods"`
	// MaxBody bounds a request's body; 0: any.
	MaxBody Size `mapstructure:"max_body"`

	RequestFields  FieldEdits `mapstructure:"request_fields"`  // of requests to backends
	ResponseFields FieldEdits `mapstructure:"response_fields"` // of backends' answers
}

// FieldEdits change the fields of messages that pass.
type FieldEdits struct {
	Set    []Field  `mapstructure:"set"`    // takes the place of all fields of its name
	Add    []Field  `mapstructure:"add"`    // comes beside them
	Remove []string `mapstructure:"remove"` // names
}

// Field is a field of a message, with a literal value.
type Field struct {
	Name  string `mapstructure:"name"`
	Value string `mapstructure:"value"`
}

// Pool is a set of backends that can stand in for one another.
type Pool struct {
	Name string `mapstructure:"name"`
	// Balance is how a backend is picked: BalanceRoundRobin.
	Balance string `mapstructure:"balance" default:"round-robin"`
	// Protocol is what the backends speak, without TLS: ProtocolHTTP1 or ProtocolH2C.
	Protocol string `mapstructure:"protocol" default:"http1"`
	// ProxyProtocol is the version of the PROXY header that each connection
	// begins with, ProxyV1 or ProxyV2, or Off. It is Off with ProtocolH2C.
	ProxyProtocol string `mapstructure:"proxy_protocol" default:"off"`
	// IdleConnections are kept for each backend at most, with ProtocolHTTP1.
	IdleConnections int          `mapstructure:"idle_connections" default:"100"`
	Backends        []Backend    `mapstructure:"backends"`
	Timeouts        PoolTimeouts `mapstructure:"timeouts"`
}

// The versions of a PROXY header.
const (
	ProxyV1 = "v1"
	ProxyV2 = "v2"
)

// BalanceRoundRobin picks the backends in turn.
const BalanceRoundRobin = "round-robin"

// The protocols of backends. H2C is HTTP/2 from the first byte on, as gRPC has it.
const (
	ProtocolHTTP1 = "http1"
	ProtocolH2C   = "h2c"
)

// PoolTimeouts bound what a backend may keep waiting.
type PoolTimeouts struct {
	Connect  Duration `mapstructure:"connect" default:"3s"`   // a new connection
	Response Duration `mapstructure:"response" default:"60s"` // the head of an answer
	Silence  Duration `mapstructure:"silence" default:"1h"`   // an answer without progress
	Idle     Duration `mapstructure:"idle" default:"90s"`     // a kept connection without a request
}

// Backend is one server behind Sallyport.
type Backend struct {
	Address string `mapstructure:"address"` // `host:port`
}

// Admin is where metrics, health and status are asked for, and where tokens are
// read anew and unlocked.
type Admin struct {
	// Address is like that of a Listener, or AdminOff. It has no
	// authentication, so nothing can be changed there.
	Address string `mapstructure:"address" default:"127.0.0.1:9180"`
	// Socket is the absolute path of a Unix socket for root and the service's
	// own user, or AdminOff.
	Socket string `mapstructure:"socket" default:"off"`
}

// AdminOff, as its address or socket, turns that one off.
const AdminOff = "off"

// Enabled tells whether there is an admin listener.
func (a Admin) Enabled() bool { return a.Address != AdminOff }

// HasSocket tells whether there is an admin socket.
func (a Admin) HasSocket() bool { return a.Socket != AdminOff }

// Log is what is logged, and how.
type Log struct {
	Level  string `mapstructure:"level" default:"info"`  // debug, info, warn or error
	Format string `mapstructure:"format" default:"json"` // json or text
	Access bool   `mapstructure:"access" default:"true"` // a line for each request
}
