/* Which handler serves which stream. */
#include <string.h>

#include "controlplane/apiserver/internal.h"
#include "controlplane/apiserver/stream_target.h"

void handle_stream(struct request *r)
{
	if (strcmp(r->sub->name, "log") == 0)
		handle_log(r);
	else if (strcmp(r->sub->name, "portforward") == 0)
		handle_port_forward(r);
	else
		handle_remote(r);
}
