/* Claims on a node: where their volumes are, who may use them, whose they become; folders of volumes. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/runtime/dir_remove.h"
#include "agent/volumes/claims.h"
#include "agent/volumes/local_path.h"
#include "agent/volumes/volumes.h"
#include "common/api/json.h"
#include "common/api/pack.h"
#include "common/base/alloc.h"
#include "common/base/cleanup.h"

/* A node with a folder of its own for everything; ~ in texts is that folder, ' is ". */
struct world {
	struct arena arena;
	char *dir, *local_path_dir;
	struct node_facts node;
	struct held_object claim, volume;
	struct held_object *items[2];
	struct object_list list;
	struct pod_view view;
};

static int setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));

	arena_init(&w->arena, 0);
	w->dir = xstrdup("/tmp/agent-claims.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->local_path_dir = xasprintf("%s/local-path", w->dir);
	w->node = (struct node_facts){ .name = "n1", .local_path_dir = w->local_path_dir };
	w->view = (struct pod_view){ .objects = &w->list, .node = &w->node, .ip = "", .arena = &w->arena };
	w->view.dir = arena_printf(&w->arena, "%s/pod", w->dir);
	mkdir(w->view.dir, 0755);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	dir_remove(w->dir);
	free(w->dir);
	free(w->local_path_dir);
	arena_fini(&w->arena);
	free(w);
	return 0;
}

static char *text_in(struct world *w, const char *text)
{
	auto_with(buf_fini) struct buf out = { 0 };

	for (const char *p = text; *p; p++) {
		if (*p == '~')
			buf_put_str(&out, w->dir);
		else
			buf_put_byte(&out, *p == '\'' ? '"' : (uint8_t)*p);
	}
	return arena_strdup(&w->arena, buf_cstr(&out));
}

static void *read_json(struct world *w, const ProtobufCMessageDescriptor *d, const char *text)
{
	struct status st = { 0 };
	void *message;

	if (json_read_message(d, bytes_str(text_in(w, text)), &w->arena, NULL, &message, &st) < 0)
		fail_msg("%s: %s", text, st.message);
	return message;
}

static void hold(struct world *w, struct held_object *o, const char *resource, const char *namespace,
	const char *name, const ProtobufCMessageDescriptor *d, const char *text)
{
	if (text == NULL)
		return;
	*o = (struct held_object){ .resource = (char *)resource, .namespace = (char *)namespace, .name = (char *)name };
	o->packed = pack_message_in(&w->arena, read_json(w, d, text));
	w->items[w->list.n++] = o;
	w->list.items = w->items;
	w->list.cap = 2;
}

static void set(struct world *w, const char *claim, const char *volume, const char *pod)
{
	w->list = (struct object_list){ 0 };
	hold(w, &w->claim, "persistentvolumeclaims", "ns", "c", &core_v1__persistent_volume_claim__descriptor, claim);
	hold(w, &w->volume, "persistentvolumes", "", "v", &core_v1__persistent_volume__descriptor, volume);
	w->view.pod = read_json(w, &core_v1__pod__descriptor, pod);
}

#define CLAIM(meta, spec)                                                                          \
	"{'metadata':{'name':'c','namespace':'ns','uid':'u'" meta "},'spec':{'accessModes':['ReadWriteOnce']" spec "}}"
#define BOUND CLAIM("", ",'volumeName':'v'")
#define VOLUME(meta, spec)                                                                         \
	"{'metadata':{'name':'v'" meta "},'spec':{'claimRef':{'namespace':'ns','name':'c','uid':'u'}," spec "}}"
#define MADE ",'annotations':{'pv.kubernetes.io/provisioned-by':'sampan.io/local-path'}"
#define POD_OF(spec, more)                                                                         \
	"{'metadata':{'name':'p','namespace':'ns'},'spec':{" spec                                  \
	"'containers':[{'name':'a','volumeMounts':[{'name':'x','mountPath':'/x'}]}],'volumes':[{'name':'x',"        \
	"'persistentVolumeClaim':{'claimName':'c'" more "}}]}}"
