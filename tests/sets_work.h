/* What is done with a large set over a simulated network: entries put by random nodes at a steady rate, the
 * set read and counted by a node, each judged against what was put.
 *
 *     struct sets *s = sets_new(&net_config, 1000000);
 *     sets_put(s, &(struct sets_batch){.n = 1000, .per_s = 100, .version = {.seq = 1, .exp_s = ...}}, &puts);
 *     sets_read(s, slot, &reading);              // reading.found, .twice, .missing ...
 *     sets_free(s);
 */
#ifndef TESTS_SETS_WORK_H
#define TESTS_SETS_WORK_H
#include "tests/scale_life.h"
#include "tests/scale_net.h"
#include "tests/sets_entry.h"

/* Of a key, as its writer sees it. */
enum sets_state { SETS_ABSENT, SETS_PUTTING, SETS_LIVE, SETS_LEAVING, SETS_GONE };

struct sets {
    struct scale_net *net;
    struct scale_life *life;
    struct sets_keys *keys;
    struct scale_rand pick;
    uint8_t *state;          /* by key */
    int64_t *exp_s;          /* by key, of its newest version */
    struct wheel_event next;
    struct sets_op *ops;     /* by place; an op's tag is place + 1 */
    uint32_t cap, *free, n_free;
    struct sets_run *run;    /* the batch that runs */
    struct sets_reading *reading;
};

struct sets_batch {
    uint32_t first, n;       /* keys */
    struct sets_version version;
    double per_s;
    uint32_t from_slot, slots; /* the nodes that write, each in its turn; slots 0: all, at random */
};

struct sets_puts {
    uint32_t asked, stored, failed;
    uint64_t holders;
    double datagrams;          /* sent by anybody meanwhile */
    uint32_t each;             /* datagrams of one put, the median: twice what its writer asked while it ran */
    uint32_t p50_ms, p99_ms, most_ms;
    double virtual_s, cpu_s;
};

struct sets_reading {
    uint32_t slot;
    bool ended;
    int status;
    uint32_t found, dead, twice, unknown; /* live, tombstones, keys that came again, keys never put */
    uint32_t missing;                     /* live before it began, and still, but not found */
    uint32_t late;                        /* found live though its tombstone was stored before */
    double datagrams;                     /* sent by anybody meanwhile */
    double virtual_s, cpu_s;
    uint8_t *seen;                        /* by key */
    uint8_t *before;                      /* states when it began */
    uint64_t started_ms;
    uint64_t count, spread;               /* of a count */
    uint32_t shards;
};

struct sets *sets_new(const struct scale_config *net, uint32_t entries);
void sets_free(struct sets *s);

int64_t sets_now_s(const struct sets *s);
void sets_run_s(struct sets *s, double seconds);
uint32_t sets_random_slot(struct sets *s);
/* Puts a batch; `reading` may go on meanwhile. Returns when all have ended. */
void sets_put(struct sets *s, const struct sets_batch *batch, struct sets_puts *ret);
/* Reads the whole set from a node: begun now, ended when reading->ended; `sets_read` waits for it. */
void sets_read_begin(struct sets *s, uint32_t slot, struct sets_reading *ret);
void sets_read_end(struct sets *s, struct sets_reading *reading);
void sets_read(struct sets *s, uint32_t slot, struct sets_reading *ret);
void sets_count(struct sets *s, uint32_t slot, bool exact, struct sets_reading *ret);
/* Datagrams a second that the network sends when nobody asks it for anything: measured over a minute. */
double sets_quiet_per_s(struct sets *s);

#endif
