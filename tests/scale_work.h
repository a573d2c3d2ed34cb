/* What the nodes of a simulated network are asked to do, and how well it goes: batches of puts, gets and lookups from
 * random nodes, at a steady rate, each judged against the truth.
 *
 * Keys are numbers. The value of key i is made from i alone, so that nothing needs to be kept about it: a bencoded
 * dict with a signed life, immutable, or (each `mutable_every`-th) mutable and signed. Keys of the group `mortal` carry a
 * mark by which the network can swallow every later put of them: they live without repair.
 *
 *     struct scale_tally t;
 *     scale_work_run(work, &(struct scale_batch){.kind = SCALE_PUT, .n = 1000, .per_s = 100}, &t);
 *     scale_work_run(work, &(struct scale_batch){.kind = SCALE_GET, .n = 1000, .per_s = 100}, &t);
 *     if (t.good < t.asked) ...
 *     scale_tally_clear(&t);
 */
#ifndef TESTS_SCALE_WORK_H
#define TESTS_SCALE_WORK_H
#include "tests/scale_net.h"

#define SCALE_HOPS_MAX 16

enum scale_kind { SCALE_PUT, SCALE_GET, SCALE_FIND };

struct scale_batch {
    enum scale_kind kind;
    uint32_t first_key, n;   /* n operations; a find is of a random id instead of a key */
    bool mortal;             /* of the keys without repair */
    double per_s;
};

struct scale_tally {
    uint64_t asked, ended, good; /* good: stored, found and right, or all of the true k closest named */
    uint64_t gone;               /* whoever was asked to do it died meanwhile: counts for nothing */
    uint64_t wrong;              /* a value that was never put */
    uint64_t named, closest;     /* finds: of the true k closest, how many were named */
    uint64_t holders;            /* puts and gets */
    uint64_t hops[SCALE_HOPS_MAX], hops_sum, hops_n; /* finds: to the first of the true k closest that answered */
    uint64_t answers;            /* finds: nodes that answered */
    uint64_t datagrams;          /* sent by anybody while the batch ran */
    uint32_t *latency_ms;        /* of each that ended */
};

struct scale_work;

/* Takes the hooks on_event and on_work of `net`. */
struct scale_work *scale_work_new(struct scale_net *net, uint32_t mutable_every);
void scale_work_free(struct scale_work *w);
/* Lives until all operations have ended (at most a minute longer than it takes to begin them). */
void scale_work_run(struct scale_work *w, const struct scale_batch *batch, struct scale_tally *ret);
double scale_tally_share(const struct scale_tally *t); /* good of those that count; 1 when none do */
uint32_t scale_tally_latency_ms(struct scale_tally *t, double share);
double scale_tally_hops(const struct scale_tally *t);
void scale_tally_clear(struct scale_tally *t);

void scale_work_target(const struct scale_work *w, uint32_t key, bool mortal, uint8_t ret[KAD_ID_SIZE]);
#define SCALE_HOLDERS_MAX 128
/* The slots of the live nodes that hold the key, and how many: looked up in their stores, without a datagram. */
uint32_t scale_work_holders(const struct scale_work *w, uint32_t key, bool mortal, uint32_t ret_slots[SCALE_HOLDERS_MAX]);
struct scale_net *scale_work_net(const struct scale_work *w);

#endif
