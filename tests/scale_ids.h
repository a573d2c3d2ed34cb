/* Who really is where: the ids of all nodes that are up, for the simulator to judge by. The nodes never see it.
 *
 * Slots (the simulator's numbers of nodes) lie in cells by the first bits of their id, about eight to a cell. Cells
 * in the order target, target ^ 1, target ^ 2 ... are ever farther from the target, so the closest are found by
 * looking at a few.
 */
#ifndef TESTS_SCALE_IDS_H
#define TESTS_SCALE_IDS_H
#include "kad/id.h"

struct scale_ids {
    uint8_t (*id)[ID_SIZE];  /* by slot */
    struct { uint32_t *slots; uint32_t n, cap; } *cells;
    unsigned bits;           /* of an id that name its cell */
    uint32_t n;
};

void scale_ids_init(struct scale_ids *s, uint32_t slots);
void scale_ids_clear(struct scale_ids *s);
void scale_ids_add(struct scale_ids *s, uint32_t slot, const uint8_t id[ID_SIZE]);
void scale_ids_remove(struct scale_ids *s, uint32_t slot);
/* The `max` slots closest to target, closest first. */
size_t scale_ids_closest(const struct scale_ids *s, const uint8_t target[ID_SIZE], uint32_t *ret, size_t max);

#endif
