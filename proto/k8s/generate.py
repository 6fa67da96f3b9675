#!/usr/bin/env python3
"""Turn messages.tsv into .proto files and into the side table of common/api.

messages.tsv holds one row per field of the Kubernetes API at level 1.33:
  package    short name; the full one is made by full_package() below
  field      name in the .proto; rows "(kind)" mark messages that carry
             apiVersion and kind in JSON, "(empty)" messages without fields
  number, type, label (optional, repeated, map: from string to type);
             type "reserved" keeps a number that older releases used
  json       only where it is not the field's name
  presence   ptr: unset differs from zero; value: zero is the same as unset
  flags      always: printed in JSON even when empty; inline: JSON flattens the
             message into its parent; atomic: a map replaced as a whole by
             apply; closed: no value outside the enum is valid
  enum       known values, separated by ";"
  patch, merge_key      strategic merge patch
  list, list_keys       server-side apply
  default    schema default

usage: generate.py proto  TABLE PACKAGE OUT.proto
       generate.py schema TABLE OUT.c
"""
import csv
import sys

SCALARS = {
    'string': 'STRING', 'int32': 'INT32', 'int64': 'INT64', 'bool': 'BOOL',
    'bytes': 'BYTES', 'double': 'DOUBLE',
}
# Messages whose JSON is not an object of their fields: form of common/api/schema.h.
FORMS = {
    'meta.v1.Time': 'TIME',
    'meta.v1.MicroTime': 'MICROTIME',
    'meta.v1.Duration': 'DURATION',
    'meta.v1.FieldsV1': 'RAW_JSON',
    'meta.v1.Verbs': 'ITEMS',
    'authentication.v1.ExtraValue': 'ITEMS',
    'authorization.v1.ExtraValue': 'ITEMS',
    'certificates.v1.ExtraValue': 'ITEMS',
    'resource.Quantity': 'QUANTITY',
    'resource.QuantityValue': 'QUANTITY',
    'intstr.IntOrString': 'INT_OR_STRING',
    'runtime.RawExtension': 'RAW_OBJECT',
    'apiextensions.v1.JSON': 'RAW_JSON',
    'apiextensions.v1.JSONSchemaPropsOrArray': 'SCHEMA_OR_ARRAY',
    'apiextensions.v1.JSONSchemaPropsOrBool': 'SCHEMA_OR_BOOL',
    'apiextensions.v1.JSONSchemaPropsOrStringArray': 'SCHEMA_OR_STRINGS',
}
# protoc-c appends "_" to members that are C or C++ keywords.
KEYWORDS = set('''and asm auto bool break case catch char class const continue default delete do
    double else enum explicit extern false float for friend goto if inline int long mutable namespace
    new not operator or private protected public register return short signed sizeof static struct
    switch template this throw true try typedef typeid typename union unsigned using virtual void
    volatile while xor'''.split())


def full_package(short):
    return {
        'meta.v1': 'k8s.io.apimachinery.pkg.apis.meta.v1',
        'runtime': 'k8s.io.apimachinery.pkg.runtime',
        'intstr': 'k8s.io.apimachinery.pkg.util.intstr',
        'resource': 'k8s.io.apimachinery.pkg.api.resource',
        'apiextensions.v1': 'k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1',
        'metrics.v1beta1': 'k8s.io.metrics.pkg.apis.metrics.v1beta1',
    }.get(short, 'k8s.io.api.' + short)


def c_package(short):
    return short.replace('.', '_')


def camel(name):
    """What protoc-c makes of a package: apps_v1 -> AppsV1."""
    return ''.join(part[:1].upper() + part[1:] for part in name.split('_'))


def lower(name):
    """What protoc-c makes of a message: ReplicaSet -> replica_set, HTTPGetAction -> httpget_action."""
    out, was_upper = '', True
    for c in name:
        if c.isupper() and not was_upper:
            out += '_'
        out += c.lower()
        was_upper = c.isupper()
    return out


def entry_name(field):
    """The message protoc makes for a map field: nodeSelector -> NodeSelectorEntry."""
    return field[:1].upper() + field[1:] + 'Entry'


class Field:
    def __init__(self, row):
        self.name, self.number, self.type, self.label = row['field'], int(row['number']), row['type'], row['label']
        self.json = row['json'] or self.name
        self.pointer = row['presence'] == 'ptr'
        self.flags = set(filter(None, row['flags'].split(',')))
        self.enum = row['enum'].split(';') if row['enum'] else []
        self.patch = set(filter(None, row['patch'].split(',')))
        self.merge_key, self.list = row['merge_key'], row['list']
        self.list_keys = row['list_keys'].split(';') if row['list_keys'] else []
        self.default = row['default']
        self.target = None  # The Message, for message types.

    def member(self):
        name = self.name.lower()
        return name + '_' if name in KEYWORDS else name


