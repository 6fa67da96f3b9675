/* Who is at the other end of a connection. */
#include <string.h>

#include "common/io/tls_internal.h"
#include "common/io/tls_stream.h"

struct tls_identity *tls_stream_identity(const struct tls_stream *s, const char **ret_problem)
{
	X509 *cert = SSL_get0_peer_certificate(s->ssl);
	long complaint = (long)(intptr_t)SSL_get_app_data(s->ssl); /* See on_verify_leniently(). */
	long verdict = complaint != X509_V_OK ? complaint : SSL_get_verify_result(s->ssl);
	struct tls_identity *id;

	*ret_problem = NULL;
	if (cert == NULL)
		return NULL;
	if (verdict != X509_V_OK) {
		*ret_problem = X509_verify_cert_error_string(verdict);
		return NULL;
	}
	id = tls_identity_of_x509(cert);
	if (id == NULL)
		*ret_problem = "the certificate's subject cannot be read";
	return id;
}

bool tls_stream_is_http2(const struct tls_stream *s)
{
	const unsigned char *protocol = NULL;
	unsigned int n = 0;

	SSL_get0_alpn_selected(s->ssl, &protocol, &n);
	return n == 2 && memcmp(protocol, "h2", 2) == 0;
}

void tls_stream_remote(const struct tls_stream *s, char *ret_text, size_t size)
{
	struct sockaddr_storage addr;
	int n = sizeof(addr);

	if (uv_tcp_getpeername(&s->tcp, (struct sockaddr *)&addr, &n) < 0 ||
	    uv_ip_name((struct sockaddr *)&addr, ret_text, size) < 0) {
		ret_text[0] = '\0';
	}
}
