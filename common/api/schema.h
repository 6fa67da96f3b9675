/* What is known about every Kubernetes message beyond its protobuf descriptor.
 *
 * A struct schema stands beside each ProtobufCMessageDescriptor of proto/k8s:
 * JSON names, which fields keep zero apart from unset, which are printed when
 * empty, inline structs, special JSON forms, merge and list keys, enums. All of
 * it is generated from proto/k8s/messages.tsv and constant; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

/* How a message looks in JSON. */
enum schema_form {
	SCHEMA_FORM_OBJECT,
	SCHEMA_FORM_ENTRY,         /* One entry of a map: key, value. */
	SCHEMA_FORM_TIME,          /* "2025-01-02T03:04:05Z" */
	SCHEMA_FORM_MICROTIME,     /* "2025-01-02T03:04:05.123456Z" */
	SCHEMA_FORM_DURATION,      /* "1h0m0s" */
	SCHEMA_FORM_QUANTITY,      /* "100m" */
	SCHEMA_FORM_INT_OR_STRING, /* 80 or "http" */
	SCHEMA_FORM_RAW_JSON,      /* Any JSON; the message holds its text. */
	SCHEMA_FORM_RAW_OBJECT,    /* The same, or an object in the k8s envelope. */
	SCHEMA_FORM_ITEMS,         /* A bare array of strings. */
	SCHEMA_FORM_SCHEMA_OR_ARRAY,
	SCHEMA_FORM_SCHEMA_OR_BOOL,
	SCHEMA_FORM_SCHEMA_OR_STRINGS,
};

enum schema_flags {
	SCHEMA_POINTER = 1 << 0,     /* Unset differs from zero. */
	SCHEMA_ALWAYS = 1 << 1,      /* Printed even when empty. */
	SCHEMA_INLINE = 1 << 2,      /* JSON flattens this message into its parent. */
	SCHEMA_ATOMIC = 1 << 3,      /* A map that apply replaces as a whole. */
	SCHEMA_CLOSED = 1 << 4,      /* No value outside enum_values is valid. */
	SCHEMA_MERGE = 1 << 5,       /* Strategic patch merges this list. */
	SCHEMA_RETAIN_KEYS = 1 << 6, /* Strategic patch honours $retainKeys. */
	SCHEMA_LIST_ATOMIC = 1 << 7,
	SCHEMA_LIST_SET = 1 << 8,
	SCHEMA_LIST_MAP = 1 << 9,
};

enum schema_label { SCHEMA_ONE, SCHEMA_LIST, SCHEMA_MAP };

/* Rarely there. */
struct schema_extra {
	const char *proto_name; /* Where it differs from the JSON name. */
	const char *const *enum_values, *const *list_keys; /* NULL-terminated, or NULL. */
	const char *merge_key;
	const char *default_value;
};

struct schema_field {
	const char *json_name;
	const struct schema
		*message; /* Of messages; of maps: the entry, whose fields[1] is the value. */
	const struct schema_extra *extra; /* May be NULL. */
	uint16_t offset;                  /* In the C struct. */
	uint16_t quantifier_offset; /* has_x or n_x; 0: presence is a pointer that is not NULL. */
	uint16_t number;
	uint16_t flags;
	uint8_t json_len;
	uint8_t label; /* enum schema_label */
	uint8_t type;  /* ProtobufCType; MESSAGE for maps */
};

struct schema {
	const ProtobufCMessageDescriptor *descriptor;
	uint8_t form; /* enum schema_form */
	bool is_kind; /* Carries apiVersion and kind in JSON. */
	uint8_t n_fields, name_mask, number_max;
	const struct schema_field *fields; /* By ascending number, as descriptor->fields. */
	const uint8_t *by_name;            /* Hash slots: field index + 1, or 0. */
	const uint8_t *by_number;
	uint64_t always_mask, inline_mask; /* One bit per field index. */
};

extern const struct schema *const schema_all[];
extern const size_t schema_count;

/* NULL for messages that are not Kubernetes'. Constant time. */
const struct schema *schema_of(const ProtobufCMessageDescriptor *descriptor);
/* By JSON name, among the message's own fields. NULL when there is none. */
const struct schema_field *schema_find(const struct schema *s, const char *name, size_t len);
/* By JSON name, inline messages included: what JSON shows as one object. */
const struct schema_field *schema_find_flat(const struct schema *s, const char *name, size_t len);
static inline const struct schema_field *schema_by_number(const struct schema *s, uint64_t number)
{
	unsigned i = number <= s->number_max ? s->by_number[number] : 0;

	return i ? &s->fields[i - 1] : NULL;
}
/* The message's short name: "Pod". */
static inline const char *schema_name(const struct schema *s)
{
	return s->descriptor->short_name;
}
