package signer

import (
	"debug/elf"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/miekg/pkcs11"

	"sallyport/hsm/wire"
)

// module is a loaded PKCS#11 library. It is never unloaded: vendors' libraries
// start threads that do not survive dlclose.
type module struct {
	path  string
	ctx   *pkcs11.Ctx
	calls library
}

// loadModule loads the library, and does not yet initialise it.
func loadModule(path string) (*module, error) {
	ctx := pkcs11.New(path)
	if ctx == nil {
		return nil, whyNotLoaded(path)
	}
	m := &module{path: path, ctx: ctx, calls: libraryOf(ctx)}
	if m.calls.functions == nil {
		return nil, setup("module %s gives no list of functions", path).of("module").hint("it must be the vendor's PKCS#11 library")
	}
	return m, nil
}

// initialise is C_Initialize. Every answer but success is an error.
func (m *module) initialise() error {
	err := m.ctx.Initialize()
	if err == nil {
		return nil
	}
	f := failed(fmt.Errorf("module %s does not initialise: %w", m.path, err))
	f.Setting = "module"
	f.Hint = "see the vendor's log; its library often needs a configuration file, named in the token's environment settings"
	return &failure{*f}
}

// whyNotLoaded finds the reason, which dlopen knows but miekg/pkcs11 does not pass on.
func whyNotLoaded(path string) error {
	notFound := setup("module %s cannot be loaded", path).of("module")
	if !strings.Contains(path, "/") {
		return notFound.hint("a name without a folder is searched for by the dynamic linker; give the whole path")
	}
	if _, err := os.Stat(path); err != nil {
		return setup("module: %v", err).of("module").hint("the path of the vendor's PKCS#11 library, such as /usr/lib/softhsm/libsofthsm2.so")
	}
	lib, err := elf.Open(path)
	if err != nil {
		return setup("module %s is not a shared library", path).of("module").hint("it must be the vendor's PKCS#11 library (a .so file)")
	}
	defer lib.Close()
	if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]; want != 0 && lib.Machine != want {
		return setup("module %s is built for %s, this machine is %s", path, lib.Machine, want).of("module")
	}
	symbols, _ := lib.DynamicSymbols()
	for _, s := range symbols {
		if s.Name == "C_GetFunctionList" && s.Section != elf.SHN_UNDEF {
			return notFound.hint("ldd %s shows which library it lacks", path)
		}
	}
	return setup("module %s is not a PKCS#11 library: it lacks C_GetFunctionList", path).of("module").
		hint("it must be the vendor's PKCS#11 library")
}

// library names the module as it names itself.
func (m *module) library() string {
	info, err := m.ctx.GetInfo()
	if err != nil {
		return m.path
	}
	return fmt.Sprintf("%s %d.%d", padded(info.LibraryDescription), info.LibraryVersion.Major, info.LibraryVersion.Minor)
}

// token is a slot that holds a token, and what the token says of itself.
type token struct {
	slot uint
	pkcs11.TokenInfo
}

func (t token) String() string {
	return fmt.Sprintf("slot %d: label %q, serial %q", t.slot, t.Label, t.SerialNumber)
}

// tokens lists the slots that hold an initialised token. What cannot be read,
// such as a card that is no token or that was just taken out, is an error of
// its own in unread, and no reason not to use the others.
func (m *module) tokens() (found []token, unread []error, err error) {
	slots, err := m.calls.slots()
	if err != nil {
		return nil, nil, fmt.Errorf("list the slots: %w", err)
	}
	for _, slot := range slots {
		info, err := m.tokenInfo(slot)
		if err != nil {
			unread = append(unread, fmt.Errorf("slot %d could not be read: %w", slot, err))
			continue
		}
		info.Label, info.SerialNumber = padded(info.Label), padded(info.SerialNumber)
		info.ManufacturerID, info.Model = padded(info.ManufacturerID), padded(info.Model)
		// A label is given when a token is initialised. Not every library sets the flag.
		if info.Flags&pkcs11.CKF_TOKEN_INITIALIZED != 0 || info.Label != "" {
			found = append(found, token{slot, info})
		}
	}
	return found, unread, nil
}

