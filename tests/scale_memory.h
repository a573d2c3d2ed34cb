/* Memory that the simulator needs to go on at all: it ends when there is none. */
#ifndef TESTS_SCALE_MEMORY_H
#define TESTS_SCALE_MEMORY_H
#include <stdio.h>
#include <stdlib.h>

static inline void *scale_have(void *p)
{
    if (!p) {
        fputs("scale: no memory\n", stderr);
        exit(2);
    }
    return p;
}

static inline void *scale_alloc(size_t n, size_t size) { return scale_have(calloc(n ? n : 1, size)); }
static inline void *scale_realloc(void *p, size_t size) { return scale_have(realloc(p, size)); }

#endif
