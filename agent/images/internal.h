/* What store.c and pulls.c share and nobody else includes. */
#pragma once

#include <uv.h>

#include "agent/images/images.h"
#include "agent/images/reference.h"
#include "common/base/list.h"

#define REFS_MAX 10000

/* Least recently resolved first, in the file too. */
struct ref {
	struct list link;
	char *name; /* As normalised. */
	char digest[DIGEST_SIZE];
};

struct images {
	uv_loop_t *loop;
	char *dir, *pull_path, *ca_path;
	char **insecure; /* Ends with NULL. */
	struct list refs;
	size_t n_refs;
	/* struct pull_process of pulls.c, in order of arrival. */
	struct list pulls;
	unsigned n_running;
	unsigned next_work; /* Numbers the directories below DIR/tmp. */
	/* Removals under way, and what waits for the end. */
	unsigned n_removals;
	bool closing;
	void (*on_closed)(void *arg);
	void *on_closed_arg;
};

/* Remember which image a name stands for. */
void images_put_ref(struct images *images, const char *name, const char *digest);
/* The image of a known name if it is here whole; the caller unrefs. */
struct image *images_find(struct images *images, const char *name);
/* The same with the digest as it would be shown under name. */
struct image *images_load(struct images *images, const struct reference *ref, const char *digest);
/* Delete a tree below DIR/tmp on a worker thread; takes path over. */
void images_remove_later(struct images *images, char *path);
/* Tell who closes once nothing is under way any more. */
void images_check_closed(struct images *images);
/* End everything that runs. */
void pulls_cancel_all(struct images *images);
