/* Questions in, answers out, as text; and what hostile packets do. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "common/base/source.h"
#include "proxy/dns/names.h"
#include "proxy/dns/upstream.h"
#include "tests/unit/proxy/support.h"

static const char *const objects[] = {
	"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"namespace\":\"d\",\"name\":\"web\"},\"spec\":{\"clusterIP\":\"10.96.0.1\","
	"\"clusterIPs\":[\"10.96.0.1\",\"fd00::1\"],\"ports\":[{\"name\":\"http\",\"port\":80},{\"name\":\"dns\",\"port\":53,\"protocol\":\"UDP\"}]}}",
	"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"namespace\":\"d\",\"name\":\"db\"},\"spec\":{\"clusterIP\":\"None\",\"ports\":[{\"name\":\"sql\",\"port\":5432}]}}",
	"{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"namespace\":\"d\",\"name\":\"db-x\",\"labels\":{\"kubernetes.io/service-name\":\"db\"}},"
	"\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"sql\",\"port\":5432}],\"endpoints\":[{\"addresses\":[\"10.244.1.2\"],\"hostname\":\"db-0\"},"
	"{\"addresses\":[\"10.244.2.2\"]},{\"addresses\":[\"10.244.3.2\"],\"hostname\":\"db-2\",\"conditions\":{\"ready\":false}}]}",
	"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"namespace\":\"d\",\"name\":\"void\"},\"spec\":{\"clusterIP\":\"None\"}}",
	"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"namespace\":\"d\",\"name\":\"out\"},\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"WWW.example.com\"}}",
	"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"namespace\":\"d\",\"name\":\"alias\"},\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"web.d.svc.cluster.local.\"}}",
	"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"namespace\":\"d\",\"name\":\"loop\"},\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"loop.d.svc.cluster.local\"}}",
	"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"namespace\":\"e\",\"name\":\"early\"},\"spec\":{\"clusterIP\":\"None\",\"publishNotReadyAddresses\":true}}",
	"{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"namespace\":\"e\",\"name\":\"early-x\",\"labels\":{\"kubernetes.io/service-name\":\"early\"}},"
	"\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":[\"10.244.4.2\"],\"conditions\":{\"ready\":false}}]}",
};

#define Z ".cluster.local"
#define SVC ".svc" Z

static const struct {
	const char *name;
	uint16_t type;
	const char *want;
} cases[] = {
	{ "web.d" SVC, DNS_A, "ok A 10.96.0.1" },
	{ "WEB.D.Svc.Cluster.LOCAL", DNS_A, "ok A 10.96.0.1" },
	{ "web.d" SVC, DNS_AAAA, "ok AAAA fd00::1" },
	{ "web.d" SVC, DNS_TXT, "ok soa" },
	{ "web.d" SVC, DNS_SRV, "ok SRV 80 web.d" SVC " SRV 53 web.d" SVC },
	{ "_http._tcp.web.d" SVC, DNS_SRV, "ok SRV 80 web.d" SVC },
	{ "_http._udp.web.d" SVC, DNS_SRV, "nx soa" },
	{ "_http._tcp.web.d" SVC, DNS_A, "ok soa" },
	{ "x.web.d" SVC, DNS_A, "nx soa" },
	{ "no.d" SVC, DNS_A, "nx soa" },
	{ "web.e" SVC, DNS_A, "nx soa" },
	{ "d" SVC, DNS_A, "ok soa" },
	{ "nothing" SVC, DNS_A, "nx soa" },
	{ "svc" Z, DNS_A, "ok soa" },
	{ "cluster.local", DNS_SOA, "ok SOA" },
	{ "cluster.local", DNS_A, "ok soa" },
	{ "db.d" SVC, DNS_A, "ok A 10.244.1.2 A 10.244.2.2" },
	{ "db.d" SVC, DNS_AAAA, "ok soa" },
	{ "db-0.db.d" SVC, DNS_A, "ok A 10.244.1.2" },
	{ "10-244-2-2.db.d" SVC, DNS_A, "ok A 10.244.2.2" },
	{ "db-2.db.d" SVC, DNS_A, "nx soa" },
	{ "_sql._tcp.db.d" SVC, DNS_SRV, "ok SRV 5432 db-0.db.d" SVC " SRV 5432 10-244-2-2.db.d" SVC },
	{ "void.d" SVC, DNS_A, "nx soa" },
	{ "early.e" SVC, DNS_A, "ok A 10.244.4.2" },
	{ "out.d" SVC, DNS_A, "leads to www.example.com" },
	{ "out.d" SVC, DNS_CNAME, "ok CNAME www.example.com" },
	{ "alias.d" SVC, DNS_A, "ok CNAME web.d" SVC " A 10.96.0.1" },
	{ "loop.d" SVC, DNS_A, "ok CNAME loop.d" SVC " CNAME loop.d" SVC " CNAME loop.d" SVC " CNAME loop.d" SVC
		" CNAME loop.d" SVC " CNAME loop.d" SVC " CNAME loop.d" SVC " CNAME loop.d" SVC },
	{ "10-244-9-9.d.pod" Z, DNS_A, "ok A 10.244.9.9" },
	{ "10-244-9-9.nothing.pod" Z, DNS_A, "nx soa" },
	{ "x.d.pod" Z, DNS_A, "nx soa" },
	{ "dns-version" Z, DNS_TXT, "ok TXT 1.1.0" },
	{ "ns.dns" Z, DNS_A, "ok A 10.96.0.10" },
	{ "example.com.d" SVC, DNS_A, "nx soa" },
	{ "a.b.c.d.e.f.g.h" Z, DNS_A, "nx soa" },
	{ "1.0.96.10.in-addr.arpa", DNS_PTR, "ok PTR web.d" SVC },
	{ "2.1.244.10.in-addr.arpa", DNS_PTR, "ok PTR db-0.db.d" SVC },
	{ "9.9.96.10.in-addr.arpa", DNS_PTR, "nx soa" },
	{ "1.1.168.192.in-addr.arpa", DNS_PTR, "not ours" },
	{ "example.com", DNS_A, "not ours" },
	{ "xcluster.local", DNS_A, "not ours" },
	{ "local", DNS_A, "not ours" },
};

static struct world world;
static struct names names;

static int setup(void **state)
{
	world_init(&world);
	world_full_begin(&world);
	for (size_t i = 0; i < array_size(objects); i++)
		support_put(&world, objects[i]);
	world_full_end(&world);
	names = (struct names){
		.world = &world,
		.zone = "cluster.local",
		.service_base = 0x0a600000, .service_mask = 0xfff00000,
		.pod_base = 0x0af40000, .pod_mask = 0xffff0000,
	};
	ip_parse("10.96.0.10", &names.address);
	return 0;
}

static int teardown(void **state)
{
	world_fini(&world);
	return 0;
}

/* --- Packets to text --------------------------------------------------------- */

