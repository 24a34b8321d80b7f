/*
 * A PKCS#11 module that wraps a real one and misbehaves on command.
 *
 *     cc -shared -fPIC -pthread -o faulty.so *.c -ldl
 *
 * ../README.md is the manual. The parts:
 *
 *     faulty.c    the module as its users see it: the list of functions
 *     call.c      the way of a call past the faults
 *     control.c   the control file: which faults are in force
 *     ledger.c    what all processes with the same control file share: tallies
 *                 of calls, turns, how often a fault was used
 *
 * A call that hangs or waits holds no lock, and a process that is stopped or
 * killed at any point blocks no other one: what processes share is changed by
 * single atomic steps, and what a dead one leaves behind is known by the byte
 * of the ledger that it no longer locks. Arguments are passed on and not
 * looked at, the PIN among them, unless the token plays a PED.
 */
#ifndef FAULTY_H
#define FAULTY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cryptoki.h"

#pragma GCC visibility push(hidden) /* nothing of this meets the program's own names */

/* Functions have numbers; 0 stands for all of them. */
#define NUMBER_OF(name, via, reach, length, parameters, arguments) F_##name,
enum { ANY, EACH_FUNCTION(NUMBER_OF, ) FUNCTIONS };
#undef NUMBER_OF
extern const char *const function_names[FUNCTIONS];

#define MICROSECOND 1000ULL
#define MILLISECOND (1000 * MICROSECOND)
#define SECOND (1000 * MILLISECOND)

/* complain prints a line on standard error, for whoever set the module up. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* lock guards all state of this process and is never held while anything
 * waits; what needs it says so. unlock gives it back. */
void lock(void);
void unlock(void);

/* ledger.c ------------------------------------------------------------- */

enum { PROCESSES = 64, TURNS = 63, USES = 4096 };

struct turns { /* an owner of 0: free; else 1 + the number of the process that has it */
	_Atomic uint32_t freed;
	_Atomic uint32_t owner[TURNS];
};

/* The ledger is one file that every process maps. hsmtest/stats.go reads it. */
struct ledger {
	char magic[8];
	_Atomic uint32_t functions, processes;
	char names[FUNCTIONS][32];
	struct tally { /* of one function, by all processes */
		_Atomic uint64_t made, faulted, most, at_work;
	} tallies[FUNCTIONS];
	struct process { /* in use while its byte of the file is locked */
		_Atomic uint64_t pid;
		_Atomic uint64_t sessions; /* that it has open, lost ones among them */
		struct gauge { /* of one function, at this moment */
			_Atomic uint32_t under_way, at_work, hung, unused;
		} gauges[FUNCTIONS];
	} process[PROCESSES];
	struct turns turns[FUNCTIONS];
	_Atomic uint64_t uses[USES]; /* of faults with times: which one (high half), how many (low half) */
};
#define LEDGER_MAGIC "faulty2"

extern struct ledger *ledger;
extern int me; /* this process's number in the ledger */

/* open_ledger maps the ledger and takes a number in it. It needs the lock. */
bool open_ledger(void);

/* leave_ledger is for the child of a fork, which opens the ledger anew. */
void leave_ledger(void);

/* bury cleans up after the processes that have died. */
void bury(void);

/* control.c ------------------------------------------------------------ */

enum fault {
	LATENCY, PARALLEL, PARALLEL_PROCESS, RETURN, HANG, CRASH, GARBAGE, WRONG_SIGNATURE, NUMBERS,
	VANISH, TOKEN_FLAGS, TOKEN_FLAGS_OFF, TOKEN_SERIAL, WRITE_PROTECTED, PED, LOSE_SESSIONS, LOSE_LOGIN, WEDGE, FAULTS
};

struct rule { /* a line of the control file */
	enum fault fault;
	int function;
	uint64_t value;  /* nanoseconds, a number or a return value */
	uint64_t jitter; /* nanoseconds */
	uint64_t times;  /* 0: no bound */
	uint64_t every;  /* only each so many-th call; 0: all of them */
	bool after, forever;
	char word[24];  /* of an event; the PIN that is entered on the PED; how a signature is wrong */
	uint64_t line;  /* names the line by what it says */
	uint64_t use;   /* names it for counting how often it was used, */
	unsigned place; /* at this place of ledger->uses */
};

/* read_control reads the control file if it has changed. It needs the lock,
 * and calls happen for events that the file did not tell of before. */
void read_control(void);

/* find looks for the rule that a fault has for a function: one for itself,
 * else one for all. With times:, the rule is used by that. It needs the lock. */
bool find(enum fault fault, int function, struct rule *found);

/* in_force is read_control, then find, and takes the lock itself. */
bool in_force(enum fault fault, int function, struct rule *found);

/* still_there says whether the control file still has the line of a rule. */
bool still_there(const struct rule *r);

/* hash continues the hash h with n bytes. */
uint64_t hash(uint64_t h, const void *data, size_t n);
#define HASH_BEGIN 0xcbf29ce484222325ULL

/* call.c --------------------------------------------------------------- */

enum reach { LIBRARY, SLOT, SESSION, KEY };

struct call {
	int function;
	enum reach reach;
	CK_ULONG handle; /* of its slot or session */
	bool length;     /* it only asks how long its answer will be */
	CK_RV rv;
	bool faulted;      /* a fault had a hand in it */
	bool replaced;     /* the real answer gives way to replacement */
	CK_RV replacement;
	struct place { /* the turns that it has; turns is NULL: none */
		struct turns *turns;
		int at;
	} place[2];
};

/* enter takes a call up to the real module. If it is false, the call is over
 * and c->rv is its answer. */
bool enter(struct call *c);

/* leave returns the answer of a call that entered. */
CK_RV leave(struct call *c);

/* spoil notes that the call of this thread was answered with a fault in it. */
void spoil(void);

/* ready opens the real module and the ledger at the first call. */
bool ready(void);
extern const CK_FUNCTION_LIST *real;

/* What faults do to this process. All of these need the lock. */
void happen(enum fault event);
void add_session(CK_ULONG handle, CK_ULONG slot);
void forget_session(CK_ULONG handle);
void forget_sessions_of(CK_ULONG slot);
void forget_token(void);

/* leave_turns is for the child of a fork, which has none of its parent's. */
void leave_turns(void);

extern enum login { LOGGED_OUT, LOGGED_IN, LOGIN_LOST } login;
extern bool initialised, wedged;

#endif
