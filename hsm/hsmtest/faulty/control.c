/* The control file: FAULT[.FUNCTION]=VALUE [OPTION …], a line each. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faulty.h"

static const struct {
	const char *name;
	enum { DURATION, NUMBER, CODE, YES, YES_OR_FOREVER, YES_OR_CODE, WORD } value;
	enum { STATE = 1, OF_CALLS } kind; /* faults of calls may name a function and a number of times */
} faults[FAULTS] = {
	[LATENCY] = {"latency", DURATION, OF_CALLS},
	[PARALLEL] = {"parallel", NUMBER, OF_CALLS},
	[PARALLEL_PROCESS] = {"parallel-process", NUMBER, OF_CALLS},
	[RETURN] = {"return", CODE, OF_CALLS},
	[HANG] = {"hang", YES_OR_FOREVER, OF_CALLS},
	[CRASH] = {"crash", YES, OF_CALLS},
	[GARBAGE] = {"garbage", NUMBER, OF_CALLS},
	[WRONG_SIGNATURE] = {"wrong-signature", WORD, OF_CALLS},
	[NUMBERS] = {"numbers", NUMBER, OF_CALLS},
	[VANISH] = {"vanish", YES_OR_CODE, STATE},
	[TOKEN_FLAGS] = {"token-flags", NUMBER, STATE},
	[TOKEN_FLAGS_OFF] = {"token-flags-off", NUMBER, STATE},
	[TOKEN_SERIAL] = {"token-serial", WORD, STATE},
	[WRITE_PROTECTED] = {"write-protected", CODE, STATE},
	[PED] = {"ped", WORD, STATE},
	[LOSE_SESSIONS] = {"lose-sessions", WORD, STATE},
	[LOSE_LOGIN] = {"lose-login", WORD, STATE},
	[WEDGE] = {"wedge", WORD, STATE},
};

/* Guarded by the lock. */
enum { RULES = 64 };
static struct rule rules[RULES];
static int rule_count;
static struct stat seen;          /* the version of the file that the rules are from */
static int file_seen = -1;        /* stays open, so that no later version gets its inode */
static bool read_before;
static char last_event[FAULTS][sizeof rules[0].word];

uint64_t hash(uint64_t h, const void *data, size_t n) /* FNV-1a */
{
	for (const unsigned char *p = data; n > 0; n--)
		h = (h ^ *p++) * 0x100000001b3ULL;
	return h;
}

static bool parse_number(const char *s, uint64_t *n)
{
	char *end;
	errno = 0;
	*n = strtoull(s, &end, 0);
	return *s >= '0' && *s <= '9' && *end == 0 && errno == 0;
}

static bool parse_duration(const char *s, uint64_t *nanoseconds)
{
	static const struct {
		const char *name;
		uint64_t size;
	} units[] = {{"us", MICROSECOND}, {"ms", MILLISECOND}, {"s", SECOND}, {"m", 60 * SECOND}};
	char *end;
	double d = strtod(s, &end);
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (*s >= '0' && *s <= '9' && d * (double)units[i].size < 1e18 && strcmp(end, units[i].name) == 0) {
			*nanoseconds = (uint64_t)(d * (double)units[i].size);
			return true;
		}
	}
	return false;
}

static bool parse_code(const char *s, uint64_t *code)
{
	static const struct {
		const char *name;
		CK_RV value;
	} codes[] = {
#define ENTRY(name, value) {"CKR_" #name, value},
		EACH_RETURN_VALUE(ENTRY)
	};
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
		if (strcmp(s, codes[i].name) == 0) {
			*code = codes[i].value;
			return true;
		}
	}
	return parse_number(s, code);
}

static bool parse_value(struct rule *r, const char *s)
{
	switch (faults[r->fault].value) {
	case DURATION:
		return parse_duration(s, &r->value);
	case NUMBER:
		return parse_number(s, &r->value);
	case CODE:
		return parse_code(s, &r->value);
	case YES:
		return strcmp(s, "yes") == 0;
	case YES_OR_FOREVER:
		r->forever = strcmp(s, "forever") == 0;
		return r->forever || strcmp(s, "yes") == 0;
	case YES_OR_CODE:
		r->value = CKR_DEVICE_REMOVED;
		return strcmp(s, "yes") == 0 || parse_code(s, &r->value);
	case WORD:
		if (r->fault == WRONG_SIGNATURE && strcmp(s, "yes") != 0 && strcmp(s, "zeros") != 0 && strcmp(s, "short") != 0 && strcmp(s, "long") != 0)
			return false;
		return snprintf(r->word, sizeof r->word, "%s", s) < (int)sizeof r->word;
	}
	return false;
}

static bool parse_option(struct rule *r, const char *s)
{
	uint64_t tag;
	if (strcmp(s, "after") == 0)
		return r->after = r->fault == RETURN;
	if (strncmp(s, "jitter:", 7) == 0)
		return r->fault == LATENCY && parse_duration(s + 7, &r->jitter);
	if (strncmp(s, "times:", 6) == 0)
		return faults[r->fault].kind == OF_CALLS && r->fault != PARALLEL && r->fault != PARALLEL_PROCESS &&
		       parse_number(s + 6, &r->times) && r->times > 0 && r->times < UINT32_MAX;
	if (strncmp(s, "every:", 6) == 0) {
		if (!parse_number(s + 6, &r->every) || r->every == 0)
			return false;
		return faults[r->fault].kind == OF_CALLS && r->fault != PARALLEL && r->fault != PARALLEL_PROCESS;
	}
	if (strncmp(s, "tag:", 4) == 0 && parse_number(s + 4, &tag)) {
		r->use = r->line; /* the count goes on when the rest of the file changes */
		r->place = tag % USES;
		return true;
	}
	return false;
}

