#include "controlplane/trust/bootstrap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/crypto.h>

#include "common/api/json.h"
#include "common/api/json_text.h"
#include "common/api/kinds.h"
#include "common/api/make.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/ingress/ingress.h"
#include "common/io/cert_names.h"
#include "controlplane/trust/internal.h"
#include "controlplane/writes/writes.h"
#include "proto/k8s/core_v1.pb-c.h"
#include "proto/k8s/networking_v1.pb-c.h"
#include "proto/k8s/storage_v1.pb-c.h"
#include "proto/sampan/master.pb-c.h"

#define WRITE_TIMEOUT_MS 10000
#define FILE_BYTES_MAX (64 * 1024)
#define FIRST_OBJECTS_MAX 32

static const char *const key_files[] = { "ca.crt", "ca.key", "service-accounts.key" };

struct first_object {
	const struct kind *kind;
	const char *namespace, *name;
	struct bytes packed;
};

/* Objects are written one after the other, in order: a namespace before what lives in it, the
 * data key before what it seals. */
struct bootstrap {
	struct arena arena;
	struct writes *writes;
	char *dir;
	struct first_object objects[FIRST_OBJECTS_MAX];
	size_t n_objects, next;
	void (*done)(void *ctx, const struct status *st);
	void *ctx;
};

bool bootstrap_pending(const char *dir)
{
	struct stat sb;

	return dir != NULL && stat(dir, &sb) == 0 && S_ISDIR(sb.st_mode);
}

static void add(struct bootstrap *b, const char *resource, const char *namespace, const char *name,
		const void *message)
{
	if (b->n_objects == FIRST_OBJECTS_MAX)
		abort();
	b->objects[b->n_objects++] = (struct first_object){
		.kind = kind_of_resource(resource),
		.namespace = namespace,
		.name = name,
		.packed = pack_message_in(&b->arena, message),
	};
}