#define POD POD_OF("", "")
#define SETUP "MountVolume.SetUp failed for volume \"x\": "
#define ON(node)                                                                                   \
	",'nodeAffinity':{'required':{'nodeSelectorTerms':[{'matchExpressions':[{'key':"           \
	"'kubernetes.io/hostname','operator':'In','values':['" node "']}]}]}}"

/* What setting up says, or the mount that comes of it. */
static const struct {
	const char *name, *claim, *volume, *pod, *says;
} cases[] = {
	{ "no claim", NULL, NULL, POD, SETUP "persistentvolumeclaim \"c\" not found" },
	{ "not bound", CLAIM("", ""), NULL, POD, SETUP "PVC ns/c is not bound" },
	{ "its volume is not here", BOUND, NULL, POD,
		SETUP "PVC ns/c is not bound to persistentvolume \"v\" yet" },
	{ "its volume is somebody else's", BOUND,
		"{'metadata':{'name':'v'},'spec':{'claimRef':{'namespace':'ns','name':'c','uid':'old'},"
		"'hostPath':{'path':'~'}}}",
		POD, SETUP "persistentvolume \"v\" is bound to another claim than ns/c" },
	{ "the claim goes", CLAIM(",'deletionTimestamp':'2025-01-01T00:00:00Z'", ",'volumeName':'v'"),
		VOLUME("", "'hostPath':{'path':'~'}"), POD,
		SETUP "can't start pod because PVC ns/c is being deleted" },
	{ "a folder of the host", BOUND, VOLUME("", "'hostPath':{'path':'~/a','type':'DirectoryOrCreate'}"), POD,
		"~/a rbind,rprivate,rw" },
	{ "a local folder", BOUND, VOLUME("", "'local':{'path':'~'}" ON("n1")), POD, "~ rbind,rprivate,rw" },
	{ "read only", BOUND, VOLUME("", "'local':{'path':'~'}"), POD_OF("", ",'readOnly':true"),
		"~ rbind,rprivate,ro" },
	{ "a local folder that is not there", BOUND, VOLUME("", "'local':{'path':'/nowhere/x'}"), POD,
		SETUP "path \"/nowhere/x\" does not exist" },
	{ "a local folder of another node", BOUND, VOLUME("", "'local':{'path':'~'}" ON("n2")), POD,
		SETUP "persistentvolume \"v\" is on another node: no matching NodeSelectorTerms" },
	{ "a folder of our provisioner, whatever path it shows", BOUND,
		VOLUME(MADE, "'local':{'path':'/etc/passwd'}"), POD, "~/local-path/v rbind,rprivate,rw" },
	{ "a device", BOUND, VOLUME("", "'volumeMode':'Block','local':{'path':'~'}"), POD,
		SETUP "persistentvolume \"v\": volumeMode Block is not supported here" },
	{ "a kind that is not supported", BOUND, VOLUME("", "'nfs':{'server':'s','path':'/'}"), POD,
		SETUP "persistentvolume \"v\" is of the kind nfs: only local and hostPath are supported here" },
};

static void where_volumes_are(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < array_size(cases); i++) {
		auto_with(status_fini) struct status st = { 0 };
		const char *propagation, *subpaths[] = { NULL }, *said;
		struct oci_mount *mounts;

		set(w, cases[i].claim, cases[i].volume, cases[i].pod);
		if (volumes_setup(&w->view, &st) < 0) {
			said = st.message;
		} else {
			assert_int_equal(volumes_mounts(&w->view, w->view.pod->spec->containers[0], subpaths,
						 &mounts, &propagation, &st),
				0);
			said = arena_printf(&w->arena, "%s %s", mounts[0].source, mounts[0].options);
		}
		if (strcmp(said, text_in(w, cases[i].says)) != 0 && strcmp(said, cases[i].says) != 0)
			fail_msg("%s: %s", cases[i].name, said);
	}
}

