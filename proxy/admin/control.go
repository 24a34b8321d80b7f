package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"sallyport/proxy/printable"
)

// Control is what changes something. It is served on a Socket alone, whose
// peers are known.
type Control struct {
	// Rescan has the tokens read anew, and waits for what comes of it.
	Rescan func(context.Context) (Rescan, error)
	// Unlock lets a token that refused its PIN be logged in to once more, and
	// waits for what comes of it. An unknown name is an ErrNoToken.
	Unlock func(ctx context.Context, token string) error
}

// ErrNoToken: no token has that name.
var ErrNoToken = errors.New("no such token")

// handle adds the calls to mux. They may take longer than a page.
func (c *Control) handle(mux *http.ServeMux) {
	mux.Handle("POST /rescan", c.call(func(r *http.Request) (any, error) { return c.Rescan(r.Context()) }))
	mux.Handle("POST /tokens/{name}/unlock", c.call(func(r *http.Request) (any, error) {
		return struct{}{}, c.Unlock(r.Context(), r.PathValue("name"))
	}))
}

// call answers with what do returns, in JSON. It has no deadline but the
// client's patience.
func (c *Control) call(do func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).SetWriteDeadline(time.Time{}); err != nil {
			writeJSON(w, http.StatusInternalServerError, refusal(err))
			return
		}
		answer, err := do(r)
		switch {
		case errors.Is(err, ErrNoToken):
			writeJSON(w, http.StatusNotFound, refusal(err))
		case err != nil:
			writeJSON(w, http.StatusConflict, refusal(err))
		default:
			writeJSON(w, http.StatusOK, answer)
		}
	})
}

func refusal(err error) Refusal {
	r := Refusal{Text: err.Error()}
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		r.Hint = h.Hint()
	}
	return r
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	e := json.NewEncoder(printable.JSON{Writer: w})
	e.SetIndent("", "  ")
	_ = e.Encode(v) // the client has gone
}
