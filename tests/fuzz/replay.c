/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver of a fuzz harness where there is no libFuzzer: feeds it every file named on
 * the command line, once, on the main thread. In: corpus files. Out: a status of 0, or
 * the end of the process at the input that breaks the parser, named on stderr before.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A copy of exactly its size, so that reading past the end is seen. */
static uint8_t *load(const char *path, size_t *ret_len)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = NULL;
	long len = -1;

	if (!file)
		return NULL;
	if (fseek(file, 0, SEEK_END) == 0)
		len = ftell(file);
	rewind(file);
	if (len >= 0)
		data = malloc(len ? len : 1);
	if (data && fread(data, 1, len, file) == (size_t)len) {
		*ret_len = len;
	} else {
		free(data);
		data = NULL;
	}
	fclose(file);
	return data;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "%s: no corpus: name its files\n", argv[0]);
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		size_t len;
		uint8_t *data = load(argv[i], &len);

		if (!data) {
			perror(argv[i]);
			return 2;
		}
		fprintf(stderr, "%s\n", argv[i]);
		LLVMFuzzerTestOneInput(data, len);
		free(data);
	}
	printf("%d inputs\n", argc - 1);
	return 0;
}
