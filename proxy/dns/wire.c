#include "proxy/dns/wire.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/cleanup.h"

enum { FLAG_QR = 0x8000, FLAG_AA = 0x0400, FLAG_TC = 0x0200, FLAG_RD = 0x0100, FLAG_RA = 0x0080 };

struct reader {
	const uint8_t *packet;
	size_t at, n;
};

static uint16_t u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static bool read_u16(struct reader *r, uint16_t *ret)
{
	if (r->n - r->at < 2)
		return false;
	*ret = u16(r->packet + r->at);
	r->at += 2;
	return true;
}

/* --- Names ------------------------------------------------------------------ */

static void put_label_text(char *name, size_t *len, const uint8_t *label, size_t n)
{
	if (*len > 0)
		name[(*len)++] = '.';
	for (size_t i = 0; i < n; i++) {
		uint8_t c = label[i];

		name[(*len)++] = c == '.' || c == '\0' ? '\x01' : (char)tolower(c);
	}
}

/* A name, compressed or not; each pointer leads backwards, so it ends. name has room for
 * DNS_NAME_MAX + 1. */
static bool read_name(struct reader *r, char *name)
{
	size_t at = r->at, lowest = r->at, len = 0, wire = 1;
	bool jumped = false;

	for (;;) {
		if (at >= r->n)
			return false;
		uint8_t n = r->packet[at];

		if (n == 0)
			break;
		if ((n & 0xc0) == 0xc0) {
			if (r->n - at < 2)
				return false;
			size_t target = (size_t)(n & 0x3f) << 8 | r->packet[at + 1];

			if (target >= lowest)
				return false;
			if (!jumped)
				r->at = at + 2;
			jumped = true;
			at = lowest = target;
			continue;
		}
		wire += 1u + n;
		if (n > 63 || r->n - at < 1u + n || wire > DNS_NAME_MAX)
			return false;
		put_label_text(name, &len, r->packet + at + 1, n);
		at += 1u + n;
	}
	if (!jumped)
		r->at = at + 1;
	name[len] = '\0';
	return true;
}

/* Labels are at most 63 bytes in every name that is ours; what is not is cut to the root. */
static void put_wire_name(struct buf *out, const char *name)
{
	size_t start = out->len;

	while (*name != '\0') {
		size_t n = strcspn(name, ".");

		if (n == 0 || n > 63 || out->len - start + n + 2 > DNS_NAME_MAX) {
			out->len = start;
			break;
		}
		buf_put_byte(out, (uint8_t)n);
		buf_put(out, name, n);
		name += n;
		name += *name == '.';
	}
	buf_put_byte(out, 0);
}

/* --- Queries ---------------------------------------------------------------- */

static bool skip_record(struct reader *r, uint16_t *ret_type, uint16_t *ret_class)
{
	char name[DNS_NAME_MAX + 1];
	uint16_t high, low, bytes;

	if (!read_name(r, name) || !read_u16(r, ret_type) || !read_u16(r, ret_class) ||
	    !read_u16(r, &high) || !read_u16(r, &low) || !read_u16(r, &bytes) ||
	    r->n - r->at < bytes)
		return false;
	r->at += bytes;
	return true;
}

static bool read_extras(struct reader *r, unsigned n, struct dns_query *ret)
{
	for (unsigned i = 0; i < n; i++) {
		uint16_t type, class;

		if (!skip_record(r, &type, &class))
			return false;
		if (type != DNS_OPT)
			continue;
		if (ret->edns)
			return false;
		ret->edns = true;
		ret->limit = class < DNS_UDP_BYTES       ? DNS_UDP_BYTES
			     : class > DNS_UDP_BYTES_MAX ? DNS_UDP_BYTES_MAX
							 : class;
	}
	return true;
}

int dns_parse_query(const uint8_t *packet, size_t n, struct dns_query *ret)
{
	struct reader r = { packet, DNS_HEADER_BYTES, n };

	*ret = (struct dns_query){ .limit = DNS_UDP_BYTES };
	if (n < DNS_HEADER_BYTES || n > DNS_MESSAGE_BYTES_MAX || (u16(packet + 2) & FLAG_QR) != 0)
		return -EBADMSG;
	ret->id = u16(packet);
	ret->opcode = packet[2] >> 3 & 15;
	ret->recursion_desired = (u16(packet + 2) & FLAG_RD) != 0;
	if (u16(packet + 4) != 1)
		return -EINVAL;
	if (!read_name(&r, ret->name) || !read_u16(&r, &ret->type) || !read_u16(&r, &ret->class))
		return -EINVAL;
	ret->question = packet + DNS_HEADER_BYTES;
	ret->question_bytes = r.at - DNS_HEADER_BYTES;
	unsigned extras = (unsigned)u16(packet + 6) + u16(packet + 8) + u16(packet + 10);

	return read_extras(&r, extras, ret) ? 0 : -EINVAL;
}

