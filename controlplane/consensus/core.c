#include "controlplane/consensus/core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "controlplane/consensus/le.h"

static const struct {
	int rv, rc;
} errors[] = {
	{ RAFT_NOMEM, -ENOMEM },
	{ RAFT_BADID, -ENOENT },
	{ RAFT_DUPLICATEID, -EEXIST },
	{ RAFT_DUPLICATEADDRESS, -EEXIST },
	{ RAFT_BADROLE, -EALREADY },
	{ RAFT_MALFORMED, -EBADMSG },
	{ RAFT_NOTLEADER, -ESHUTDOWN },
	{ RAFT_LEADERSHIPLOST, -EUNATCH },
	{ RAFT_SHUTDOWN, -ECANCELED },
	{ RAFT_CANTBOOTSTRAP, -EEXIST },
	{ RAFT_CANTCHANGE, -EBUSY },
	{ RAFT_CORRUPT, -EUCLEAN },
	{ RAFT_CANCELED, -ECANCELED },
	{ RAFT_NAMETOOLONG, -ENAMETOOLONG },
	{ RAFT_TOOBIG, -EFBIG },
	{ RAFT_NOCONNECTION, -ENOTCONN },
	{ RAFT_BUSY, -EAGAIN },
	{ RAFT_IOERR, -EIO },
	{ RAFT_NOTFOUND, -ENOENT },
	{ RAFT_INVALID, -EINVAL },
	{ RAFT_NOSPACE, -ENOSPC },
	{ RAFT_TOOMANY, -ENOBUFS },
};

int errno_of_raft(int rv)
{
	for (size_t i = 0; i < array_size(errors); i++)
		if (errors[i].rv == rv)
			return errors[i].rc;
	return rv == 0 ? 0 : -EIO;
}

int raft_of_errno(int rc)
{
	for (size_t i = 0; i < array_size(errors); i++)
		if (errors[i].rc == rc)
			return errors[i].rv;
	return rc == 0 ? 0 : RAFT_IOERR;
}

size_t core_log_count(const struct raft *r)
{
	const struct raft_log *l = &r->log;

	return l->front <= l->back ? l->back - l->front : l->size - l->front + l->back;
}

const struct raft_entry *core_log_entry(const struct raft *r, raft_index index)
{
	const struct raft_log *l = &r->log;

	if (index <= l->offset || index > l->offset + core_log_count(r))
		return NULL;
	return &l->entries[(l->front + (size_t)(index - 1 - l->offset)) % l->size];
}

raft_term core_log_term(const struct raft *r, raft_index index)
{
	const struct raft_entry *e;

	if (index == 0)
		return 0;
	if (index == r->log.snapshot.last_index)
		return r->log.snapshot.last_term;
	e = core_log_entry(r, index);
	return e == NULL ? 0 : e->term;
}

int core_position(const struct raft *r, raft_id id)
{
	for (unsigned i = 0; i < r->configuration.n; i++)
		if (r->configuration.servers[i].id == id)
			return (int)i;
	return -1;
}

const struct raft_server *core_server(const struct raft *r, raft_id id)
{
	int i = core_position(r, id);

	return i < 0 ? NULL : &r->configuration.servers[i];
}

unsigned core_voters(const struct raft *r)
{
	unsigned n = 0;

	for (unsigned i = 0; i < r->configuration.n; i++)
		n += r->configuration.servers[i].role == RAFT_VOTER;
	return n;
}

/* u8 1, u64 n, then n times: u64 id, address with its terminator, u8 role; zeros up to a multiple of 8. */
int core_configuration_decode(struct bytes encoded, struct raft_configuration *ret_c)
{
	const uint8_t *p = encoded.data, *end = p + encoded.len;

	raft_configuration_init(ret_c);
	if (encoded.len < 9 || p[0] != 1)
		return -EBADMSG;

	uint64_t n = le_get64(p + 1);

	p += 9;
	if (n > CORE_MEMBERS_MAX)
		return -EBADMSG;
	for (uint64_t i = 0; i < n; i++) {
		if (end - p < 10)
			goto malformed;

		uint64_t id = le_get64(p);
		const char *address = (const char *)p + 8;
		size_t length = strnlen(address, (size_t)(end - p) - 8);

		if ((size_t)(end - p) < 8 + length + 2 || id == 0)
			goto malformed;
		p += 8 + length + 1;
		if (raft_configuration_add(ret_c, id, address, *p++) != 0)
			goto malformed;
	}
	return 0;

malformed:
	raft_configuration_close(ret_c);
	raft_configuration_init(ret_c);
	return -EBADMSG;
}

void core_configuration_copy(const struct raft_configuration *from,
			     struct raft_configuration *ret_c)
{
	raft_configuration_init(ret_c);
	for (unsigned i = 0; i < from->n; i++)
		if (raft_configuration_add(ret_c, from->servers[i].id, from->servers[i].address,
					   from->servers[i].role) != 0)
			abort();
}
