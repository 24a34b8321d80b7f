package proxy

import (
	"context"
	"log/slog"
	"time"
)

// logAccess writes the request's line. The query stays out of it: it is where
// secrets travel.
func (x *exchange) logAccess() {
	log := x.server.accessLog
	if log == nil {
		return
	}
	attrs := []slog.Attr{
		slog.String("listener", x.listener.Name),
		slog.String("site", siteName(x.conn.site)),
		slog.String("route", x.routePath()),
		slog.String("pool", x.poolName()),
		slog.String("backend", x.backend),
		slog.String("client", x.client),
		slog.String("method", x.r.Method),
		slog.String("host", x.r.Host),
		slog.String("path", x.path),
		slog.String("protocol", x.r.Proto),
		slog.Int("status", x.finalStatus()),
		slog.Int64("bytes_in", x.bytesIn()),
		slog.Int64("bytes_out", x.bytesOut()),
		slog.Duration("duration", time.Since(x.began)),
		slog.Duration("backend_wait", x.wait),
		slog.Int("tries", x.tries),
		slog.String("outcome", x.outcome),
	}
	if t := x.r.TLS; t != nil {
		attrs = append(attrs, slog.String("tls", versionName(t.Version)), slog.Bool("resumed", t.DidResume))
	}
	log.LogAttrs(context.Background(), slog.LevelInfo, "request", attrs...)
}

func (x *exchange) routePath() string {
	if x.route == nil {
		return ""
	}
	return x.route.path
}
