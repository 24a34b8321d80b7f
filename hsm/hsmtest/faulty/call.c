/*
 * The way of a call:
 *
 *     enters ─ garbage ─ crash ─ hang ─ turn ─ latency ─ verdict ─ real call ─ leaves
 *
 * The control file is looked at anew before each step that may follow a wait,
 * so a fault is in force for every call that enters after the file was changed,
 * and may also meet one that was under way.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "faulty.h"

#define RELEASE_LOOK (2 * MILLISECOND) /* how often a call that hangs looks for its release */
#define TURN_LOOK (20 * MILLISECOND)   /* how often one that waits for its turn looks for dead owners */

/* ----------------------------------------------------------------------
 * What this process has at the token, guarded by the lock.
 */

enum login login;
bool initialised, wedged;

static struct session {
	CK_ULONG handle, slot;
	bool lost;
} *sessions;
static size_t session_count, session_room;

/* show_sessions keeps the ledger's number right; the child of a fork has no
 * ledger yet. */
static void show_sessions(void)
{
	if (ledger != NULL)
		atomic_store(&ledger->process[me].sessions, session_count);
}

void add_session(CK_ULONG handle, CK_ULONG slot)
{
	if (session_count == session_room) {
		size_t room = session_room ? 2 * session_room : 64;
		void *more = realloc(sessions, room * sizeof *sessions);
		if (more == NULL)
			return; /* this one cannot be lost */
		sessions = more;
		session_room = room;
	}
	sessions[session_count++] = (struct session){handle, slot, false};
	show_sessions();
}

void forget_session(CK_ULONG handle)
{
	for (size_t i = session_count; i-- > 0;)
		if (sessions[i].handle == handle)
			sessions[i] = sessions[--session_count];
	show_sessions();
}

void forget_sessions_of(CK_ULONG slot)
{
	for (size_t i = session_count; i-- > 0;)
		if (sessions[i].slot == slot)
			sessions[i] = sessions[--session_count];
	show_sessions();
}

void forget_token(void)
{
	initialised = wedged = false;
	login = LOGGED_OUT;
	session_count = 0;
	show_sessions();
}

static bool is_lost(CK_ULONG handle)
{
	for (size_t i = 0; i < session_count; i++)
		if (sessions[i].handle == handle)
			return sessions[i].lost;
	return false;
}

/* happen makes an event happen to this process. The real module keeps what is
 * lost here: other threads may be using it. */
void happen(enum fault event)
{
	if (event == WEDGE)
		wedged = initialised;
	if (event == VANISH || event == LOSE_SESSIONS)
		for (size_t i = 0; i < session_count; i++)
			sessions[i].lost = true;
	/* A login ends with the last session (PKCS#11 v2.40 §5.6). */
	if (event != WEDGE && login == LOGGED_IN)
		login = LOGIN_LOST;
}

/* ----------------------------------------------------------------------
 * Counting.
 */

/* gauge counts calls of this process at this moment, of the function and of all. */
#define gauge(c, member, n) \
	do { \
		struct gauge *g_ = ledger->process[me].gauges; \
		atomic_fetch_add(&g_[(c)->function].member, (uint32_t)(n)); \
		atomic_fetch_add(&g_[ANY].member, (uint32_t)(n)); \
	} while (0)

/* tally counts calls of all processes. */
#define tally(c, member, n) \
	do { \
		atomic_fetch_add(&ledger->tallies[(c)->function].member, (uint64_t)(n)); \
		atomic_fetch_add(&ledger->tallies[ANY].member, (uint64_t)(n)); \
	} while (0)

static void note_most(struct tally *t)
{
	uint64_t now = atomic_load(&t->at_work), most = atomic_load(&t->most);
	if (now <= most)
		return;
	bury(); /* what the dead were at does not count */
	now = atomic_load(&t->at_work);
	while (now > most && !atomic_compare_exchange_weak(&t->most, &most, now))
		;
}

static void start_work(struct call *c)
{
	gauge(c, at_work, 1);
	tally(c, at_work, 1);
	note_most(&ledger->tallies[c->function]);
	note_most(&ledger->tallies[ANY]);
}

static void end_work(struct call *c)
{
	tally(c, at_work, -1);
	gauge(c, at_work, -1);
}

static void mark(struct call *c)
{
	if (!c->faulted)
		tally(c, faulted, 1);
	c->faulted = true;
}

static _Thread_local bool spoilt;

void spoil(void) { spoilt = true; }

/* ----------------------------------------------------------------------
 * The steps.
 */