// tokenInfo reads a token, and reads it again where a device fails now and then, as SoftHSM
// does while another process logs in.
func (m *module) tokenInfo(slot uint) (pkcs11.TokenInfo, error) {
	const tries, pause = 3, 50 * time.Millisecond
	for try := 1; ; try++ {
		info, err := m.ctx.GetTokenInfo(slot)
		rv, ok := returnValue(err)
		passing := ok && (rv == pkcs11.CKR_GENERAL_ERROR || rv == pkcs11.CKR_FUNCTION_FAILED || rv == pkcs11.CKR_DEVICE_ERROR)
		if err == nil || !passing || try == tries {
			return info, err
		}
		time.Sleep(pause)
	}
}

// text is what a library means by a string. Some end it as C does. What is not
// UTF-8 would not reach the serving process as it is.
func text[S string | []byte](s S) string {
	t, _, _ := strings.Cut(string(s), "\x00")
	return strings.ToValidUTF8(t, "\uFFFD")
}

// padded is the text of a field that PKCS#11 pads with blanks (v2.40 §3.1).
func padded(s string) string { return strings.TrimRight(text(s), " ") }

// choose returns the one token that s selects. Where there is none it tells of
// the slots that could not be read: the token may be in one of them.
func choose(all []token, unread []error, s wire.Settings) (token, error) {
	var match []token
	for _, t := range all {
		if s.Slot != nil && t.slot == *s.Slot ||
			s.Serial != "" && t.SerialNumber == s.Serial ||
			s.Label != "" && t.Label == s.Label {
			match = append(match, t)
		}
	}
	if len(match) == 1 {
		return match[0], nil
	}
	setting, wanted := "token", fmt.Sprintf("the label %q", s.Label)
	switch {
	case s.Slot != nil:
		setting, wanted = "slot", fmt.Sprintf("slot %d", *s.Slot)
	case s.Serial != "":
		setting, wanted = "serial", fmt.Sprintf("the serial %q", s.Serial)
	}
	if len(match) > 1 {
		return token{}, setup("%d tokens have %s: %s", len(match), wanted, list(match)).of(setting).
			hint("select it by serial: or slot: instead")
	}
	if len(unread) > 0 {
		f := notRead(unread, "no token has "+wanted).of(setting)
		if len(all) > 0 {
			f.Cause += "; there is " + list(all)
		}
		return token{}, f
	}
	if len(all) == 0 {
		f := setup("no token has %s: the module shows no initialised token at all", wanted).of(setting)
		f.Class = wire.Device // it may come yet, where another one's presence would show that the setting is wrong
		return token{}, f.hint("a device that is off, unplugged or not reachable looks like this; so does a library that does not find its configuration, since it sees only the variables under the token's environment: setting")
	}
	return token{}, setup("no token has %s; there is %s", wanted, list(all)).of(setting).
		hint("`sallyport token list` shows all that can be selected")
}

// notRead is the failure of what may be in a slot that could not be read.
func notRead(unread []error, missing string) *failure {
	f := &failure{*failed(unread[0])}
	f.Cause = fmt.Sprintf("%s, but %s", missing, list(unread))
	return f.hint("the module answers for that slot with an error; look at it with the vendor's tool")
}

// list names the first few of what there is.
func list[T any](all []T) string {
	var b strings.Builder
	for i, one := range all {
		if i > 0 {
			b.WriteString("; ")
		}
		if i == 8 {
			fmt.Fprintf(&b, "and %d more", len(all)-i)
			break
		}
		fmt.Fprint(&b, one)
	}
	return b.String()
}

// info is what the serving process is told about t.
func (m *module) info(t token, sessions int) wire.TokenInfo {
	return wire.TokenInfo{
		Slot: t.slot, Label: t.Label, Serial: t.SerialNumber,
		Manufacturer: t.ManufacturerID, Model: t.Model,
		Library: m.library(), Sessions: sessions,
	}
}
