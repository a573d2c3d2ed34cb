/* A simulated network with all that belongs to it, made and measured in one call each: what the simulator, its seeds
 * and the benchmarks are written with.
 *
 *     struct scale_world w;
 *     scale_world_open(&w, &(struct scale_world_config){.net = {.slots = 10000, .seed = 1}, .fill = true});
 *     scale_work_run(w.work, ...);
 *     scale_world_close(&w);
 */
#ifndef TESTS_SCALE_WORLD_H
#define TESTS_SCALE_WORLD_H
#include "tests/scale_life.h"
#include "tests/scale_net.h"
#include "tests/scale_work.h"


struct scale_world_config {
    struct scale_config net;
    struct scale_life_config life;
    uint32_t mutable_every;      /* each so many-th key is mutable and signed; 0: none */
    const struct scale_ids *like; /* of another network: the ids that nodes of filled tables are to have */
    bool fill;                   /* tables are filled directly; else everybody joins and the network settles */
};

struct scale_world {
    struct scale_net *net;
    struct scale_work *work;
    struct scale_life *life;
};

void scale_world_open(struct scale_world *w, const struct scale_world_config *config);
void scale_world_close(struct scale_world *w);
void scale_world_run(struct scale_world *w, double seconds);
void scale_world_check(const struct scale_world *w); /* kad_check of every node */

/* What this process uses now. */
double scale_real_s(void);
double scale_cpu_s(void);
double scale_resident_mib(void);
double scale_heap_bytes(void); /* handed out by malloc and not freed */

#endif
