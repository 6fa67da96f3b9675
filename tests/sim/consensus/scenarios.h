/* Scripted scenarios: for each rule of the guard that random search does not need,
 * the interleaving that goes wrong without it. */
#pragma once

#include "tests/sim/consensus/world.h"

struct scenario {
	const char *name;
	unsigned nodes;
	/* The rules to switch off, those first that hide the one meant; as "R1,R2". */
	const char *without;
	void (*run)(struct world *w);
};

extern const struct scenario scenarios[];
extern const unsigned n_scenarios;

/* Each one twice: clean with all rules, and failing without those named. Prints TAP;
 * returns the exit code. name: NULL for all. */
int scenarios_main(const char *name, bool verbose);
/* "R1,R2" as bits. */
int parse_rules(const char *text, uint32_t *ret_off);
