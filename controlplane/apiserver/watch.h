/* Watches: everybody who waits for changes of a kind. Loop thread only. */
#pragma once

struct apiserver;
struct watches;

struct watches *watches_create(struct apiserver *api);
/* Ends them all in order; call before the store goes. */
void watches_destroy(struct watches *w);
/* Once a second while there are watchers: deadlines and bookmarks. */
void watches_tick(struct watches *w);