/* parse_rule returns what is wrong with a line, or NULL. */
static const char *parse_rule(char *line, struct rule *r)
{
	char *value = strchr(line, '='), *rest;
	*r = (struct rule){.line = hash(HASH_BEGIN, line, strlen(line))};
	r->use = hash(r->line, &seen.st_ino, sizeof seen.st_ino);
	r->use = hash(r->use, &seen.st_mtim, sizeof seen.st_mtim);
	r->place = r->use % USES;
	if (value == NULL)
		return "it lacks a =";
	*value++ = 0;

	char *fault = strtok_r(line, " \t.", &rest), *function = strtok_r(NULL, " \t", &rest);
	for (r->fault = 0; r->fault < FAULTS; r->fault++)
		if (fault != NULL && strcmp(fault, faults[r->fault].name) == 0)
			break;
	if (r->fault == FAULTS)
		return "there is no such fault";
	if (function != NULL) {
		if (faults[r->fault].kind != OF_CALLS)
			return "this fault is not one of calls";
		for (r->function = 0; r->function < FUNCTIONS; r->function++)
			if (strcmp(function, function_names[r->function]) == 0)
				break;
		if (r->function == FUNCTIONS)
			return "there is no such function";
	}
	char *word = strtok_r(value, " \t\r", &rest);
	if (word == NULL || !parse_value(r, word))
		return "its value does not fit the fault";
	while ((word = strtok_r(NULL, " \t\r", &rest)) != NULL)
		if (!parse_option(r, word))
			return "it has an option that is not known or does not fit the fault";
	return NULL;
}

static void parse_control(const char *path, char *text)
{
	rule_count = 0;
	for (int number = 1; text != NULL; number++) {
		char *line = text + strspn(text, " \t\r");
		text = strchr(text, '\n');
		if (text != NULL)
			*text++ = 0;
		if (*line == 0 || *line == '#')
			continue;
		const char *mistake = "there are too many";
		if (rule_count < RULES)
			mistake = parse_rule(line, &rules[rule_count]);
		if (mistake == NULL)
			rule_count++;
		else
			complain("%s: line %d is left out: %s", path, number, mistake);
	}
}

/* changed says whether the file tells of an event that it did not tell of when
 * it was read before. */
static bool changed(enum fault event)
{
	const char *word = "";
	for (int i = 0; i < rule_count; i++)
		if (rules[i].fault == event)
			word = event == VANISH ? "yes" : rules[i].word;
	bool yes = *word != 0 && strcmp(word, last_event[event]) != 0;
	strcpy(last_event[event], word);
	return yes;
}

void read_control(void)
{
	const char *path = getenv("FAULTY_CONTROL");
	struct stat s;
	if (stat(path, &s) != 0)
		s = (struct stat){0};
	if (read_before && s.st_dev == seen.st_dev && s.st_ino == seen.st_ino && s.st_size == seen.st_size &&
	    memcmp(&s.st_mtim, &seen.st_mtim, sizeof s.st_mtim) == 0)
		return;

	static char text[16 << 10];
	ssize_t n = 0;
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file >= 0 && fstat(file, &s) == 0)
		n = pread(file, text, sizeof text - 1, 0);
	else if (s.st_ino != 0)
		n = -1;
	if (n < 0 || n == (ssize_t)sizeof text - 1) {
		complain("%s: %s", path, n < 0 ? strerror(errno) : "it is too large");
		n = 0;
	}
	text[n] = 0;
	if (file_seen >= 0)
		close(file_seen);
	file_seen = file;
	seen = s;
	parse_control(path, text);

	/* The first reading tells what happened before this process's time. */
	static const enum fault events[] = {VANISH, LOSE_SESSIONS, LOSE_LOGIN, WEDGE};
	for (size_t i = 0; i < sizeof events / sizeof *events; i++)
		if (changed(events[i]) && read_before)
			happen(events[i]);
	read_before = true;
}

/* use counts one use of a rule. It is false once that was used often enough. */
static bool use(const struct rule *r)
{
	if (r->times == 0 && r->every == 0)
		return true;
	_Atomic uint64_t *word = &ledger->uses[r->place];
	uint64_t old = atomic_load(word), new;
	do {
		uint64_t name = r->use >> 32;
		new = (old >> 32 == name ? old : name << 32) + 1;
		if (r->times != 0 && (new & UINT32_MAX) > r->times * (r->every == 0 ? 1 : r->every))
			return false;
	} while (!atomic_compare_exchange_weak(word, &old, new));
	return r->every == 0 || (new & UINT32_MAX) % r->every == 0;
}

bool find(enum fault fault, int function, struct rule *found)
{
	const int order[] = {function, ANY};
	for (int o = function == ANY; o < 2; o++) {
		for (int i = 0; i < rule_count; i++) {
			if (rules[i].fault == fault && rules[i].function == order[o] && use(&rules[i])) {
				*found = rules[i];
				return true;
			}
		}
	}
	return false;
}

bool in_force(enum fault fault, int function, struct rule *found)
{
	lock();
	read_control();
	bool yes = find(fault, function, found);
	unlock();
	return yes;
}

bool still_there(const struct rule *r)
{
	bool yes = false;
	lock();
	read_control();
	for (int i = 0; i < rule_count; i++)
		yes |= rules[i].line == r->line;
	unlock();
	return yes;
}