struct cursor {
	const uint8_t *packet;
	size_t at, n;
};

static unsigned take16(struct cursor *c)
{
	assert_true(c->at + 2 <= c->n);
	c->at += 2;
	return (unsigned)c->packet[c->at - 2] << 8 | c->packet[c->at - 1];
}

/* Written anew, so that an error in wire.c's reader does not hide one in its writer. */
static void take_name(struct cursor *c, char *text)
{
	size_t at = c->at, len = 0;
	bool jumped = false;

	for (;;) {
		assert_true(at < c->n);
		uint8_t n = c->packet[at];

		if ((n & 0xc0) == 0xc0) {
			if (!jumped)
				c->at = at + 2;
			jumped = true;
			at = (size_t)(n & 0x3f) << 8 | c->packet[at + 1];
			continue;
		}
		if (n == 0)
			break;
		if (len > 0)
			text[len++] = '.';
		memcpy(text + len, c->packet + at + 1, n);
		len += n;
		at += 1u + n;
	}
	if (!jumped)
		c->at = at + 1;
	text[len] = '\0';
}

static void print_record(struct cursor *c, struct buf *out, bool authority)
{
	char name[512], text[512];

	take_name(c, name);
	unsigned type = take16(c);

	if (type == DNS_OPT) {
		c->at += 6;
		c->at += take16(c);
		return;
	}
	assert_int_equal(take16(c), DNS_CLASS_IN);
	c->at += 4;
	unsigned n = take16(c);
	struct cursor data = *c;

	c->at += n;
	assert_true(c->at <= c->n);
	if (authority) {
		buf_put_str(out, type == DNS_SOA ? " soa" : " ?");
	} else if (type == DNS_A || type == DNS_AAAA) {
		inet_ntop(type == DNS_A ? AF_INET : AF_INET6, c->packet + data.at, text, sizeof(text));
		buf_printf(out, " %s %s", type == DNS_A ? "A" : "AAAA", text);
	} else if (type == DNS_SRV) {
		data.at += 4;
		unsigned port = take16(&data);

		take_name(&data, text);
		buf_printf(out, " SRV %u %s", port, text);
	} else if (type == DNS_CNAME || type == DNS_PTR) {
		take_name(&data, text);
		buf_printf(out, " %s %s", type == DNS_CNAME ? "CNAME" : "PTR", text);
	} else if (type == DNS_TXT) {
		buf_printf(out, " TXT %.*s", c->packet[data.at], (const char *)c->packet + data.at + 1);
	} else {
		buf_put_str(out, type == DNS_SOA ? " SOA" : " ?");
	}
}

