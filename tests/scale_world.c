#include "tests/scale_world.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/scale_fill.h"

void scale_world_open(struct scale_world *w, const struct scale_world_config *config)
{
    w->net = scale_net_new(&config->net);
    w->work = scale_work_new(w->net, config->mutable_every);
    w->life = scale_life_new(w->net, &config->life);
    if (config->fill) {
        scale_fill(w->net, config->like);
    } else {
        scale_life_join_all(w->life);
        scale_net_run(w->net, w->net->wheel.now_ms + SCALE_SETTLE_MS);
    }
}

void scale_world_close(struct scale_world *w)
{
    scale_life_free(w->life);
    scale_work_free(w->work);
    scale_net_free(w->net);
}

void scale_world_run(struct scale_world *w, double seconds)
{
    scale_net_run(w->net, w->net->wheel.now_ms + (uint64_t)(seconds * 1000));
}

void scale_world_check(const struct scale_world *w)
{
    for (uint32_t i = 0; i < w->net->config.slots; i++)
        if (w->net->nodes[i].kad)
            kad_check(w->net->nodes[i].kad);
}

static double clock_s(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double scale_real_s(void) { return clock_s(CLOCK_MONOTONIC); }
double scale_cpu_s(void) { return clock_s(CLOCK_PROCESS_CPUTIME_ID); }

double scale_resident_mib(void)
{
    unsigned long size, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (!f)
        return 0;
    if (fscanf(f, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

static double size_of(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    at = at ? strstr(at, "size=\"") : NULL;
    return at ? strtod(at + strlen("size=\""), NULL) : 0;
}

/* What malloc has handed out, of all arenas: mallinfo2() knows of the first alone. The sums stand at the end of what
 * malloc_info() writes: what is free, what was mapped piece by piece, and what the arenas have of the system. */
double scale_heap_bytes(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    if (!f)
        return 0;
    malloc_info(0, f);
    fclose(f);
    const char *sums = text ? strstr(text, "</heap>\n<total") : NULL; /* not an arena's, which stand in it */
    double bytes = sums ? size_of(sums, "<system type=\"current\"") - size_of(sums, "<total type=\"fast\"") -
                              size_of(sums, "<total type=\"rest\"") + size_of(sums, "<total type=\"mmap\"")
                        : 0;
    free(text);
    return bytes;
}
