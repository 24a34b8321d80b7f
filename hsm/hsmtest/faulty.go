package hsmtest

import (
	"cmp"
	"embed"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Faulty is a PKCS#11 module around a token's own that misbehaves on
// command. README.md tells how it does that, and how to use it by hand.
//
// A fault is in force for every call that begins after the method that set it
// has returned, in every process that has the module loaded; it may also meet
// calls that are under way. Function names are the standard's, such as C_Sign,
// or "*" for all of them; a fault set for a function by its name goes before
// one for all, and setting a fault for a function again replaces it. Calls that
// only ask how long their answer will be (of C_Sign and the like, without a
// buffer) meet no fault and are not counted: no device sees them.
//
// The methods may be called by several goroutines, except for Await, which is
// for the test's own.
type Faulty struct {
	Module      string            // the PKCS#11 library
	Environment map[string]string // what it and the token's need in their environment
	Control     string            // the control file

	t      testing.TB
	ledger string

	mu     sync.Mutex
	lines  map[string]string // of the control file: what is behind each key's =
	events map[string]int    // lines that stay: how often each event was made to happen
	tags   int
}

// Return values for Return, of those that tokens in trouble give (PKCS#11
// v2.40 §5.1.6).
const (
	CKR_HOST_MEMORY                = 0x02
	CKR_GENERAL_ERROR              = 0x05
	CKR_FUNCTION_FAILED            = 0x06
	CKR_DEVICE_ERROR               = 0x30
	CKR_DEVICE_MEMORY              = 0x31
	CKR_DEVICE_REMOVED             = 0x32
	CKR_KEY_HANDLE_INVALID         = 0x60
	CKR_KEY_FUNCTION_NOT_PERMITTED = 0x68
	CKR_MECHANISM_INVALID          = 0x70
	CKR_OPERATION_ACTIVE           = 0x90
	CKR_PIN_INCORRECT              = 0xa0
	CKR_PIN_LEN_RANGE              = 0xa2
	CKR_PIN_EXPIRED                = 0xa3
	CKR_PIN_LOCKED                 = 0xa4
	CKR_SESSION_CLOSED             = 0xb0
	CKR_SESSION_COUNT              = 0xb1
	CKR_SESSION_HANDLE_INVALID     = 0xb3
	CKR_SESSION_READ_ONLY          = 0xb5
	CKR_SESSION_READ_ONLY_EXISTS   = 0xb7
	CKR_TOKEN_NOT_PRESENT          = 0xe0
	CKR_TOKEN_WRITE_PROTECTED      = 0xe2
	CKR_USER_NOT_LOGGED_IN         = 0x101
	CKR_USER_PIN_NOT_INITIALIZED   = 0x102
	CKR_CRYPTOKI_NOT_INITIALIZED   = 0x190
)

// Flags for TokenFlags and TokenFlagsOff (PKCS#11 v2.40 §3.2).
const (
	CKF_TOKEN_INITIALIZED  = 0x400
	CKF_USER_PIN_COUNT_LOW = 0x10000
	CKF_USER_PIN_FINAL_TRY = 0x20000
	CKF_USER_PIN_LOCKED    = 0x40000
)

//go:embed faulty/*.c faulty/*.h
var faultySource embed.FS

// NewFaulty builds the module and wraps it around a token, without any fault yet.
func NewFaulty(t testing.TB, k *Token) *Faulty {
	t.Helper()
	library, err := BuildFaulty()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := &Faulty{
		Module:      filepath.Join(dir, "faulty.so"),
		Environment: maps.Clone(k.Environment),
		Control:     filepath.Join(dir, "control"),
		t:           t,
		ledger:      filepath.Join(dir, "control.stats"),
		lines:       make(map[string]string),
		events:      make(map[string]int),
	}
	f.Environment["FAULTY_MODULE"] = k.Module
	f.Environment["FAULTY_CONTROL"] = f.Control
	if err := os.WriteFile(f.Module, library, 0o700); err != nil {
		t.Fatal(err)
	}
	f.change(func() {})
	return f
}

// BuildFaulty compiles the module and returns the library, for programs that
// are no test too; README.md tells what it wants in its environment.
func BuildFaulty() ([]byte, error) { return builtFaulty() }

// builtFaulty does so once in a process.
var builtFaulty = sync.OnceValues(func() ([]byte, error) { return compile(faultySource, "faulty") })

// Latency makes each call take longer, by d and at random up to jitter more,
// before the real call. It is the device that takes the time: under Parallel,
// a call has its turn during it. 0 and 0 end it.
func (f *Faulty) Latency(fn string, d, jitter time.Duration) {
	f.change(func() {
		f.set("latency", fn, fmt.Sprintf("%dus jitter:%dus", d.Microseconds(), jitter.Microseconds()), d+jitter > 0)
	})
}

// SlowTail makes each so many-th call take d longer. 0 ends it.
func (f *Faulty) SlowTail(fn string, d time.Duration, every int) {
	f.change(func() { f.set("latency", fn, fmt.Sprintf("%dus every:%d", d.Microseconds(), every), d > 0) })
}

// Parallel lets the device work at n calls at once, of all functions and
// processes together; the others wait for their turn. At most 63; 0 ends it.
func (f *Faulty) Parallel(n int) { f.ParallelOf("*", n) }

// ParallelOf is Parallel for one function, whose calls then take no part in a
// bound for all.
func (f *Faulty) ParallelOf(fn string, n int) {
	f.change(func() { f.set("parallel", fn, strconv.Itoa(n), n > 0) })
}

// ParallelPerProcess lets each process work at n calls at once, at most 63.
// 0 ends it.
func (f *Faulty) ParallelPerProcess(n int) {
	f.change(func() { f.set("parallel-process", "*", strconv.Itoa(n), n > 0) })
}

// Return makes the next calls, as many as times says over all processes, return
// rv in place of the real call. times 0: all calls until Heal. A function that
// ends an operation or a session (C_Sign, C_CloseSession …) ends it
// nevertheless, as PKCS#11 wants.
func (f *Faulty) Return(fn string, rv uint, times int) {
	f.change(func() { f.set("return", fn, fmt.Sprintf("%#x%s", rv, f.times(times)), true) })
}

// ReturnAfter is Return, but the real call is made, and only its answer is
// lost: a session was opened, the user is logged in.
func (f *Faulty) ReturnAfter(fn string, rv uint, times int) {
	f.change(func() { f.set("return", fn, fmt.Sprintf("%#x after%s", rv, f.times(times)), true) })
}

// Hang makes all calls hang until Release or Heal, or until their process is
// killed. Those that are released go on as if nothing had been.
func (f *Faulty) Hang(fn string) { f.HangNext(fn, 0) }

// HangNext is Hang for as many calls as times says, over all processes.
func (f *Faulty) HangNext(fn string, times int) {
	// The tag makes it another hang than any before: calls released from those stay released.
	f.change(func() { f.set("hang", fn, "yes"+cmp.Or(f.times(times), f.tag()), true) })
}

// HangForGood makes the next calls hang until their process is killed. Release
// and Heal do not help them, only those that come later.
func (f *Faulty) HangForGood(fn string, times int) {
	f.change(func() { f.set("hang", fn, "forever"+f.times(times), true) })
}

// Release lets the calls that hang go on, except for those that hang for good,
// and ends Hang for all functions.
func (f *Faulty) Release() {
	f.change(func() {
		maps.DeleteFunc(f.lines, func(key, _ string) bool { return strings.HasPrefix(key, "hang.") })
	})
}

// Crash makes the next call crash its process, with a segmentation fault.
func (f *Faulty) Crash(fn string) {
	f.change(func() { f.set("crash", fn, "yes"+f.times(1), true) })
}

// CrashAlways makes all calls crash their process until Heal.
func (f *Faulty) CrashAlways(fn string) {
	f.change(func() { f.set("crash", fn, "yes", true) })
}

// WrongSignature turns a bit in the next signatures, as many as times says over
// all processes. times 0: in all until Heal.
func (f *Faulty) WrongSignature(times int) {
	f.change(func() { f.set("wrong-signature", "*", "yes"+f.times(times), true) })
}

// SpoilSignatures makes signatures wrong in a way of its own until Heal: "yes" turns
// a bit, "zeros" leaves nothing else, "short" and "long" give another length.
func (f *Faulty) SpoilSignatures(how string) {
	f.change(func() { f.set("wrong-signature", "*", how, true) })
}

// SpoilEvery turns a bit in every n-th signature.
func (f *Faulty) SpoilEvery(n int) {
	f.change(func() { f.set("wrong-signature", "*", fmt.Sprintf("yes every:%d%s", n, f.tag()), true) })
}

// Numbers makes a function give n for each number that it gives: of C_GetTokenInfo
// counts of sessions, sizes and versions, of C_GetSlotList, C_GetMechanismList and
// C_FindObjects how many entries there are, of C_GetMechanismInfo the sizes of keys, of
// C_GetAttributeValue and C_Sign the length in bytes. What is not there is not made up.
func (f *Faulty) Numbers(fn string, n uint) {
	f.change(func() { f.set("numbers", fn, fmt.Sprintf("%#x", n), true) })
}

// ReturnEvery makes every n-th call return rv in place of the real call.
func (f *Faulty) ReturnEvery(fn string, rv uint, n int) {
	f.change(func() { f.set("return", fn, fmt.Sprintf("%#x every:%d%s", rv, n, f.tag()), true) })
}

// Garbage makes each call write that many bytes of noise to standard error.
// 0 ends it.
func (f *Faulty) Garbage(fn string, bytes int) {
	f.change(func() { f.set("garbage", fn, strconv.Itoa(bytes), bytes > 0) })
}

// LoseSessions makes every session that is open at this moment invalid, in all
// processes: CKR_SESSION_HANDLE_INVALID. Their login goes with them. New
// sessions can be opened; Return for C_OpenSession prevents that.
func (f *Faulty) LoseSessions() { f.change(func() { f.events["lose-sessions"]++ }) }

// LoseLogin ends the login of all processes that have one: whatever uses a key
// returns CKR_USER_NOT_LOGGED_IN until the process calls C_Login again.
func (f *Faulty) LoseLogin() { f.change(func() { f.events["lose-login"]++ }) }

// Vanish takes the token away until Reappear or Heal: no slot is listed, and
// calls return CKR_TOKEN_NOT_PRESENT for a slot and CKR_DEVICE_REMOVED for a
// session. Sessions and logins of before are lost for good.
func (f *Faulty) Vanish() {
	f.change(func() {
		f.lines["vanish"] = "yes"
		f.events["lose-sessions"]++ // also of a process that makes no call meanwhile
	})
}

// Reappear brings the token back. Processes can open new sessions and log in.
func (f *Faulty) Reappear() { f.change(func() { delete(f.lines, "vanish") }) }

// Wedge makes all calls of the processes that have the module initialised at
// this moment return CKR_DEVICE_ERROR, until each of them calls C_Finalize and
// C_Initialize. Processes that start later are well. Heal does not help.
func (f *Faulty) Wedge() { f.change(func() { f.events["wedge"]++ }) }

// RefusePIN makes C_Login return CKR_PIN_INCORRECT until Heal. The real token
// gets to see no PIN, so it does not lock itself.
func (f *Faulty) RefusePIN() { f.Return("C_Login", CKR_PIN_INCORRECT, 0) }

// TokenFlags makes C_GetTokenInfo show flags besides the token's own. 0 ends it.
func (f *Faulty) TokenFlags(flags uint) {
	f.change(func() {
		f.lines["token-flags"] = fmt.Sprintf("%#x", flags)
		if flags == 0 {
			delete(f.lines, "token-flags")
		}
	})
}

// TokenFlagsOff makes C_GetTokenInfo hide flags of the token's own. 0 ends it.
func (f *Faulty) TokenFlagsOff(flags uint) {
	f.change(func() {
		f.lines["token-flags-off"] = fmt.Sprintf("%#x", flags)
		if flags == 0 {
			delete(f.lines, "token-flags-off")
		}
	})
}

// TokenSerial makes C_GetTokenInfo show another serial, of 16 characters.
func (f *Faulty) TokenSerial(serial string) { f.change(func() { f.lines["token-serial"] = serial }) }

// WriteProtect makes the token write-protected, until Heal: C_GetTokenInfo shows
// CKF_WRITE_PROTECTED, and C_OpenSession refuses sessions for writing with rv.
func (f *Faulty) WriteProtect(rv uint) {
	f.change(func() { f.lines["write-protected"] = fmt.Sprintf("%#x", rv) })
}

// PED gives the token a PIN pad, on which pin is entered at each login:
// C_GetTokenInfo shows CKF_PROTECTED_AUTHENTICATION_PATH, and C_Login refuses
// whatever its caller brings along.
func (f *Faulty) PED(pin string) { f.change(func() { f.lines["ped"] = pin }) }

// Heal ends all faults. What was lost or wedged by them stays so: processes get
// over that in the ways that PKCS#11 has for it.
func (f *Faulty) Heal() { f.change(func() { clear(f.lines) }) }

// times is the option for a number of times, and "" for no bound.
func (f *Faulty) times(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" times:%d%s", n, f.tag())
}

