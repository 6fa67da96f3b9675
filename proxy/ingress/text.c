#include "proxy/ingress/text.h"

#include <ctype.h>
#include <string.h>

void text_put_word(struct buf *to, const char *word)
{
	for (; *word != '\0'; word++) {
		if (!isalnum((unsigned char)*word) && (unsigned char)*word < 0x80 &&
		    strchr("/._~-:%?&=+@,!*|", *word) == NULL)
			buf_put_byte(to, '\\');
		buf_put_byte(to, (uint8_t)*word);
	}
}

void text_put_regex(struct buf *to, const char *text)
{
	for (; *text != '\0'; text++) {
		if (strchr(".[](){}*+?^$|\\", *text) != NULL)
			buf_put_byte(to, '\\');
		buf_put_byte(to, (uint8_t)*text);
	}
}
