#include "kad/map.h"

#include <assert.h>
#include <stdlib.h>

#include "core/err.h"

#define CAP_MIN 8

void kad_map_clear(struct kad_map *m)
{
    free(m->slots);
    *m = (struct kad_map){0};
}

static uint32_t probe(const struct kad_map *m, uint32_t hash, uint32_t at)
{
    for (; m->slots[at].value != KAD_MAP_NONE; at = (at + 1) & (m->cap - 1))
        if (m->slots[at].hash == hash)
            return at;
    return KAD_MAP_NONE;
}

uint32_t kad_map_first(const struct kad_map *m, uint32_t hash, uint32_t *ret_at)
{
    if (m->used == 0)
        return KAD_MAP_NONE;
    uint32_t at = probe(m, hash, hash & (m->cap - 1));
    if (at == KAD_MAP_NONE)
        return KAD_MAP_NONE;
    *ret_at = at;
    return m->slots[at].value;
}

uint32_t kad_map_next(const struct kad_map *m, uint32_t hash, uint32_t *at)
{
    uint32_t next = probe(m, hash, (*at + 1) & (m->cap - 1));
    if (next == KAD_MAP_NONE)
        return KAD_MAP_NONE;
    *at = next;
    return m->slots[next].value;
}

static void place(struct kad_map *m, uint32_t hash, uint32_t value)
{
    uint32_t at = hash & (m->cap - 1);
    while (m->slots[at].value != KAD_MAP_NONE)
        at = (at + 1) & (m->cap - 1);
    m->slots[at] = (struct kad_map_slot){hash, value};
}

static int resize(struct kad_map *m, uint32_t cap)
{
    struct kad_map new_map = {.slots = malloc(cap * sizeof *m->slots), .cap = cap, .used = m->used};
    if (!new_map.slots)
        return CAM_ESYS;
    for (uint32_t i = 0; i < cap; i++)
        new_map.slots[i].value = KAD_MAP_NONE;
    for (uint32_t i = 0; i < m->cap; i++)
        if (m->slots[i].value != KAD_MAP_NONE)
            place(&new_map, m->slots[i].hash, m->slots[i].value);
    free(m->slots);
    *m = new_map;
    return 0;
}

int kad_map_reserve(struct kad_map *m)
{
    if ((uint64_t)(m->used + 1) * 4 <= (uint64_t)m->cap * 3)
        return 0;
    return resize(m, m->cap ? m->cap * 2 : CAP_MIN);
}

int kad_map_add(struct kad_map *m, uint32_t hash, uint32_t value)
{
    assert(value != KAD_MAP_NONE);
    int err = kad_map_reserve(m);
    if (err)
        return err;
    place(m, hash, value);
    m->used++;
    return 0;
}

static uint32_t find(const struct kad_map *m, uint32_t hash, uint32_t value)
{
    uint32_t at = 0, v;
    for (v = kad_map_first(m, hash, &at); v != KAD_MAP_NONE && v != value; v = kad_map_next(m, hash, &at))
        ;
    return v == KAD_MAP_NONE ? KAD_MAP_NONE : at;
}

/* Closes the hole at `at` by moving back whatever would no longer be reached over it. */
static void take_out(struct kad_map *m, uint32_t at)
{
    uint32_t mask = m->cap - 1, hole = at;
    for (uint32_t i = (at + 1) & mask; m->slots[i].value != KAD_MAP_NONE; i = (i + 1) & mask) {
        uint32_t home = m->slots[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole].value = KAD_MAP_NONE;
    m->used--;
    if (m->used == 0)
        kad_map_clear(m);
    else if (m->cap > CAP_MIN && m->used < m->cap / 4)
        (void)resize(m, m->cap / 2); /* without memory it simply stays as large as it is */
}

void kad_map_remove(struct kad_map *m, uint32_t hash, uint32_t value)
{
    uint32_t at = find(m, hash, value);
    assert(at != KAD_MAP_NONE);
    take_out(m, at);
}

void kad_map_change(struct kad_map *m, uint32_t hash, uint32_t from, uint32_t to)
{
    uint32_t at = find(m, hash, from);
    assert(at != KAD_MAP_NONE && to != KAD_MAP_NONE);
    m->slots[at].value = to;
}

uint32_t kad_map_count(const struct kad_map *m, uint32_t hash)
{
    uint32_t at, n = kad_map_first(m, hash, &at);
    return n == KAD_MAP_NONE ? 0 : n;
}

int kad_map_count_up(struct kad_map *m, uint32_t hash)
{
    uint32_t at;
    if (kad_map_first(m, hash, &at) == KAD_MAP_NONE)
        return kad_map_add(m, hash, 1);
    m->slots[at].value++;
    return 0;
}

void kad_map_count_down(struct kad_map *m, uint32_t hash)
{
    uint32_t at, n = kad_map_first(m, hash, &at);
    assert(n != KAD_MAP_NONE && n > 0);
    if (n > 1)
        m->slots[at].value--;
    else
        take_out(m, at);
}

void kad_map_check(const struct kad_map *m)
{
    assert((m->cap & (m->cap - 1)) == 0 && (m->cap == 0) == (m->slots == NULL));
    assert((uint64_t)m->used * 4 <= (uint64_t)m->cap * 3);
    uint32_t used = 0;
    for (uint32_t i = 0; i < m->cap; i++) {
        if (m->slots[i].value == KAD_MAP_NONE)
            continue;
        used++;
        for (uint32_t at = m->slots[i].hash & (m->cap - 1); at != i; at = (at + 1) & (m->cap - 1))
            assert(m->slots[at].value != KAD_MAP_NONE);
    }
    assert(used == m->used);
}
