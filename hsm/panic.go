package hsm

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
)

// errPanicked is what a mistake of this package's comes to, of which the log has the stack.
var errPanicked = errors.New("internal error")

// guarded calls do, and goes on where that panics: what tokens and files hold, which are
// read all the time, ends no service. It reports whether do has panicked. The value is
// not logged unless it is the runtime's own, since it may hold anything.
func guarded(log *slog.Logger, in string, do func()) (panicked bool) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		panicked = true
		text := fmt.Sprintf("%T", v)
		if err, ok := v.(runtime.Error); ok {
			text = err.Error()
		}
		log.Error("panic", "in", in, "value", text, "stack", string(debug.Stack()))
	}()
	do()
	return false
}
