/* DNS messages (RFC 1035, 2782, 6891) on the wire: questions in, answers out. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "proxy/world/world.h"

#define DNS_HEADER_BYTES 12
#define DNS_NAME_MAX 255
#define DNS_UDP_BYTES 512      /* Without EDNS0. */
#define DNS_UDP_BYTES_MAX 1232 /* What we send at most and offer: no fragments on any usual path.  \
				*/
#define DNS_MESSAGE_BYTES_MAX 65535

enum dns_type {
	DNS_A = 1,
	DNS_NS = 2,
	DNS_CNAME = 5,
	DNS_SOA = 6,
	DNS_PTR = 12,
	DNS_TXT = 16,
	DNS_AAAA = 28,
	DNS_SRV = 33,
	DNS_OPT = 41,
	DNS_ANY = 255,
};

enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
};

enum { DNS_CLASS_IN = 1 };

struct dns_query {
	uint16_t id;
	uint8_t opcode;
	bool recursion_desired, edns;
	uint16_t type, class;
	size_t limit; /* Bytes the client takes in a datagram. */
	/* Lower case, no dot at the end; "" is the root. Bytes that could be mistaken (dots and
	 * NULs inside labels) are 0x01, so such a name equals none of ours. */
	char name[DNS_NAME_MAX + 1];
	/* As it was sent, inside the packet. */
	const uint8_t *question;
	size_t question_bytes;
};

/* 0: a query to be answered. -EINVAL: answer with FORMERR (id and opcode are set). -EBADMSG: not a
 * query; be silent. */
int dns_parse_query(const uint8_t *packet, size_t n, struct dns_query *ret);
/* Does a reply from upstream belong to this question and id? */
bool dns_reply_fits(const uint8_t *packet, size_t n, uint16_t id, const struct dns_query *query);

/* An answer under construction. Begin, put records in the order of sections, finish. */
struct dns_reply {
	struct buf *out;
	size_t start, limit;
	uint16_t counts[3]; /* Answer, authority, additional. */
	unsigned section;
	bool truncated, edns;
};

void dns_reply_begin(struct dns_reply *r, struct buf *out, const struct dns_query *query,
		     size_t limit);
/* Records go to the authority section (1) or the additional one (2) from now on. */
void dns_reply_section(struct dns_reply *r, unsigned section);
/* name NULL: that of the question. Records that do not fit leave TC set. */
void dns_put_address(struct dns_reply *r, const char *name, uint32_t ttl_s, const struct ip *ip);
void dns_put_name(struct dns_reply *r, const char *name, uint16_t type, uint32_t ttl_s,
		  const char *target);
void dns_put_srv(struct dns_reply *r, uint32_t ttl_s, uint16_t port, const char *target);
void dns_put_text(struct dns_reply *r, uint32_t ttl_s, const char *text);
void dns_put_soa(struct dns_reply *r, const char *zone, uint32_t ttl_s, uint32_t serial);
void dns_reply_finish(struct dns_reply *r, const struct dns_query *query, enum dns_rcode rcode,
		      bool authoritative);

/* An answer without records. */
void dns_put_error(struct buf *out, const struct dns_query *query, enum dns_rcode rcode);

/* A question of our own, id 0, recursion desired, with EDNS0. */
void dns_put_question(struct buf *out, const char *name, uint16_t type);

/* Copy the A, AAAA and CNAME records of a reply's answer section into ours, for a name that another
 * name of ours leads to. -EBADMSG: the packet cannot be read; what was copied so far stays. */
int dns_copy_answers(struct dns_reply *r, const uint8_t *packet, size_t n);
