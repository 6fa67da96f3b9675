/* The shapes names, label keys, ports and addresses must have. Each function
 * returns NULL when s is fine, else what is wrong with it in Kubernetes' words
 * (a constant). Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef const char *name_rule(const char *s);

name_rule name_is_label;        /* DNS-1123 label, 63 characters. */
name_rule name_is_subdomain;    /* DNS-1123 subdomain, 253. */
name_rule name_is_label_1035;   /* DNS-1035 label, 63: Services. */
name_rule name_is_path_segment; /* RBAC names. */
name_rule name_is_qualified;    /* Label keys, annotation keys, finalizers, resource names. */
name_rule name_is_label_value;
name_rule name_is_port;       /* Port names, 15. */
name_rule name_is_config_key; /* Keys of ConfigMaps and Secrets. */
name_rule name_is_env;

/* The same rule for a generateName: a trailing '-' is completed later. */
const char *name_prefix_check(name_rule *rule, const char *prefix);

/* "a.b.c.d", strictly; host order. */
bool ipv4_parse(const char *s, uint32_t *ret_address);
bool ip_valid(const char *s);
/* "a.b.c.d/n" */
bool cidr_parse(const char *s, uint32_t *ret_address, int *ret_bits);