static void print_reply(const struct buf *reply, struct buf *out)
{
	struct cursor c = { reply->data, 2, reply->len };
	unsigned flags = take16(&c), counts[4];
	char name[512];

	buf_put_str(out, (flags & 15) == 0 ? "ok" : (flags & 15) == 3 ? "nx" : "error");
	if ((flags & 0x0200) != 0)
		buf_put_str(out, " truncated");
	for (int i = 0; i < 4; i++)
		counts[i] = take16(&c);
	assert_int_equal(counts[0], 1);
	take_name(&c, name);
	c.at += 4;
	for (int section = 1; section < 4; section++) {
		for (unsigned i = 0; i < counts[section]; i++)
			print_record(&c, out, section == 2);
	}
	assert_int_equal(c.at, c.n);
}

static void make_query(struct buf *out, const char *name, uint16_t type)
{
	dns_put_question(out, name, type);
}

static enum names_result ask(const char *name, uint16_t type, size_t limit, uint32_t rotate,
	struct buf *reply, char *target)
{
	auto_with(buf_fini) struct buf packet = { 0 };
	struct dns_query query;

	make_query(&packet, name, type);
	assert_int_equal(dns_parse_query(packet.data, packet.len, &query), 0);
	return names_answer(&names, &query, limit, rotate, reply, target);
}

static void test_names(void **state)
{
	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(buf_fini) struct buf reply = { 0 }, text = { 0 };
		char target[DNS_NAME_MAX + 1];

		switch (ask(cases[i].name, cases[i].type, 1232, 0, &reply, target)) {
		case NAMES_ANSWERED: print_reply(&reply, &text); break;
		case NAMES_NOT_OURS: buf_put_str(&text, "not ours"); break;
		case NAMES_LEADS_OUT: buf_printf(&text, "leads to %s", target); break;
		}
		if (strcmp(buf_cstr(&text), cases[i].want) != 0)
			fail_msg("%s type %u: %s", cases[i].name, cases[i].type, buf_cstr(&text));
	}
}

static void test_rotation(void **state)
{
	auto_with(buf_fini) struct buf reply = { 0 }, text = { 0 };

	ask("db.d" SVC, DNS_A, 1232, 1, &reply, NULL);
	print_reply(&reply, &text);
	assert_string_equal(buf_cstr(&text), "ok A 10.244.2.2 A 10.244.1.2");
}

static void test_truncation(void **state)
{
	auto_with(buf_fini) struct buf reply = { 0 }, text = { 0 };

	ask("db.d" SVC, DNS_A, 80, 0, &reply, NULL);
	assert_true(reply.len <= 80);
	print_reply(&reply, &text);
	assert_non_null(strstr(buf_cstr(&text), "truncated"));
}

/* Before everything is known, no name may be denied. */
static void test_not_synced(void **state)
{
	auto_with(buf_fini) struct buf reply = { 0 }, text = { 0 };

	world.synced = false;
	ask("web.d" SVC, DNS_A, 1232, 0, &reply, NULL);
	world.synced = true;
	print_reply(&reply, &text);
	assert_string_equal(buf_cstr(&text), "error");
}

