/* Preloaded, so that p11-kit does not take the program for one that root runs. */
#define _DEFAULT_SOURCE
#include <unistd.h>

uid_t getuid(void) { return 65534; }
