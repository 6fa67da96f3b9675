/* Texts of others inside HAProxy's configuration and commands. Pure. */
#pragma once

#include "common/base/buf.h"

/* One word of a configuration line or of a command: whatever could end it is escaped. */
void text_put_word(struct buf *to, const char *word);
/* A regular expression that matches just this text. */
void text_put_regex(struct buf *to, const char *text);