class Message:
    def __init__(self, package, name):
        self.package, self.name = package, name
        self.key = package + '.' + name
        self.kind, self.fields, self.reserved = False, [], []

    def c_type(self):
        return camel(c_package(self.package)) + '__' + self.name

    def c_lower(self):
        return c_package(self.package) + '__' + lower(self.name)


def read_table(path):
    messages = {}
    with open(path, newline='') as f:
        for row in csv.DictReader(f, delimiter='\t', quoting=csv.QUOTE_NONE, restval=''):
            row = {k: v or '' for k, v in row.items()}
            key = row['package'] + '.' + row['message']
            m = messages.setdefault(key, Message(row['package'], row['message']))
            if row['field'] == '(kind)':
                m.kind = True
            elif row['type'] == 'reserved':
                m.reserved.append((int(row['number']), row['field']))
            elif row['field'] != '(empty)':
                m.fields.append(Field(row))
    for m in messages.values():
        m.fields.sort(key=lambda f: f.number)
        for f in m.fields:
            if f.type not in SCALARS:
                f.target = messages[f.type if '.' in f.type else m.package + '.' + f.type]
    return messages


def write_proto(messages, package, path):
    mine = [m for m in messages.values() if m.package == package]
    imports = sorted({f.target.package for m in mine for f in m.fields
                      if f.target and f.target.package != package})
    out = ['// Made by generate.py from messages.tsv.', 'syntax = "proto2";',
           'package %s;' % full_package(package), 'import "protobuf-c/protobuf-c.proto";']
    out += ['import "proto/k8s/%s.proto";' % c_package(p) for p in imports]
    out += ['option (pb_c_file).c_package = "%s";' % c_package(package),
            'option (pb_c_file).gen_pack_helpers = false;']
    for m in mine:
        out.append('message %s {' % m.name)
        for number, name in m.reserved:
            out += ['  reserved %d;' % number, '  reserved "%s";' % name]
        for f in m.fields:
            type_ = f.type if f.target is None else '.' + full_package(f.target.package) + '.' + f.target.name
            label = '' if f.label == 'map' else f.label + ' '
            if f.label == 'map':
                type_ = 'map<string, %s>' % type_
            out.append('  %s%s %s = %d;' % (label, type_, f.name, f.number))
        out.append('}')
    with open(path, 'w') as f:
        f.write('\n'.join(out) + '\n')