bool dns_reply_fits(const uint8_t *packet, size_t n, uint16_t id, const struct dns_query *query)
{
	struct reader r = { packet, DNS_HEADER_BYTES, n };
	char name[DNS_NAME_MAX + 1];
	uint16_t type, class;

	if (n < DNS_HEADER_BYTES || u16(packet) != id || (u16(packet + 2) & FLAG_QR) == 0)
		return false;
	/* Some servers leave the question out when they refuse. */
	if (u16(packet + 4) == 0)
		return (packet[3] & 15) != DNS_NOERROR;
	return read_name(&r, name) && read_u16(&r, &type) && read_u16(&r, &class) &&
	       strcmp(name, query->name) == 0 && type == query->type && class == query->class;
}

/* --- Replies ---------------------------------------------------------------- */

static void put_u16(struct buf *out, uint16_t value)
{
	buf_put_byte(out, (uint8_t)(value >> 8));
	buf_put_byte(out, (uint8_t)value);
}

static void put_u32(struct buf *out, uint32_t value)
{
	put_u16(out, (uint16_t)(value >> 16));
	put_u16(out, (uint16_t)value);
}

#define OPT_BYTES 11

void dns_reply_begin(struct dns_reply *r, struct buf *out, const struct dns_query *query,
		     size_t limit)
{
	*r = (struct dns_reply){ .out = out, .start = out->len, .edns = query->edns };
	r->limit = limit - (query->edns ? OPT_BYTES : 0);
	put_u16(out, query->id);
	for (int i = 0; i < 5; i++)
		put_u16(out, 0);
	buf_put(out, query->question, query->question_bytes);
}

void dns_reply_section(struct dns_reply *r, unsigned section)
{
	r->section = section;
}

/* Everything of a record but its data; returns where its length goes. */
static size_t record_begin(struct dns_reply *r, const char *name, uint16_t type, uint32_t ttl_s)
{
	if (name == NULL)
		put_u16(r->out, 0xc000 | DNS_HEADER_BYTES);
	else
		put_wire_name(r->out, name);
	put_u16(r->out, type);
	put_u16(r->out, DNS_CLASS_IN);
	put_u32(r->out, ttl_s);
	put_u16(r->out, 0);
	return r->out->len;
}

static void record_end(struct dns_reply *r, size_t start, size_t data)
{
	size_t n = r->out->len - data;

	if (r->truncated || r->out->len - r->start > r->limit) {
		/* Additional records are only a kindness. */
		r->truncated |= r->section < 2;
		r->out->len = start;
		return;
	}
	r->out->data[data - 2] = (uint8_t)(n >> 8);
	r->out->data[data - 1] = (uint8_t)n;
	r->counts[r->section]++;
}

void dns_put_address(struct dns_reply *r, const char *name, uint32_t ttl_s, const struct ip *ip)
{
	size_t start = r->out->len;
	size_t data = record_begin(r, name, ip->len == 4 ? DNS_A : DNS_AAAA, ttl_s);

	buf_put(r->out, ip->bytes, ip->len);
	record_end(r, start, data);
}

void dns_put_name(struct dns_reply *r, const char *name, uint16_t type, uint32_t ttl_s,
		  const char *target)
{
	size_t start = r->out->len;
	size_t data = record_begin(r, name, type, ttl_s);

	put_wire_name(r->out, target);
	record_end(r, start, data);
}

void dns_put_srv(struct dns_reply *r, uint32_t ttl_s, uint16_t port, const char *target)
{
	size_t start = r->out->len;
	size_t data = record_begin(r, NULL, DNS_SRV, ttl_s);

	put_u16(r->out, 0);   /* Priority. */
	put_u16(r->out, 100); /* Weight: all alike. */
	put_u16(r->out, port);
	put_wire_name(r->out, target);
	record_end(r, start, data);
}

void dns_put_text(struct dns_reply *r, uint32_t ttl_s, const char *text)
{
	size_t start = r->out->len, n = strlen(text);
	size_t data = record_begin(r, NULL, DNS_TXT, ttl_s);

	n = n > 255 ? 255 : n;
	buf_put_byte(r->out, (uint8_t)n);
	buf_put(r->out, text, n);
	record_end(r, start, data);
}

