/* Heads of HTTP/1 requests and responses. What is accepted must not hold anything that a second
 * parser could read as the end of a line or of a message. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/alloc.h"
#include "common/io/h1_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *s)
{
	for (; *s != '\0'; s++) {
		if ((unsigned char)*s < 0x20 && *s != '\t')
			abort();
	}
}

static void check(const struct h1_head *h)
{
	int lengths = 0, codings = 0;

	for (size_t i = 0; i < h->n_headers; i++) {
		check_text(h->headers[i].name);
		check_text(h->headers[i].value);
		lengths += strcasecmp(h->headers[i].name, "content-length") == 0;
		codings += strcasecmp(h->headers[i].name, "transfer-encoding") == 0;
	}
	if (lengths + codings > 1 || (lengths == 1) != (h->content_length >= 0) ||
	    (codings == 1) != h->chunked)
		abort();
}

static void parse(const uint8_t *data, size_t n, bool request)
{
	char *text = xmemdup(data, n);
	struct h1_head head;
	int refused =
		request ? h1_parse_request(text, n, &head) : h1_parse_response(text, n, &head);

	if (refused == 0) {
		check(&head);
		if (request && (head.target[0] != '/' || strpbrk(head.target, " \t#") != NULL))
			abort();
	} else if (refused < 400 || refused > 599) {
		abort();
	}
	free(head.headers);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char decoded[4097];
	size_t n = h1_head_length(data, size, 0);

	/* Wherever the bytes were cut before, the same end is found. */
	for (size_t seen = 0; seen < size && seen < 64; seen++) {
		if (h1_head_length(data, seen, 0) == 0 && h1_head_length(data, size, seen) != n)
			abort();
	}
	if (size <= 4096)
		http_percent_decode((const char *)data, size, true, decoded);
	if (n == 0)
		return 0;
	parse(data, n, true);
	parse(data, n, false);
	return 0;
}
