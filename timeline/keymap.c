#include "timeline/keymap.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"

#define CAP_FIRST 64

void keymap_init(struct keymap *m, const struct rng *rng)
{
    *m = (struct keymap){ .cells = NULL };
    rng_fill(rng, m->secret, sizeof m->secret);
}

void keymap_clear(struct keymap *m)
{
    free(m->cells);
    m->cells = NULL;
    m->n = m->cap = 0;
}

static size_t home(const struct keymap *m, const uint8_t *key)
{
    uint64_t h;
    uint8_t out[crypto_shorthash_BYTES];
    crypto_shorthash(out, key, KEYMAP_KEY_SIZE, m->secret);
    memcpy(&h, out, sizeof h);
    return (size_t)h & (m->cap - 1);
}

/* The cell of `key`, or the free one where it would go. */
static struct keymap_cell *find(const struct keymap *m, const uint8_t *key)
{
    size_t i = home(m, key);
    while (m->cells[i].key && memcmp(m->cells[i].key, key, KEYMAP_KEY_SIZE) != 0)
        i = (i + 1) & (m->cap - 1);
    return &m->cells[i];
}

void *keymap_get(const struct keymap *m, const uint8_t *key)
{
    return m->cap ? find(m, key)->value : NULL;
}

static int grow(struct keymap *m)
{
    struct keymap old = *m;
    size_t cap = old.cap ? old.cap * 2 : CAP_FIRST;
    m->cells = calloc(cap, sizeof *m->cells);
    if (!m->cells) {
        m->cells = old.cells;
        return CAM_ESYS;
    }
    m->cap = cap;
    for (size_t i = 0; i < old.cap; i++)
        if (old.cells[i].key)
            *find(m, old.cells[i].key) = old.cells[i];
    free(old.cells);
    return 0;
}

int keymap_put(struct keymap *m, const uint8_t *key, void *value)
{
    if ((m->n + 1) * 4 > m->cap * 3 && grow(m))
        return CAM_ESYS;
    struct keymap_cell *cell = find(m, key);
    m->n += cell->key == NULL;
    cell->key = key;
    cell->value = value;
    return 0;
}

void keymap_remove(struct keymap *m, const uint8_t *key)
{
    if (!m->cap)
        return;
    struct keymap_cell *cell = find(m, key);
    if (!cell->key)
        return;
    /* Close the hole, so that no search stops at it: move up what would be looked for before it. */
    size_t hole = (size_t)(cell - m->cells);
    for (size_t i = (hole + 1) & (m->cap - 1); m->cells[i].key; i = (i + 1) & (m->cap - 1)) {
        size_t from_home = (i - home(m, m->cells[i].key)) & (m->cap - 1);
        size_t from_hole = (i - hole) & (m->cap - 1);
        if (from_home >= from_hole) {
            m->cells[hole] = m->cells[i];
            hole = i;
        }
    }
    m->cells[hole] = (struct keymap_cell){ .key = NULL };
    m->n--;
}

void *keymap_next(const struct keymap *m, size_t *at)
{
    while (*at < m->cap) {
        struct keymap_cell *cell = &m->cells[(*at)++];
        if (cell->key)
            return cell->value;
    }
    return NULL;
}
