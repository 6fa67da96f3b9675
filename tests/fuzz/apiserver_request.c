/* What a request says outside of its body: path, query, Accept, Content-Type, continue token. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/apiserver/continue_token.h"
#include "controlplane/apiserver/negotiate.h"
#include "controlplane/apiserver/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena arena;

	arena_init(&arena, 0);

	char *text = arena_strndup(&arena, (const char *)data, n);
	struct continue_token token;
	enum body_type type;
	struct api_path path;
	struct query query;
	struct media media;
	int64_t number;
	bool value;

	if (path_parse(&arena, text, &path, NULL) == 0 && path.type == PATH_RESOURCE &&
	    (path.resource == NULL || path.subresource == NULL))
		abort();
	if (query_parse(&arena, text, &query, NULL) == 0) {
		for (size_t i = 0; i < query.n; i++) {
			query_bool(&query, query.pairs[i].name, false, &value, NULL);
			query_int(&query, query.pairs[i].name, 0, &number, NULL);
		}
	}
	for (unsigned offer = OFFER_PLAIN; offer <= OFFER_JSON_ONLY; offer++)
		media_negotiate(&arena, text, offer, &media, NULL);
	body_type_of(text, false, &type, NULL);
	body_type_of(text, true, &type, NULL);
	if (continue_token_decode(&arena, text, &token, NULL) == 0) {
		struct continue_token again;

		if (continue_token_decode(&arena, continue_token_encode(&arena, &token), &again,
					  NULL) < 0 ||
		    again.revision != token.revision || strcmp(again.name, token.name) != 0)
			abort();
	}
	arena_fini(&arena);
	return 0;
}