/* The object as JSON, the form people know it in; broken JSON here is a bug. */
static void add_json(struct bootstrap *b, const char *resource, const char *namespace,
		     const char *name, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static void add_json(struct bootstrap *b, const char *resource, const char *namespace,
		     const char *name, const char *fmt, ...)
{
	const struct kind *kind = kind_of_resource(resource);
	struct status st = { 0 };
	void *message;
	va_list args;

	va_start(args, fmt);
	char *rest = arena_vprintf(&b->arena, fmt, args);
	va_end(args);
	char *text = arena_printf(&b->arena, "{\"metadata\":{\"name\":\"%s\"%s%s%s},%s}", name,
				  namespace[0] ? ",\"namespace\":\"" : "", namespace,
				  namespace[0] ? "\"" : "", rest);
	if (json_read_message(kind->descriptor, bytes_str(text), &b->arena, NULL, &message, &st) <
	    0) {
		log_error("the first state is broken", "object=%s/%s why=%s", resource, name,
			  log_quote(st.message));
		abort();
	}
	add(b, resource, namespace, name, message);
}

static CoreV1__Secret__DataEntry *entry(struct bootstrap *b, const char *key, struct bytes value)
{
	CoreV1__Secret__DataEntry *e = arena_new(&b->arena, CoreV1__Secret__DataEntry);

	core_v1__secret__data_entry__init(e);
	e->key = (char *)key;
	e->has_value = true;
	e->value = (ProtobufCBinaryData){ value.len, (uint8_t *)value.data };
	return e;
}

static void add_secret(struct bootstrap *b, const char *name, const char *type,
		       CoreV1__Secret__DataEntry **data, size_t n)
{
	CoreV1__Secret secret = CORE_V1__SECRET__INIT;
	MetaV1__ObjectMeta meta = META_V1__OBJECT_META__INIT;

	meta.name = (char *)name;
	meta.namespace_ = (char *)"kube-system";
	secret.metadata = &meta;
	secret.type = (char *)type;
	secret.data = data;
	secret.n_data = n;
	add(b, "secrets", "kube-system", name, &secret);
}

static int key_file(struct bootstrap *b, const char *name, struct bytes *ret, struct status *st)
{
	char *path = arena_printf(&b->arena, "%s/%s", b->dir, name);
	struct buf text = { 0 };
	int rc = file_read(path, FILE_BYTES_MAX, &text, st);

	if (rc == 0)
		*ret = bytes_of(arena_memdup(&b->arena, text.data, text.len), text.len);
	if (text.len > 0)
		OPENSSL_cleanse(text.data, text.len);
	buf_fini(&text);
	return rc;
}

static void add_data_key(struct bootstrap *b, const struct bootstrap_config *c)
{
	static const char aad[] = "kube-system/" TRUST_DATA_KEY_SECRET "/key";
	uint8_t key[DATA_KEY_BYTES];

	c->source->random(c->source, key, sizeof(key));
	struct bytes sealed =
		seal_value(c->kek, 0, bytes_str(aad), bytes_of(key, sizeof(key)), &b->arena);
	OPENSSL_cleanse(key, sizeof(key));
	CoreV1__Secret__DataEntry *data[] = { entry(b, "key", sealed) };
	add_secret(b, TRUST_DATA_KEY_SECRET, "sampan.io/data-key", data, 1);
}

static int add_keys(struct bootstrap *b, struct bytes *ret_ca, struct status *st)
{
	struct bytes files[3];

	for (size_t i = 0; i < array_size(key_files); i++) {
		int rc = key_file(b, key_files[i], &files[i], st);
		if (rc < 0)
			return rc;
	}
	CoreV1__Secret__DataEntry *ca[] = { entry(b, "tls.crt", files[0]),
					    entry(b, "tls.key", files[1]) };
	CoreV1__Secret__DataEntry *sa[] = { entry(b, "key.pem", files[2]) };
	add_secret(b, TRUST_CA_SECRET, "sampan.io/ca", ca, 2);
	add_secret(b, TRUST_SA_SECRET, "sampan.io/service-account-key", sa, 1);
	*ret_ca = files[0];
	return 0;
}

static const char *json_text(struct bootstrap *b, struct bytes text)
{
	struct buf out = { 0 };

	json_put_string(&out, (const char *)text.data, text.len);
	char *copy = arena_strndup(&b->arena, (char *)out.data, out.len);
	buf_fini(&out);
	return copy;
}

/* Claims that name no class get a folder on the node their pod runs on. */
static void add_default_class(struct bootstrap *b)
{
	StorageV1__StorageClass *class =
		make(&b->arena, StorageV1__StorageClass, storage_v1__storage_class);
	MetaV1__ObjectMeta *meta = message_metadata_make(class, &b->arena);

	meta->name = arena_strdup(&b->arena, "local-path");
	meta_set_annotation(&b->arena, meta, "storageclass.kubernetes.io/is-default-class", "true");
	class->provisioner = arena_strdup(&b->arena, "sampan.io/local-path");
	class->reclaimpolicy = arena_strdup(&b->arena, "Delete");
	class->volumebindingmode = arena_strdup(&b->arena, "WaitForFirstConsumer");
	add(b, "storageclasses.storage.k8s.io", "", meta->name, class);
}

/* Served by every node's proxy. */
static void add_ingress_class(struct bootstrap *b)
{
	NetworkingV1__IngressClass *class =
		make(&b->arena, NetworkingV1__IngressClass, networking_v1__ingress_class);
	MetaV1__ObjectMeta *meta = message_metadata_make(class, &b->arena);

	meta->name = arena_strdup(&b->arena, "sampan");
	meta_set_annotation(&b->arena, meta, "ingressclass.kubernetes.io/is-default-class", "true");
	class->spec = make(&b->arena, NetworkingV1__IngressClassSpec,
			   networking_v1__ingress_class_spec);
	class->spec->controller = arena_strdup(&b->arena, INGRESS_CONTROLLER);
	add(b, "ingressclasses.networking.k8s.io", "", meta->name, class);
}

static int add_objects(struct bootstrap *b, const struct bootstrap_config *c, struct status *st)
{
	static const char *const namespaces[] = { "kube-system", "default", "kube-public",
						  "kube-node-lease" };
	const struct cluster_config *k = c->cluster;
	struct bytes ca;

	for (size_t i = 0; i < array_size(namespaces); i++)
		add_json(b, "namespaces", "", namespaces[i], "\"spec\":{}");
	add_data_key(b, c);
	int rc = add_keys(b, &ca, st);
	if (rc < 0)
		return rc;
	add_json(b, "configmaps", "kube-system", "kube-root-ca.crt", "\"data\":{\"ca.crt\":%s}",
		 json_text(b, ca));
	add_json(b, "configmaps", "kube-system", "sampan-cluster",
		 "\"data\":{\"cluster_domain\":\"%s\",\"service_cidr\":\"%s\",\"pod_cidr\":\"%s\","
		 "\"node_prefix\":\"%d\",\"node_port_range\":\"%u-%u\",\"dns_address\":\"%s\"}",
		 k->domain, k->service_cidr, k->pod_cidr, k->node_prefix, k->node_port_min,
		 k->node_port_max, k->dns_address);
	add_json(b, "configmaps", "kube-system", "sampan-masters",
		 "\"data\":{\"%016llx\":\"name=%s api=%s rpc=%s raft=%s live=true\"}",
		 (unsigned long long)c->member_id, c->name, c->api_address, c->rpc_address,
		 c->raft_address);
	add_json(b, "services", "default", "kubernetes",
		 "\"spec\":{\"clusterIP\":\"%s\",\"ports\":[{\"name\":\"https\",\"port\":443,"
		 "\"targetPort\":%s}]}",
		 cert_api_service_ip(&b->arena, k->service_cidr), strrchr(c->api_address, ':') + 1);
	/* Every node's proxy answers on this address itself: no selector, no endpoints. */
	add_json(b, "services", "kube-system", "kube-dns",
		 "\"spec\":{\"clusterIP\":\"%s\",\"ports\":[{\"name\":\"dns\",\"port\":53,"
		 "\"protocol\":\"UDP\"},{\"name\":\"dns-tcp\",\"port\":53,\"protocol\":\"TCP\"}]}",
		 k->dns_address);
	add_default_class(b);
	add_ingress_class(b);
	return 0;
}

/* --- Writing --------------------------------------------------------------------- */

static void bootstrap_free(struct bootstrap *b)
{
	arena_fini(&b->arena);
	free(b->dir);
	free(b);
}

static void remove_folder(const char *dir)
{
	for (size_t i = 0; i < array_size(key_files); i++) {
		autofree char *path = xasprintf("%s/%s", dir, key_files[i]);

		if (remove(path) < 0 && errno != ENOENT)
			log_error("a key of the first state cannot be removed", "path=%s why=%s",
				  path, strerror(errno));
	}
	if (remove(dir) < 0 && errno != ENOENT)
		log_error("the folder of the first state cannot be removed", "path=%s why=%s", dir,
			  strerror(errno));
}

static void write_next(struct bootstrap *b);

static void on_written(void *ctx, const void *response)
{
	struct bootstrap *b = ctx;
	const SampanMaster__WriteResponse *w = response;
	const struct first_object *o = &b->objects[b->next];

	if (w->code >= 300 && w->code != 409) {
		struct status st = { 0 };

		status_set(&st, w->code >= 500 ? -EAGAIN : -EINVAL,
			   "the first state: %s %s was refused with code %d", o->kind->resource,
			   o->name, w->code);
		b->done(b->ctx, &st);
		status_fini(&st);
		bootstrap_free(b);
		return;
	}
	b->next++;
	write_next(b);
}

static void write_next(struct bootstrap *b)
{
	SampanMaster__WriteRequest w = SAMPAN_MASTER__WRITE_REQUEST__INIT;
	SampanMaster__User user = SAMPAN_MASTER__USER__INIT;
	static char *groups[] = { (char *)"system:masters" };

	if (b->next == b->n_objects) {
		remove_folder(b->dir);
		log_info("the first state is written", "objects=%zu", b->n_objects);
		b->done(b->ctx, NULL);
		bootstrap_free(b);
		return;
	}
	const struct first_object *o = &b->objects[b->next];
	user.name = (char *)"system:bootstrap";
	user.groups = groups;
	user.n_groups = 1;
	w.user = &user;
	w.has_verb = true;
	w.verb = SAMPAN_MASTER__WRITE_REQUEST__VERB__CREATE;
	w.resource = (char *)o->kind->resource;
	w.subresource = (char *)"";
	w.namespace_ = (char *)o->namespace;
	w.name = (char *)o->name;
	w.has_body = true;
	w.body = (ProtobufCBinaryData){ o->packed.len, (uint8_t *)o->packed.data };
	writes_submit(b->writes, &w, WRITE_TIMEOUT_MS, on_written, b);
}

int bootstrap_start(const struct bootstrap_config *config, struct writes *writes,
		    void (*done)(void *ctx, const struct status *st), void *ctx, struct status *st)
{
	struct bootstrap *b = xcalloc(1, sizeof(*b));

	arena_init(&b->arena, 0);
	b->dir = xstrdup(config->dir);
	b->writes = writes;
	b->done = done;
	b->ctx = ctx;
	int rc = add_objects(b, config, st);
	if (rc < 0) {
		bootstrap_free(b);
		return rc;
	}
	write_next(b);
	return 0;
}