static void one_pod_alone(void **state)
{
	struct world *w = *state;
	auto_with(status_fini) struct status st = { 0 };
	static const char *const others[] = { "c" };

	set(w,
		"{'metadata':{'name':'c','namespace':'ns','uid':'u'},'spec':{'accessModes':['ReadWriteOncePod'],"
		"'volumeName':'v'}}",
		VOLUME(MADE, "'local':{'path':'/x'}"), POD);
	assert_int_equal(volumes_setup(&w->view, &st), 0);
	w->view.contested = others;
	w->view.n_contested = 1;
	assert_int_equal(volumes_setup(&w->view, &st), -EBUSY);
	assert_string_equal(st.message, SETUP
		"volume uses the ReadWriteOncePod access mode and is already in use by another pod");
	/* Others may share. */
	set(w, BOUND, VOLUME(MADE, "'local':{'path':'/x'}"), POD);
	assert_int_equal(volumes_setup(&w->view, NULL), 0);
}

static mode_t mode_of(struct world *w, const char *path, gid_t *ret_group)
{
	struct stat s;

	assert_int_equal(lstat(text_in(w, path), &s), 0);
	*ret_group = s.st_gid;
	return s.st_mode & 07777;
}

static void the_group_gets_what_is_in_it(void **state)
{
	struct world *w = *state;
	gid_t group;

	if (geteuid() != 0)
		skip();
	set(w, BOUND, VOLUME(MADE, "'local':{'path':'/x'}"), POD);
	assert_int_equal(volumes_setup(&w->view, NULL), 0);
	mkdir(text_in(w, "~/local-path/v/d"), 0700);
	close(open(text_in(w, "~/local-path/v/d/f"), O_WRONLY | O_CREAT, 0600));
	close(open(text_in(w, "~/outside"), O_WRONLY | O_CREAT, 0600));
	assert_int_equal(symlink(text_in(w, "~/outside"), text_in(w, "~/local-path/v/link")), 0);

	set(w, BOUND, VOLUME(MADE, "'local':{'path':'/x'}"), POD_OF("'securityContext':{'fsGroup':2000},", ""));
	assert_int_equal(volumes_setup(&w->view, NULL), 0);
	assert_int_equal(mode_of(w, "~/local-path/v", &group), 02777);
	assert_int_equal(group, 2000);
	assert_int_equal(mode_of(w, "~/local-path/v/d", &group), 02770);
	assert_int_equal(group, 2000);
	assert_int_equal(mode_of(w, "~/local-path/v/d/f", &group), 0660);
	assert_int_equal(group, 2000);
	/* What a link leads to is somebody else's. */
	assert_int_equal(mode_of(w, "~/outside", &group), 0600);
	assert_int_not_equal(group, 2000);

	/* The root is the group's: nothing below is looked at. */
	assert_int_equal(chown(text_in(w, "~/local-path/v/d"), 0, 0), 0);
	set(w, BOUND, VOLUME(MADE, "'local':{'path':'/x'}"),
		POD_OF("'securityContext':{'fsGroup':2000,'fsGroupChangePolicy':'OnRootMismatch'},", ""));
	assert_int_equal(volumes_setup(&w->view, NULL), 0);
	mode_of(w, "~/local-path/v/d", &group);
	assert_int_equal(group, 0);

	/* A folder of the host keeps its owner. */
	set(w, BOUND, VOLUME("", "'hostPath':{'path':'~/h','type':'DirectoryOrCreate'}"),
		POD_OF("'securityContext':{'fsGroup':2000},", ""));
	assert_int_equal(volumes_setup(&w->view, NULL), 0);
	mode_of(w, "~/h", &group);
	assert_int_not_equal(group, 2000);
}

/* --- Folders of volumes --------------------------------------------------------------- */

