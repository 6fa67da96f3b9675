/* Images that no pod uses go when the disk is nearly full: at 85 % of it, the least recently used
 * first, down to 80 %. Looked at every five minutes. Loop thread only. */
#pragma once

struct agent;
struct collector;

/* For the life of the process. */
struct collector *collector_start(struct agent *a);
