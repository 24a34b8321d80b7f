package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/configs"
	"sallyport/proxy/printable"
)

// flushTime is how long the end of a service waits for those who read its logs.
const flushTime = 2 * time.Second

// logs are the two logs of a service. Neither holds anything up, nor ends the
// service, whatever becomes of those who read them.
type logs struct {
	service *slog.Logger // of what the service does, to standard error
	access  *slog.Logger // a line for each request, to standard output; nil: off

	errors *logQueue // what service goes to
	queues map[string]*logQueue
}

// startLogs starts the logs that c asks for. Whoever starts them closes them.
func startLogs(c configs.Log, stdout, stderr io.Writer) *logs {
	// Go ends a process that writes to a standard output or error that nobody
	// reads any more, and systemd takes that for a clean exit.
	signal.Ignore(syscall.SIGPIPE)
	l := &logs{queues: make(map[string]*logQueue)}
	turn := new(sync.Mutex)
	l.errors = l.queue(c, "service", stderr, turn, nil)
	l.service = serviceLog(c, l.errors)
	if c.Access {
		if !sameFile(stdout, stderr) {
			turn = new(sync.Mutex)
		}
		out := l.queue(c, "access", stdout, turn, func(err error) {
			l.service.Error("log cannot be written", "log", "access", "error", err)
		})
		l.access = slog.New(logHandler(c, out, slog.LevelInfo))
	}
	return l
}

// queue starts a log's queue.
func (l *logs) queue(c configs.Log, name string, out io.Writer, turn *sync.Mutex, failed func(error)) *logQueue {
	q := &logQueue{out: out, turn: turn, failed: failed, told: func(lost uint64) []byte {
		var line bytes.Buffer
		slog.New(logHandler(c, &line, slog.LevelInfo)).Warn("log lines dropped", "log", name, "lines", lost)
		return line.Bytes()
	}}
	q.start()
	l.queues[name] = q
	return q
}

// collectors count the lines that were lost, for each log.
func (l *logs) collectors() (all []prometheus.Collector) {
	for name, q := range l.queues {
		all = append(all, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name:        "sallyport_log_lines_dropped_total",
			Help:        "Log lines that were lost since nobody took them in time.",
			ConstLabels: prometheus.Labels{"log": name},
		}, func() float64 { return float64(q.dropped()) }))
	}
	return all
}

// report prints err behind the service log's last line, as run does for other
// commands, and returns it as one that has been.
func (l *logs) report(err error) error {
	if err == nil {
		return nil
	}
	var text bytes.Buffer
	report(&text, err)
	l.errors.last(text.Bytes())
	return reported{err}
}

// close writes what waits, within flushTime.
func (l *logs) close() {
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	for _, q := range l.queues {
		q.close(ctx)
	}
}

// serviceLog is a log of the level that c asks for.
func serviceLog(c configs.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // configs has checked it
	}
	return slog.New(logHandler(c, w, level))
}

func logHandler(c configs.Log, w io.Writer, level slog.Level) slog.Handler {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: inSeconds}
	if c.Format == "text" {
		return slog.NewTextHandler(w, options)
	}
	return slog.NewJSONHandler(printable.JSON{Writer: w}, options)
}

// inSeconds has all times of a log in one unit, seconds, in both formats, and addresses as
// text.
func inSeconds(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindDuration:
		a.Value = slog.Float64Value(a.Value.Duration().Seconds())
	case slog.KindAny:
		if address, ok := a.Value.Any().(net.Addr); ok {
			a.Value = slog.StringValue(address.String())
		}
	}
	return a
}

// sameFile reports whether both write to one file, as with 2>&1.
func sameFile(a, b io.Writer) bool {
	var info [2]os.FileInfo
	for i, w := range []io.Writer{a, b} {
		f, ok := w.(*os.File)
		if !ok {
			return a == b
		}
		var err error
		if info[i], err = f.Stat(); err != nil {
			return false
		}
	}
	return os.SameFile(info[0], info[1])
}