// tag makes a line different from all others, so that it is counted by itself
// and goes on being so when the rest of the file changes.
func (f *Faulty) tag() string {
	f.tags++
	return fmt.Sprintf(" tag:%d", f.tags)
}

func (f *Faulty) set(fault, fn, value string, on bool) {
	f.t.Helper()
	if !knownFunction(fn) {
		f.t.Errorf("faulty: PKCS#11 has no function %q", fn)
		return
	}
	key := fault + "." + fn
	if on {
		f.lines[key] = value
	} else {
		delete(f.lines, key)
	}
}

func knownFunction(fn string) bool {
	name, ok := strings.CutPrefix(fn, "C_")
	header, err := faultySource.ReadFile("faulty/cryptoki.h")
	return fn == "*" || err == nil && ok && strings.Contains(string(header), "\tX("+name+", ")
}

// change makes a change and replaces the control file, which every process
// looks at when a call begins.
func (f *Faulty) change(do func()) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(f.lines)) {
		fmt.Fprintf(&b, "%s=%s\n", key, f.lines[key])
	}
	for _, key := range slices.Sorted(maps.Keys(f.events)) {
		fmt.Fprintf(&b, "%s=%d\n", key, f.events[key])
	}
	err := os.WriteFile(f.Control+".new", []byte(b.String()), 0o600)
	if err == nil {
		err = os.Rename(f.Control+".new", f.Control)
	}
	if err != nil {
		f.t.Errorf("faulty: %v", err)
	}
}
