/* The ledger: tallies, turns and uses that all processes share. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faulty.h"

struct ledger *ledger;
int me;

static int file = -1;

/* lock_byte locks (F_WRLCK) or frees (F_UNLCK) byte i of the file. A lock ends
 * with the process that has it, whatever way that ends; while another process
 * has it, lock_byte fails. */
static bool lock_byte(int i, short type)
{
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = i, .l_len = 1};
	return fcntl(file, F_OFD_SETLK, &l) == 0;
}

/* clean_up undoes what process i has left behind. Its byte is locked. */
static void clean_up(int i)
{
	struct process *p = &ledger->process[i];
	for (int f = 0; f < FUNCTIONS; f++) {
		atomic_fetch_sub(&ledger->tallies[f].at_work, atomic_exchange(&p->gauges[f].at_work, 0));
		atomic_store(&p->gauges[f].under_way, 0);
		atomic_store(&p->gauges[f].hung, 0);
		for (int t = 0; t < TURNS; t++) {
			uint32_t owner = (uint32_t)i + 1;
			atomic_compare_exchange_strong(&ledger->turns[f].owner[t], &owner, 0);
		}
	}
	atomic_store(&p->sessions, 0);
	atomic_store(&p->pid, 0);
}

void bury(void)
{
	lock(); /* two threads of one process would both get a byte's lock */
	for (int i = 0; i < PROCESSES; i++) {
		if (i == me || atomic_load(&ledger->process[i].pid) == 0 || !lock_byte(i, F_WRLCK))
			continue;
		clean_up(i);
		lock_byte(i, F_UNLCK);
	}
	unlock();
}

/* open_file opens the file at its full length, which is made of zeros at first. */
static bool open_file(const char *path)
{
	struct stat s;
	file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return file >= 0 && fstat(file, &s) == 0 &&
	       (s.st_size >= (off_t)sizeof *ledger || ftruncate(file, sizeof *ledger) == 0);
}

bool open_ledger(void)
{
	const char *control = getenv("FAULTY_CONTROL"), *stats = getenv("FAULTY_STATS");
	char path[PATH_MAX];
	if (control == NULL || *control == 0) {
		complain("FAULTY_CONTROL is not set; it names the file that says what is to fail");
		return false;
	}
	bool named = stats != NULL && *stats != 0;
	snprintf(path, sizeof path, "%s%s", named ? stats : control, named ? "" : ".stats");
	void *map = MAP_FAILED;
	if (open_file(path))
		map = mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (map == MAP_FAILED) {
		complain("%s: %s", path, strerror(errno));
		return false;
	}
	ledger = map;
	if (ledger->magic[0] != 0 && memcmp(ledger->magic, LEDGER_MAGIC, sizeof ledger->magic) != 0) {
		complain("%s is not a ledger of this module", path);
		return false;
	}
	/* Zeros are a good beginning and every process writes the same head, so
	 * none need be the first. */
	for (int f = 0; f < FUNCTIONS; f++)
		snprintf(ledger->names[f], sizeof ledger->names[f], "%s", function_names[f]);
	atomic_store(&ledger->functions, FUNCTIONS);
	atomic_store(&ledger->processes, PROCESSES);
	memcpy(ledger->magic, LEDGER_MAGIC, sizeof ledger->magic);
	for (int i = 0; i < PROCESSES; i++) {
		if (!lock_byte(i, F_WRLCK))
			continue;
		me = i;
		clean_up(i);
		atomic_store(&ledger->process[i].pid, (uint64_t)getpid());
		return true;
	}
	complain("%s: more than %d processes at once", path, PROCESSES);
	return false;
}

void leave_ledger(void)
{
	if (file >= 0)
		close(file); /* the lock stays the parent's, which has the file open */
	if (ledger != NULL)
		munmap(ledger, sizeof *ledger);
	file = -1;
	ledger = NULL;
}
