#include "tests/unit/scheduler/bed.h"

static void on_change(void *ctx, const struct change *change)
{
	struct bed *b = ctx;

	scheduler_on_change(b->scheduler, change->old, change->new, b->w.now_ns);
}

void bed_init(struct bed *b)
{
	world_init(&b->w);
	b->scheduler = scheduler_create(&(struct scheduler_config){ .seed = 1 });
	b->listener = (struct store_listener){ .cb = on_change, .ctx = b };
	store_listen(b->w.store, &b->listener);
	scheduler_seed(b->scheduler, b->w.store, b->w.now_ns);
	world_put(&b->w, "{'kind':'Namespace','metadata':{'name':'default'}}");
	world_put(&b->w, "{'kind':'ServiceAccount','metadata':{'name':'default',"
			 "'namespace':'default'}}");
}

void bed_fini(struct bed *b)
{
	scheduler_destroy(b->scheduler);
	world_fini(&b->w);
}

void bed_put_node(struct bed *b, const char *name, const char *cpu, const char *labels,
		  const char *spec)
{
	world_put(&b->w,
		  arena_printf(&b->w.arena,
			       "{'kind':'Node','metadata':{'name':'%s','labels':{%s}},'spec':{"
			       "%s},'status':{'allocatable':{'cpu':'%s','memory':'8Gi',"
			       "'ephemeral-storage':'100Gi','pods':'110'},'conditions':[{"
			       "'type':'Ready','status':'True'}]}}",
			       name, labels, spec, cpu));
}

void bed_create_pod(struct bed *b, const char *name, const char *cpu, const char *spec)
{
	struct status st = { 0 };

	if (world_create(
		    &b->w,
		    arena_printf(&b->w.arena,
				 "{'kind':'Pod','metadata':{'name':'%s','namespace':'default'},"
				 "'spec':{%s%s'containers':[{'name':'a','image':'b','resources':{"
				 "'requests':{'cpu':'%s'}}}]}}",
				 name, spec, spec[0] ? "," : "", cpu),
		    &st) == NULL)
		fail_msg("%s: %s", name, st.message);
}

void bed_put_pod(struct bed *b, const char *name, const char *node, const char *labels,
		 const char *spec, const char *cpu)
{
	world_put(&b->w,
		  arena_printf(&b->w.arena,
			       "{'kind':'Pod','metadata':{'name':'%s','namespace':'default',"
			       "'labels':{%s}},'spec':{'schedulerName':'default-scheduler',%s%s"
			       "%s%s%s'containers':[{'name':'a','image':'b','resources':{"
			       "'requests':{'cpu':'%s'}}}]},'status':{'phase':'%s'}}",
			       name, labels, node[0] ? "'nodeName':'" : "", node,
			       node[0] ? "'," : "", spec, spec[0] ? "," : "", cpu,
			       node[0] ? "Running" : "Pending"));
}

/* Deletions come after the rest, in a plan of their own: what is deleted was written before. */
static void apply(struct bed *b, struct intents *all)
{
	struct intents first, last;

	intents_init(&first, &b->w.arena);
	intents_init(&last, &b->w.arena);
	for (struct intent *i = all->first, *next; i != NULL; i = next) {
		struct intents *to = i->type == INTENT_DELETE ? &last : &first;

		next = i->next;
		i->next = NULL;
		*to->last = i;
		to->last = &i->next;
	}
	assert_int_equal(world_apply(&b->w, &first, NULL), 0);
	for (struct intent *i = last.first; i != NULL; i = i->next)
		i->base = world_get(&b->w, i->resource, i->namespace, i->name);
	assert_int_equal(world_apply(&b->w, &last, NULL), 0);
}

char *bed_run(struct bed *b)
{
	char *text = arena_strdup(&b->w.arena, "");

	for (;;) {
		struct view v = world_view(&b->w);
		struct intents intents;
		const struct object *pod;

		intents_init(&intents, &b->w.arena);
		if (!scheduler_next(b->scheduler, &v, &intents, &pod))
			return text;
		text = arena_printf(&b->w.arena, "%s%s", text,
				    intents_print(&intents, &b->w.arena));
		apply(b, &intents);
	}
}

const char *bed_node_of(struct bed *b, const char *pod)
{
	return world_get(&b->w, "pods", "default", pod)->facts.pod->node_name;
}
