/* Exit records and CRI log lines: files that containers' output and broken disks get into. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "agent/runtime/cri_reader.h"
#include "agent/runtime/exit_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct exit_record record;
	struct cri_line line;
	int64_t ns;

	if (exit_record_parse((const char *)data, size, &record) == 0 && (record.code < 0 || record.code > 255))
		abort();
	if (cri_line_parse((const char *)data, size, &line) == 0) {
		if (line.text < (const char *)data || line.text + line.text_len > (const char *)data + size)
			abort();
		cri_line_time(&line, &ns);
	}
	return 0;
}
