#include "tests/scale_ids.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "tests/scale_memory.h"

#define CELL_NODES 8

static uint32_t cell_of(const struct scale_ids *s, const uint8_t id[ID_SIZE])
{
    return s->bits ? be32(id) >> (32 - s->bits) : 0;
}

void scale_ids_init(struct scale_ids *s, uint32_t slots)
{
    *s = (struct scale_ids){.id = scale_alloc(slots, sizeof *s->id)};
    while ((slots >> s->bits) > CELL_NODES)
        s->bits++;
    s->cells = scale_alloc((size_t)1 << s->bits, sizeof *s->cells);
}

void scale_ids_clear(struct scale_ids *s)
{
    for (size_t i = 0; s->cells && i < (size_t)1 << s->bits; i++)
        free(s->cells[i].slots);
    free(s->cells);
    free(s->id);
    *s = (struct scale_ids){0};
}

void scale_ids_add(struct scale_ids *s, uint32_t slot, const uint8_t id[ID_SIZE])
{
    uint32_t c = cell_of(s, id);

    memcpy(s->id[slot], id, ID_SIZE);
    if (s->cells[c].n == s->cells[c].cap) {
        s->cells[c].cap += CELL_NODES;
        s->cells[c].slots = scale_realloc(s->cells[c].slots, s->cells[c].cap * sizeof *s->cells[c].slots);
    }
    s->cells[c].slots[s->cells[c].n++] = slot;
    s->n++;
}

void scale_ids_remove(struct scale_ids *s, uint32_t slot)
{
    uint32_t c = cell_of(s, s->id[slot]), i = 0;

    while (i < s->cells[c].n && s->cells[c].slots[i] != slot)
        i++;
    assert(i < s->cells[c].n);
    s->cells[c].slots[i] = s->cells[c].slots[--s->cells[c].n];
    s->n--;
}

size_t scale_ids_closest(const struct scale_ids *s, const uint8_t target[ID_SIZE], uint32_t *ret, size_t max)
{
    uint32_t c = cell_of(s, target);
    size_t n = 0, fixed = 0;

    for (uint32_t x = 0; x < (uint32_t)1 << s->bits && n < max; x++, fixed = n) {
        const uint32_t *slots = s->cells[c ^ x].slots;
        for (uint32_t i = 0; i < s->cells[c ^ x].n; i++) {
            size_t at = n;
            while (at > fixed && id_compare(target, s->id[slots[i]], s->id[ret[at - 1]]) < 0)
                at--;
            if (at == max)
                continue;
            n += n < max;
            memmove(&ret[at + 1], &ret[at], (n - at - 1) * sizeof *ret);
            ret[at] = slots[i];
        }
    }
    return n;
}
