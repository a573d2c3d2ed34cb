/* A growing hash index: 32-bit keyed hashes to 32-bit values, open addressing with linear probing. It knows
 * no keys: several values may stand under one hash and the caller compares what they name. Hashes must come
 * from a secret key (SipHash), so that peers cannot make them collide. An empty one has no memory; it shrinks
 * again.
 *
 * Invariant: at most 3 of 4 slots are used; from a value's home slot to where it lies no slot is empty.
 *
 *     uint32_t at;
 *     for (uint32_t i = kad_map_first(&m, hash, &at); i != KAD_MAP_NONE; i = kad_map_next(&m, hash, &at))
 *         if (is_it(things[i])) return things[i];
 */
#ifndef KAD_MAP_H
#define KAD_MAP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KAD_MAP_NONE UINT32_MAX /* not a value */

struct kad_map_slot {
    uint32_t hash, value;
};

struct kad_map { /* all zero is an empty map */
    struct kad_map_slot *slots;
    uint32_t cap, used; /* cap is zero or a power of two */
};

void kad_map_clear(struct kad_map *m); /* frees; empty and usable again */
uint32_t kad_map_first(const struct kad_map *m, uint32_t hash, uint32_t *ret_at);
uint32_t kad_map_next(const struct kad_map *m, uint32_t hash, uint32_t *at);
/* Makes sure that the next kad_map_add cannot fail. CAM_ESYS: no memory. */
int kad_map_reserve(struct kad_map *m);
int kad_map_add(struct kad_map *m, uint32_t hash, uint32_t value);                 /* CAM_ESYS: no memory */
void kad_map_remove(struct kad_map *m, uint32_t hash, uint32_t value);             /* it must be there */
void kad_map_change(struct kad_map *m, uint32_t hash, uint32_t from, uint32_t to); /* it must be there */

/* A map used as counters: how often a hash was counted. Counting never fails once reserved. */
uint32_t kad_map_count(const struct kad_map *m, uint32_t hash);
int kad_map_count_up(struct kad_map *m, uint32_t hash);
void kad_map_count_down(struct kad_map *m, uint32_t hash);

void kad_map_check(const struct kad_map *m);

#endif