void dns_put_soa(struct dns_reply *r, const char *zone, uint32_t ttl_s, uint32_t serial)
{
	char name[DNS_NAME_MAX + 64];
	size_t start = r->out->len;
	size_t data = record_begin(r, zone, DNS_SOA, ttl_s);

	snprintf(name, sizeof(name), "ns.dns.%s", zone);
	put_wire_name(r->out, name);
	snprintf(name, sizeof(name), "hostmaster.%s", zone);
	put_wire_name(r->out, name);
	put_u32(r->out, serial);
	put_u32(r->out, 7200);
	put_u32(r->out, 1800);
	put_u32(r->out, 86400);
	put_u32(r->out, ttl_s); /* How long "no" may be remembered. */
	record_end(r, start, data);
}

static void put_opt(struct dns_reply *r)
{
	buf_put_byte(r->out, 0);
	put_u16(r->out, DNS_OPT);
	put_u16(r->out, DNS_UDP_BYTES_MAX);
	put_u32(r->out, 0);
	put_u16(r->out, 0);
	r->counts[2]++;
}

static void set_u16(struct dns_reply *r, size_t at, uint16_t value)
{
	r->out->data[r->start + at] = (uint8_t)(value >> 8);
	r->out->data[r->start + at + 1] = (uint8_t)value;
}

void dns_reply_finish(struct dns_reply *r, const struct dns_query *query, enum dns_rcode rcode,
		      bool authoritative)
{
	uint16_t flags = (uint16_t)(FLAG_QR | FLAG_RA | rcode | query->opcode << 11);

	flags |= authoritative ? FLAG_AA : 0;
	flags |= r->truncated ? FLAG_TC : 0;
	flags |= query->recursion_desired ? FLAG_RD : 0;
	if (r->edns)
		put_opt(r);
	set_u16(r, 2, flags);
	set_u16(r, 4, query->question_bytes > 0);
	for (unsigned i = 0; i < 3; i++)
		set_u16(r, 6 + 2 * i, r->counts[i]);
}

void dns_put_error(struct buf *out, const struct dns_query *query, enum dns_rcode rcode)
{
	struct dns_reply r;

	dns_reply_begin(&r, out, query, DNS_MESSAGE_BYTES_MAX);
	dns_reply_finish(&r, query, rcode, false);
}

void dns_put_question(struct buf *out, const char *name, uint16_t type)
{
	struct dns_reply r = { .out = out };
	static const uint16_t header[6] = { 0, FLAG_RD, 1, 0, 0, 1 };

	for (size_t i = 0; i < array_size(header); i++)
		put_u16(out, header[i]);
	put_wire_name(out, name);
	put_u16(out, type);
	put_u16(out, DNS_CLASS_IN);
	put_opt(&r);
}

/* --- Copying ---------------------------------------------------------------- */

static bool copy_record(struct dns_reply *to, struct reader *r)
{
	char name[DNS_NAME_MAX + 1], target[DNS_NAME_MAX + 1];
	uint16_t type, class, high, low, bytes;
	struct ip ip = { 0 };

	if (!read_name(r, name) || !read_u16(r, &type) || !read_u16(r, &class) ||
	    !read_u16(r, &high) || !read_u16(r, &low) || !read_u16(r, &bytes) ||
	    r->n - r->at < bytes)
		return false;
	struct reader data = { r->packet, r->at, r->n };
	uint32_t ttl_s = (uint32_t)high << 16 | low;

	r->at += bytes;
	if (class != DNS_CLASS_IN)
		return true;
	if ((type == DNS_A && bytes == 4) || (type == DNS_AAAA && bytes == 16)) {
		ip.len = (uint8_t)bytes;
		memcpy(ip.bytes, r->packet + data.at, bytes);
		dns_put_address(to, name, ttl_s, &ip);
	} else if (type == DNS_CNAME) {
		if (!read_name(&data, target))
			return false;
		dns_put_name(to, name, DNS_CNAME, ttl_s, target);
	}
	return true;
}

int dns_copy_answers(struct dns_reply *to, const uint8_t *packet, size_t n)
{
	struct reader r = { packet, DNS_HEADER_BYTES, n };
	char name[DNS_NAME_MAX + 1];
	uint16_t type, class;

	if (n < DNS_HEADER_BYTES)
		return -EBADMSG;
	for (unsigned i = 0; i < u16(packet + 4); i++) {
		if (!read_name(&r, name) || !read_u16(&r, &type) || !read_u16(&r, &class))
			return -EBADMSG;
	}
	for (unsigned i = 0; i < u16(packet + 6); i++) {
		if (!copy_record(to, &r))
			return -EBADMSG;
	}
	return 0;
}
