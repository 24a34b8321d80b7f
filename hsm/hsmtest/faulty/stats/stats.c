/*
 * Prints the tallies of a faulty module's ledger.
 *
 *     cc -o faulty-stats stats.c && ./faulty-stats control.stats
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../faulty.h"

int main(int argc, char **argv)
{
	static struct ledger l;
	FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
	if (file == NULL || fread(&l, sizeof l, 1, file) != 1 || memcmp(l.magic, LEDGER_MAGIC, sizeof l.magic) != 0) {
		fprintf(stderr, "usage: %s FILE, with what $FAULTY_STATS names (or $FAULTY_CONTROL, with .stats behind it)\n", argv[0]);
		return 2;
	}
	printf("%-24s%10s%10s%14s\n", "function", "made", "faulted", "most at once");
	for (int f = 0; f < FUNCTIONS; f++) {
		struct tally *t = &l.tallies[f];
		if (t->made > 0)
			printf("%-24s%10" PRIu64 "%10" PRIu64 "%14" PRIu64 "\n", l.names[f], t->made, t->faulted, t->most);
	}
	return 0;
}
