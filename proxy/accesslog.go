package proxy

import (
	"context"
	"log/slog"
	"time"

	"sallyport/proxy/message"
)

// logAccess writes the request's line. The query stays out of it: it is where
// secrets travel. What the client chose is cut to a length: with HTTP/2 a path of
// some kilobytes that was sent once costs a byte each time after.
func (x *exchange) logAccess() {
	log := x.server.accessLog
	if log == nil {
		return
	}
	in, out := x.bytes()
	attrs := []slog.Attr{
		slog.String("listener", x.listener.Name),
		slog.String("site", siteName(x.site)),
		slog.String("route", x.routePath()),
		slog.String("pool", x.poolName()),
		slog.String("backend", x.backend),
		slog.String("request_id", string(x.requestID)),
		slog.String("client", x.clientAddr().String()),
		slog.String("method", logged(x.in.Method, maxLoggedMethod)),
		slog.String("host", logged(x.in.Authority, maxLoggedHost)),
		slog.String("path", logged(x.path, maxLoggedPath)),
		slog.String("protocol", protocolName(x.in)),
		slog.Int("status", x.finalStatus()),
		slog.Int64("bytes_in", in),
		slog.Int64("bytes_out", out),
		slog.Duration("duration", time.Since(x.began)),
		slog.Duration("backend_wait", x.wait),
		slog.Int("tries", x.tries),
		slog.String("outcome", x.outcomeText()),
		slog.String("tls", versionName(x.conn.version)),
		slog.Bool("resumed", x.conn.resumed),
	}
	log.LogAttrs(context.Background(), slog.LevelInfo, "request", attrs...)
}

// Longer ones are cut in the log, where three dots follow then.
const (
	maxLoggedMethod = 32
	maxLoggedHost   = 64
	maxLoggedPath   = 256
)

// logged is a text of the client's as the log has it. In a request that was refused it may hold
// anything: what could end a line, or be taken for the log's own words, is escaped.
func logged(text []byte, most int) string {
	cut := len(text) > most
	if cut {
		text = text[:most]
	}
	var escaped []byte
	for i, c := range text {
		if c > ' ' && c < 0x7f && c != '"' && c != '\\' {
			if escaped != nil {
				escaped = append(escaped, c)
			}
			continue
		}
		if escaped == nil {
			escaped = append(make([]byte, 0, 2*len(text)), text[:i]...)
		}
		escaped = append(escaped, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
	}
	if escaped != nil {
		text = escaped
	}
	if cut {
		return string(text) + "..."
	}
	return string(text)
}

const hexDigits = "0123456789abcdef"

// protocolName is the protocol as logs have it.
func protocolName(r *message.Request) string {
	switch {
	case r.Major == 2:
		return "HTTP/2.0"
	case r.Minor == 0:
		return "HTTP/1.0"
	}
	return "HTTP/1.1"
}
