/* A large set as after its growth, laid directly where it would lie: each entry, with its signature checked as ever, at
 * the k nodes closest to its leaf, all leaves at one depth, and every shard above split, with one entry left in it.
 * Not a datagram is sent. What growing costs over the network, runs without it show.
 *
 *     sets_fill(s, 0, 900000, &version);
 */
#ifndef TESTS_SETS_FILL_H
#define TESTS_SETS_FILL_H
#include "tests/sets_work.h"

#define SETS_FILL_LEAF 320 /* entries of a leaf at most, on average: few of more than KAD_SHARD_ENTRIES_MAX then */

/* Entries of keys [first, first + n), for a set that is to have `all`. */
void sets_fill(struct sets *s, uint32_t first, uint32_t n, uint32_t all, const struct sets_version *version);

#endif
