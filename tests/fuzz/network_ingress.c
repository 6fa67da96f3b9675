/* Packed Ingresses, classes and certificates as masters may send them become maps, commands and a
 * configuration; and whatever HAProxy may say. The first byte chooses. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "proxy/ingress/answers.h"
#include "proxy/ingress/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void hear(const uint8_t *data, size_t n)
{
	auto_with(answers_fini) struct answers a = { 0 };
	auto_with(buf_fini) struct buf answer = { 0 };

	for (size_t at = 0; at < n; at += 7) {
		if (answers_put(&a, data + at, n - at < 7 ? n - at : 7) < 0)
			return;
		while (answers_next(&a, &answer))
			answer_is_good(buf_cstr(&answer), "chang");
	}
}

/* Nothing from outside may begin a line of the configuration. */
static void check_lines(struct buf *text)
{
	for (char *save, *line = strtok_r((char *)text->data, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, "    ", 4) != 0 && strncmp(line, "backend slot_", 13) != 0 &&
		    strncmp(line, "frontend http", 13) != 0 && strcmp(line, "global") != 0 &&
		    strcmp(line, "defaults") != 0 && line[0] != '#')
			abort();
	}
}

static void serve(struct world *w)
{
	auto_with(model_fini) struct model m = { 0 };
	auto_with(running_fini) struct running r = { 0 };
	auto_with(commands_fini) struct commands c = { 0 };
	auto_with(buf_fini) struct buf text = { 0 };
	struct config_settings settings = { .dir = "/d", .http_port = 80, .https_port = 443 };

	model_build(&m, w);
	running_rebuild(&r, &m);
	if (!running_follow(&r, &m, "/d", &c) || c.n != 0)
		abort(); /* It is there already. */
	config_print(&text, &r, &settings);
	buf_cstr(&text);
	check_lines(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const resources[] = { "ingresses.networking.k8s.io",
						 "ingressclasses.networking.k8s.io", "secrets" };
	auto_with(world_fini) struct world w = { 0 };

	if (n == 0 || data[0] % 4 == 3) {
		hear(data, n);
		return 0;
	}
	world_init(&w);
	w.with_ingress = true;

	/* One Ingress without a class of its own belongs to a class called "". */
	static const uint8_t ours[] = "\x12\x13\x0a\x11sampan.io/ingress";
	struct bytes class = { ours, sizeof(ours) - 1 };
	struct bytes packed = { data + 1, n - 1 };

	world_apply(&w, "ingressclasses.networking.k8s.io", "", "", &class, NULL);
	world_apply(&w, resources[data[0] % 4], "d", "x", &packed, NULL);
	serve(&w);
	return 0;
}