static void test_case_is_kept(void **state)
{
	auto_with(buf_fini) struct buf reply = { 0 };

	ask("wEb.D" SVC, DNS_A, 1232, 0, &reply, NULL);
	assert_memory_equal(reply.data + 13, "wEb", 3);
}

static void test_hostile(void **state)
{
	struct seeded_source source;
	auto_with(buf_fini) struct buf good = { 0 };
	struct dns_query query;

	seeded_source_init(&source, 7);
	make_query(&good, "_http._tcp.web.d" SVC, DNS_SRV);
	assert_int_equal(dns_parse_query(good.data, 11, &query), -EBADMSG);
	for (size_t n = 12; n < good.len; n++)
		assert_int_equal(dns_parse_query(good.data, n, &query), -EINVAL);
	for (int i = 0; i < 20000; i++) {
		auto_with(buf_fini) struct buf reply = { 0 };
		uint8_t packet[300];
		char target[DNS_NAME_MAX + 1];
		size_t n = good.len;

		memcpy(packet, good.data, n);
		for (int j = 0; j < 3; j++)
			packet[source_random_below(&source.base, n)] =
				(uint8_t)source_random_u64(&source.base);
		if (dns_parse_query(packet, n, &query) == 0)
			names_answer(&names, &query, 512, 0, &reply, target);
	}
	/* A name that points at itself. */
	static const uint8_t loop[] = { 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1 };
	/* A label with a dot in it is not two labels. */
	static const uint8_t dot[] = { 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 'a', '.', 'b', 0, 0, 1, 0, 1 };

	assert_int_equal(dns_parse_query(loop, sizeof(loop), &query), -EINVAL);
	assert_int_equal(dns_parse_query(dot, sizeof(dot), &query), 0);
	assert_string_equal(query.name, "a\x01"
					"b");
}

static void test_replies_must_fit(void **state)
{
	auto_with(buf_fini) struct buf packet = { 0 };
	struct dns_query query;

	make_query(&packet, "a.example", DNS_A);
	packet.data[0] = 0x12;
	packet.data[1] = 0x34;
	assert_int_equal(dns_parse_query(packet.data, packet.len, &query), 0);
	assert_false(dns_reply_fits(packet.data, packet.len, 0x1234, &query));
	packet.data[2] |= 0x80;
	assert_true(dns_reply_fits(packet.data, packet.len, 0x1234, &query));
	assert_false(dns_reply_fits(packet.data, packet.len, 0x1235, &query));
	packet.data[13] = 'A';
	assert_true(dns_reply_fits(packet.data, packet.len, 0x1234, &query));
	packet.data[13] = 'x';
	assert_false(dns_reply_fits(packet.data, packet.len, 0x1234, &query));
}

static void test_upstreams(void **state)
{
	struct upstreams u = { 0 };

	ip_parse("169.254.20.10", &u.own[0]);
	assert_true(upstreams_add(&u, "1.2.3.4"));
	assert_true(upstreams_add(&u, "1.2.3.4:5353"));
	assert_true(upstreams_add(&u, "[fd00::1]:54"));
	assert_false(upstreams_add(&u, "169.254.20.10"));
	assert_false(upstreams_add(&u, "1.2.3"));
	assert_false(upstreams_add(&u, "1.2.3.4:"));
	assert_false(upstreams_add(&u, "1.2.3.4:99999"));
	assert_false(upstreams_add(&u, "[fd00::1"));
	assert_true(upstreams_add(&u, "fd00::2"));
	assert_false(upstreams_add(&u, "1.2.3.5"));
	assert_int_equal(u.n, 4);
	assert_int_equal(((struct sockaddr_in *)&u.items[1])->sin_port, htons(5353));
	assert_int_equal(((struct sockaddr_in6 *)&u.items[2])->sin6_port, htons(54));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),      cmocka_unit_test(test_rotation),
		cmocka_unit_test(test_truncation), cmocka_unit_test(test_not_synced),
		cmocka_unit_test(test_case_is_kept), cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_replies_must_fit), cmocka_unit_test(test_upstreams),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
