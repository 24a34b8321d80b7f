package main

import (
	"io"
	"log/slog"

	"sallyport/configs"
)

// serviceLog is the log of what the service does; it goes to standard error.
func serviceLog(c configs.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // configs has checked it
	}
	return slog.New(logHandler(c, w, level))
}

// accessLog has a line for each request; it goes to standard output. It is nil
// when it is off.
func accessLog(c configs.Log, w io.Writer) *slog.Logger {
	if !c.Access {
		return nil
	}
	return slog.New(logHandler(c, w, slog.LevelInfo))
}

func logHandler(c configs.Log, w io.Writer, level slog.Level) slog.Handler {
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "text" {
		return slog.NewTextHandler(w, options)
	}
	return slog.NewJSONHandler(w, options)
}
