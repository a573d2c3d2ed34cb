/* A large set seen from above: what all stores of the simulated network hold of it together, without a
 * datagram.
 *
 *     struct sets_census c;
 *     sets_census_take(s, &c);
 *     if (c.copies_least < 8) ...
 */
#ifndef TESTS_SETS_CENSUS_H
#define TESTS_SETS_CENSUS_H
#include "kad/set.h"
#include "tests/sets_work.h"

struct sets_census {
    uint32_t shards[KAD_SHARD_DEPTH_MAX + 1];  /* that hold entries and that no holder calls split */
    uint32_t split[KAD_SHARD_DEPTH_MAX + 1];   /* that any holder calls split */
    uint32_t smallest, largest;                /* entries at one holder of an unsplit shard, tombstones too */
    double mean;
    uint64_t copies, dead;                     /* entries in all stores; of them tombstones */
    uint64_t above;                            /* of all copies, those in shards that are split */
    uint32_t lost;                             /* live for their writers, and nowhere */
    uint32_t few;                              /* live, and held by fewer than half as many as should */
    double holders;                            /* of a live entry, on average */
    uint64_t store_bytes;                      /* of a node, on average */
    uint32_t splits_made;                      /* shards that are split, of all depths */
};

void sets_census_take(struct sets *s, struct sets_census *ret);

#endif
