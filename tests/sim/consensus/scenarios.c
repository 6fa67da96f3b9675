#include "tests/sim/consensus/scenarios.h"

#include <stdio.h>

int scenarios_main(const char *name)
{
	(void)name;
	return 0;
}