static void pause_for(uint64_t nanoseconds)
{
	struct timespec left = {(time_t)(nanoseconds / SECOND), (long)(nanoseconds % SECOND)};
	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

static void print_garbage(uint64_t bytes)
{
	static const char noise[] = "\x1b[31m\x80\xff\x01%s%n\r\b\t{\"level\":\"ok\"}\xc3 ERROR 0x00000000 ~~~~ ";
	char text[4096];
	size_t n = bytes < sizeof text ? bytes : sizeof text;
	for (size_t i = 0; i < n; i++)
		text[i] = noise[i % (sizeof noise - 1)];
	if (n > 0)
		text[n - 1] = '\n';
	if (write(STDERR_FILENO, text, n) < 0)
		return; /* nobody listens */
}

static void crash(void)
{
	volatile int *volatile nowhere = NULL;
	*nowhere = 1;
}

static void hang(struct call *c, const struct rule *r)
{
	mark(c);
	gauge(c, hung, 1);
	while (r->forever || still_there(r))
		pause_for(RELEASE_LOOK);
	gauge(c, hung, -1);
}

/* take_turn waits while as many calls are at work as the fault allows. How many
 * that are may change in the meantime. */
static void take_turn(struct call *c, struct place *p, enum fault fault, struct turns *all)
{
	struct rule r;
	while (in_force(fault, c->function, &r) && r.value <= TURNS) {
		struct turns *t = &all[r.function];
		uint32_t freed = atomic_load(&t->freed);
		for (int i = 0; i < (int)r.value; i++) {
			uint32_t nobody = 0;
			if (atomic_compare_exchange_strong(&t->owner[i], &nobody, (uint32_t)me + 1)) {
				*p = (struct place){t, i};
				return;
			}
		}
		struct timespec wait = {0, TURN_LOOK};
		if (syscall(SYS_futex, &t->freed, FUTEX_WAIT, freed, &wait, NULL, 0) != 0 && errno == ETIMEDOUT)
			bury();
	}
}

static struct turns own_turns[FUNCTIONS]; /* for parallel-process */

void leave_turns(void) { memset(own_turns, 0, sizeof own_turns); }

static void give_turn_back(struct place *p)
{
	if (p->turns == NULL)
		return;
	atomic_store(&p->turns->owner[p->at], 0);
	atomic_fetch_add(&p->turns->freed, 1);
	syscall(SYS_futex, &p->turns->freed, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static uint64_t random_up_to(uint64_t n)
{
	static _Atomic uint64_t counter;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	uint64_t seed[] = {atomic_fetch_add(&counter, 1), (uint64_t)now.tv_nsec, (uint64_t)getpid()};
	return hash(HASH_BEGIN, seed, sizeof seed) % (n + 1);
}

/* state_fault says what a call gets for the state that the token and its own
 * process are in; CKR_OK: the real answer. It needs the lock. */
static CK_RV state_fault(const struct call *c)
{
	struct rule r;
	if (c->function == F_Initialize || c->function == F_Finalize)
		return CKR_OK;
	if (wedged)
		return CKR_DEVICE_ERROR;
	if (c->reach == LIBRARY)
		return CKR_OK;
	if (find(VANISH, ANY, &r))
		return c->reach == SLOT ? CKR_TOKEN_NOT_PRESENT : (CK_RV)r.value;
	if (c->reach == SLOT)
		return CKR_OK;
	if (is_lost(c->handle))
		return CKR_SESSION_HANDLE_INVALID;
	if (c->reach == KEY && login == LOGIN_LOST)
		return CKR_USER_NOT_LOGGED_IN;
	return CKR_OK;
}

/* ends says whether a function ends an operation or a session also when it
 * fails (PKCS#11 v2.40 §5.11). The real module must not be left with it. */
static bool ends(int function)
{
	switch (function) {
	case F_CloseSession: case F_CloseAllSessions: case F_FindObjectsFinal:
	case F_Encrypt: case F_EncryptFinal: case F_Decrypt: case F_DecryptFinal:
	case F_Digest: case F_DigestFinal: case F_Sign: case F_SignFinal: case F_SignRecover:
	case F_Verify: case F_VerifyFinal: case F_VerifyRecover:
		return true;
	}
	return false;
}

/* passes decides whether the real call is made; if not, c->rv is the answer. */
static bool passes(struct call *c)
{
	struct rule r;
	lock();
	read_control();
	bool answered = find(RETURN, c->function, &r), after = answered && r.after;
	CK_RV rv = answered ? r.value : CKR_OK;
	if (!answered || after) {
		CK_RV state = state_fault(c);
		if (state != CKR_OK) {
			answered = true;
			after = false;
			rv = state;
		}
	}
	unlock();
	if (!answered)
		return true;
	mark(c);
	c->rv = rv;
	if (!after && !ends(c->function))
		return false;
	c->replaced = true;
	c->replacement = rv;
	return true;
}

bool enter(struct call *c)
{
	struct rule r;
	spoilt = false;
	if (c->length) /* a library answers that without its device */
		return ready();
	if (!ready()) {
		c->rv = c->function == F_Initialize ? CKR_GENERAL_ERROR : CKR_CRYPTOKI_NOT_INITIALIZED;
		c->length = true; /* nothing to count */
		return false;
	}
	tally(c, made, 1);
	gauge(c, under_way, 1);
	if (in_force(GARBAGE, c->function, &r)) {
		mark(c);
		print_garbage(r.value);
	}
	if (in_force(CRASH, c->function, &r)) {
		mark(c);
		crash();
	}
	if (in_force(HANG, c->function, &r))
		hang(c, &r);
	if (c->function != F_WaitForSlotEvent) { /* which waits for long and does nothing */
		take_turn(c, &c->place[0], PARALLEL_PROCESS, own_turns);
		take_turn(c, &c->place[1], PARALLEL, ledger->turns);
	}
	start_work(c);
	if (in_force(LATENCY, c->function, &r))
		pause_for(r.value + random_up_to(r.jitter));
	return passes(c);
}

CK_RV leave(struct call *c)
{
	if (c->length)
		return c->rv;
	if (c->replaced)
		c->rv = c->replacement;
	if (spoilt)
		mark(c);
	end_work(c);
	give_turn_back(&c->place[1]);
	give_turn_back(&c->place[0]);
	gauge(c, under_way, -1);
	return c->rv;
}