class SchemaWriter:
    """The side table: one struct schema per message, fields in order of their number."""

    def __init__(self, messages):
        self.messages = sorted(messages.values(), key=lambda m: m.key)
        self.out, self.lists = [], {}

    def string(self, text):
        return '"%s"' % text.replace('\\', '\\\\').replace('"', '\\"')

    def string_list(self, values):
        key = tuple(values)
        if key not in self.lists:
            self.lists[key] = 'list_%d' % len(self.lists)
            self.out.append('static const char *const %s[] = { %s, NULL };'
                            % (self.lists[key], ', '.join(self.string(v) for v in values)))
        return self.lists[key]

    def extra(self, m, f):
        parts = []
        if f.name != f.json:
            parts.append('.proto_name = %s' % self.string(f.name))
        if f.enum:
            parts.append('.enum_values = %s' % self.string_list(f.enum))
        if f.merge_key:
            parts.append('.merge_key = %s' % self.string(f.merge_key))
        if f.list_keys:
            parts.append('.list_keys = %s' % self.string_list(f.list_keys))
        if f.default:
            text = '' if f.default == '""' else f.default
            if not text.startswith('ref('):
                parts.append('.default_value = %s' % self.string(text))
        if not parts:
            return 'NULL'
        name = 'extra_%s_%d' % (m.c_lower(), f.number)
        self.out.append('static const struct schema_extra %s = { %s };' % (name, ', '.join(parts)))
        return '&' + name

    def flags(self, f):
        flags = []
        if f.pointer:
            flags.append('SCHEMA_POINTER')
        for name in ('always', 'inline', 'atomic', 'closed'):
            if name in f.flags:
                flags.append('SCHEMA_' + name.upper())
        if 'merge' in f.patch:
            flags.append('SCHEMA_MERGE')
        if 'retainKeys' in f.patch:
            flags.append('SCHEMA_RETAIN_KEYS')
        if f.list:
            flags.append('SCHEMA_LIST_' + f.list.upper())
        return ' | '.join(flags) or '0'

    def field(self, c_type, f, member, label, type_, schema, extra, flags, number, json):
        if label != 'optional':
            quantifier = 'offsetof(%s, n_%s)' % (c_type, member)
        elif type_ in ('STRING', 'MESSAGE'):
            quantifier = '0'
        else:
            quantifier = 'offsetof(%s, has_%s)' % (c_type, member)
        return ('\t{ %s, %s, %s, offsetof(%s, %s), %s, %d, %s, %d, SCHEMA_%s, PROTOBUF_C_TYPE_%s },'
                % (self.string(json), schema, extra, c_type, member, quantifier, number, flags,
                   len(json), {'optional': 'ONE', 'repeated': 'LIST', 'map': 'MAP'}[label], type_))

    def table(self, names, json_names):
        """by_name: an open hash of field indexes + 1; the same hash as schema.c."""
        size = 1
        while size < 2 * len(json_names):
            size *= 2
        slots = [0] * size
        for i, name in enumerate(json_names):
            at = name_hash(name.encode()) & (size - 1)
            while slots[at]:
                at = (at + 1) & (size - 1)
            slots[at] = i + 1
        self.out.append('static const uint8_t %s[] = { %s };' % (names, ', '.join(map(str, slots))))
        return size - 1

    def schema(self, symbol, descriptor, form, is_kind, fields_symbol, n, numbers, jsons, masks):
        by_name = by_number = 'NULL'
        mask = 0
        if n:
            by_name, by_number = 'names_' + symbol, 'numbers_' + symbol
            mask = self.table(by_name, jsons)
            slots = [0] * (max(numbers) + 1)
            for i, number in enumerate(numbers):
                slots[number] = i + 1
            self.out.append('static const uint8_t %s[] = { %s };' % (by_number, ', '.join(map(str, slots))))
        self.out.append(
            'static const struct schema schema_%s = {\n\t.descriptor = &%s__descriptor,\n\t.form = SCHEMA_FORM_%s,'
            '\n\t.is_kind = %s,\n\t.n_fields = %d,\n\t.name_mask = %d,\n\t.number_max = %d,\n\t.fields = %s,'
            '\n\t.by_name = %s,\n\t.by_number = %s,\n\t.always_mask = %sull,\n\t.inline_mask = %sull,\n};'
            % (symbol, descriptor, form, 'true' if is_kind else 'false', n, mask, max(numbers, default=0),
               fields_symbol, by_name, by_number, hex(masks[0]), hex(masks[1])))

    def message(self, m):
        rows, masks = [], [0, 0]
        for i, f in enumerate(m.fields):
            type_ = 'MESSAGE' if f.target or f.label == 'map' else SCALARS[f.type]
            schema = '&schema_' + f.target.c_lower() if f.target else 'NULL'
            if f.label == 'map':
                schema = '&schema_' + self.entry(m, f, schema)
            rows.append(self.field(m.c_type(), f, f.member(), f.label, type_, schema,
                                   self.extra(m, f), self.flags(f), f.number, f.json))
            masks[0] |= ('always' in f.flags) << i
            masks[1] |= ('inline' in f.flags) << i
        symbol = m.c_lower()
        if rows:
            self.out.append('static const struct schema_field fields_%s[] = {\n%s\n};' % (symbol, '\n'.join(rows)))
        self.schema(symbol, symbol, FORMS.get(m.key, 'OBJECT'), m.kind, 'fields_' + symbol if rows else 'NULL',
                    len(rows), [f.number for f in m.fields], [f.json for f in m.fields], masks)

    def entry(self, m, f, value_schema):
        symbol = m.c_lower() + '__' + lower(entry_name(f.name))
        c_type = m.c_type() + '__' + entry_name(f.name)
        type_ = 'MESSAGE' if f.target else SCALARS[f.type]
        rows = [self.field(c_type, f, 'key', 'optional', 'STRING', 'NULL', 'NULL', '0', 1, 'key'),
                self.field(c_type, f, 'value', 'optional', type_, value_schema, 'NULL', '0', 2, 'value')]
        self.out.append('static const struct schema_field fields_%s[] = {\n%s\n};' % (symbol, '\n'.join(rows)))
        self.schema(symbol, symbol, 'ENTRY', False, 'fields_' + symbol, 2, [1, 2], ['key', 'value'], [0, 0])
        return symbol

    def write(self, path):
        packages = sorted({m.package for m in self.messages})
        head = ['/* Made by proto/k8s/generate.py from messages.tsv. */', '#include "common/api/schema.h"', '']
        head += ['#include "proto/k8s/%s.pb-c.h"' % c_package(p) for p in packages]
        head += ['static const struct schema schema_%s;' % m.c_lower() for m in self.messages]
        for m in self.messages:
            self.message(m)
        self.out.append('const struct schema *const schema_all[] = {\n%s\n};'
                        % '\n'.join('\t&schema_%s,' % m.c_lower() for m in self.messages))
        self.out.append('const size_t schema_count = %d;' % len(self.messages))
        with open(path, 'w') as f:
            f.write('\n'.join(head + self.out) + '\n')


def name_hash(name):
    n = len(name)
    return (n * 131 + name[0] * 31 + name[-1] * 7 + name[n // 2] * 17) & 0xffffffff


def main(argv):
    messages = read_table(argv[2])
    if argv[1] == 'proto':
        write_proto(messages, argv[3], argv[4])
    else:
        SchemaWriter(messages).write(argv[3])


if __name__ == '__main__':
    main(sys.argv)