static void folders_are_made_and_removed(void **state)
{
	struct world *w = *state;
	autofree char *path = NULL, *again = NULL;
	gid_t group;

	assert_int_equal(local_path_make(w->local_path_dir, "pvc-1", &path, NULL), 0);
	assert_string_equal(path, text_in(w, "~/local-path/pvc-1"));
	assert_int_equal(mode_of(w, "~/local-path/pvc-1", &group), 0777);
	close(open(text_in(w, "~/local-path/pvc-1/data"), O_WRONLY | O_CREAT, 0600));
	chmod(path, 0750);
	assert_int_equal(local_path_make(w->local_path_dir, "pvc-1", &again, NULL), 0);
	assert_int_equal(access(text_in(w, "~/local-path/pvc-1/data"), F_OK), 0);
	assert_int_equal(mode_of(w, "~/local-path/pvc-1", &group), 0750);

	/* Links in it are removed, not what they lead to. */
	mkdir(text_in(w, "~/other"), 0755);
	close(open(text_in(w, "~/other/file"), O_WRONLY | O_CREAT, 0600));
	assert_int_equal(symlink(text_in(w, "~/other"), text_in(w, "~/local-path/pvc-1/other")), 0);
	assert_int_equal(local_path_remove(w->local_path_dir, "pvc-1", NULL), 0);
	assert_int_not_equal(access(path, F_OK), 0);
	assert_int_equal(access(text_in(w, "~/other/file"), F_OK), 0);
	assert_int_equal(local_path_remove(w->local_path_dir, "pvc-1", NULL), 0);

	/* A link in the place of a folder is no folder. */
	assert_int_equal(symlink(text_in(w, "~/other"), text_in(w, "~/local-path/pvc-2")), 0);
	free(steal_ptr(&again));
	assert_true(local_path_make(w->local_path_dir, "pvc-2", &again, NULL) < 0);
	assert_int_equal(local_path_remove(w->local_path_dir, "pvc-2", NULL), 0);
	assert_int_equal(access(text_in(w, "~/other/file"), F_OK), 0);
}

static void names_lead_nowhere_else(void **state)
{
	static const char *const names[] = { "", ".", "..", "../pod", "a/b", "/etc", ".hidden", "A", "a b", "a\n" };
	struct world *w = *state;

	for (size_t i = 0; i < array_size(names); i++) {
		char *path = NULL;

		if (local_path_make(w->local_path_dir, names[i], &path, NULL) != -EINVAL ||
			local_path_remove(w->local_path_dir, names[i], NULL) != -EINVAL)
			fail_msg("\"%s\" was taken", names[i]);
	}
	assert_int_equal(access(w->view.dir, F_OK), 0);
}

static void sizes_have_limits(void **state)
{
	struct world *w = *state;
	autofree char *block = xcalloc(1, 65536);
	int fd;

	set(w, NULL, NULL,
		"{'metadata':{'name':'p','namespace':'ns'},'spec':{'containers':[{'name':'a'}],'volumes':["
		"{'name':'big','emptyDir':{}},{'name':'small','emptyDir':{'sizeLimit':'32Ki'}}]}}");
	assert_int_equal(volumes_setup(&w->view, NULL), 0);
	assert_null(volumes_over_limit(&w->view));
	fd = open(text_in(w, "~/pod/volumes/big/f"), O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, block, 65536), 65536);
	close(fd);
	assert_null(volumes_over_limit(&w->view));
	fd = open(text_in(w, "~/pod/volumes/small/f"), O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, block, 65536), 65536);
	close(fd);
	assert_string_equal(volumes_over_limit(&w->view), "small");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(where_volumes_are, setup, teardown),
		cmocka_unit_test_setup_teardown(one_pod_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(the_group_gets_what_is_in_it, setup, teardown),
		cmocka_unit_test_setup_teardown(folders_are_made_and_removed, setup, teardown),
		cmocka_unit_test_setup_teardown(names_lead_nowhere_else, setup, teardown),
		cmocka_unit_test_setup_teardown(sizes_have_limits, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
