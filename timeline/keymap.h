/* A map from 32-byte keys (users, transport keys) to things that hold their key. Open addressing, at most
 * three quarters full. The keys are chosen by strangers, so they are hashed under a secret of our own.
 *
 *     struct keymap map; keymap_init(&map, rng);
 *     keymap_put(&map, person->pk, person);
 *     struct person *p = keymap_get(&map, pk);
 *     for (size_t i = 0; (p = keymap_next(&map, &i));) ...      no put or remove while walking
 */
#ifndef TIMELINE_KEYMAP_H
#define TIMELINE_KEYMAP_H
#include "core/rng.h"
#include <stdint.h>

#define KEYMAP_KEY_SIZE 32

struct keymap_cell {
    const uint8_t *key; /* borrowed: lies in the value; NULL = free */
    void *value;
};

struct keymap {
    struct keymap_cell *cells;
    size_t n, cap; /* cap is a power of two, or 0 */
    uint8_t secret[16];
};

void keymap_init(struct keymap *m, const struct rng *rng);
void keymap_clear(struct keymap *m); /* frees the map, not what it names */
void *keymap_get(const struct keymap *m, const uint8_t *key); /* NULL when there is none */
int keymap_put(struct keymap *m, const uint8_t *key, void *value); /* replaces; CAM_ESYS: no memory */
void keymap_remove(struct keymap *m, const uint8_t *key);
void *keymap_next(const struct keymap *m, size_t *at);

#endif
