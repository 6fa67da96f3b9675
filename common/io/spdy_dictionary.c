#include <assert.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/io/spdy.h"

/* Words with their lengths, then plain text, as the specification lists them. */
const uint8_t *spdy_dictionary(unsigned *ret_len)
{
	/* clang-format off */
	static const char *const words[] = {
		"options", "head", "post", "put", "delete", "trace", "accept", "accept-charset",
		"accept-encoding", "accept-language", "accept-ranges", "age", "allow",
		"authorization", "cache-control", "connection", "content-base", "content-encoding",
		"content-language", "content-length", "content-location", "content-md5",
		"content-range", "content-type", "date", "etag", "expect", "expires", "from",
		"host", "if-match", "if-modified-since", "if-none-match", "if-range",
		"if-unmodified-since", "last-modified", "location", "max-forwards", "pragma",
		"proxy-authenticate", "proxy-authorization", "range", "referer", "retry-after",
		"server", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "vary",
		"via", "warning", "www-authenticate", "method", "get", "status", "200 OK",
		"version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin",
	};
	/* clang-format on */
	static const char text[] =
		"100101201202205206300302303304305306307402405406407408409410411412413414415416417"
		"502504505203 Non-Authoritative Information204 No Content301 Moved Permanently400 "
		"Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 "
		"Not "
		"Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec "
		"00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, "
		"GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/"
		"xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,"
		"sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
	static uint8_t made[1423];
	static unsigned len;

	if (len == 0) {
		struct buf b = { 0 };

		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
			buf_put(&b, "\0\0", 3);
			buf_put_byte(&b, (uint8_t)strlen(words[i]));
			buf_put_str(&b, words[i]);
		}
		buf_put_str(&b, text);
		assert(b.len == sizeof(made));
		memcpy(made, b.data, b.len);
		len = sizeof(made);
		buf_fini(&b);
	}
	*ret_len = len;
	return made;
}
