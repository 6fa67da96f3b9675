/* Shared by remote_streams.c and port_forward.c only. */
#pragma once

#include <stdbool.h>

#include "common/io/exchange.h"

/* Agree on this X-Stream-Protocol-Version, or answer 403 and return false. */
bool remote_choose_protocol(struct exchange *x, const char *wanted);
/* Answer 400 to a request without an upgrade. */
void remote_refuse_plain(struct exchange *x);
