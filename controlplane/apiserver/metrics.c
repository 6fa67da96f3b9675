#include "controlplane/apiserver/metrics.h"

void metrics_print(struct buf *out, const struct metrics *m)
{
#define METRICS_PRINT(name, type, help)                                                            \
	buf_printf(out, "# HELP sampan_api_%s %s\n# TYPE sampan_api_%s %s\nsampan_api_%s %llu\n",  \
		   #name, help, #name, type, #name, (unsigned long long)m->name);
	METRICS(METRICS_PRINT)
#undef METRICS_PRINT
}
