/* For tests: the test vectors of docs/protocol.md. A vector is a line "NAME = HEX", its hex going on
 * over the next lines up to an empty one or the end of its block. Run from the top of the tree. */
#ifndef TESTS_UNIT_VECTORS_H
#define TESTS_UNIT_VECTORS_H
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"

#define VECTORS_PAGE "docs/protocol.md"

/* The named vector as bytes; 0 when there is none. */
static inline size_t vector_read(const char *name, uint8_t *ret, size_t cap)
{
    FILE *f = fopen(VECTORS_PAGE, "r");
    char line[512], hex[8192] = "";
    bool inside = false;
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f)) {
        char *at = line;
        while (isspace((unsigned char)*at))
            at++;
        if (!inside && strncmp(at, name, strlen(name)) == 0 && strncmp(at + strlen(name), " = ", 3) == 0) {
            inside = true;
            at += strlen(name) + 3;
        } else if (inside && !isxdigit((unsigned char)*at)) {
            break;
        }
        if (inside)
            strncat(hex, at, strcspn(at, " \r\n"));
    }
    fclose(f);
    size_t size = strlen(hex) / 2;
    return inside && size <= cap && hex_decode(ret, size, hex) == 0 ? size : 0;
}

/* Are these the bytes of the vector? Says what they should be when not. */
static inline bool vector_matches(const char *name, const void *bytes, size_t size)
{
    static uint8_t expected[4096];
    static char hex[8193];
    size_t expected_size = vector_read(name, expected, sizeof expected);
    if (expected_size == size && memcmp(expected, bytes, size) == 0)
        return true;
    hex_encode(hex, bytes, size);
    printf("vector %s: the page has %zu bytes, the code makes %zu:\n", name, expected_size, size);
    for (size_t i = 0; i < 2 * size; i += 96)
        printf("    %s%s%.96s\n", i ? "" : name, i ? "" : " = ", hex + i);
    return false;
}

#endif
