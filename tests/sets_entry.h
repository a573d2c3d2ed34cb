/* The writers of a large set: key i, and what it signs, are made from i and the seed alone. And a memory of
 * signatures that were found good, for the whole process: sixteen holders, and every reader, would verify
 * the same bytes again; here each is verified once (the program is linked with --wrap=identity_verify).
 * What each would have cost is known from `made` and `asked`.
 *
 *     struct sets_keys *keys = sets_keys_new(1000000, seed);
 *     struct sets_entry e;
 *     sets_entry_make(keys, i, &(struct sets_version){.seq = 1, .exp_s = exp_s}, &e);
 *     kad_set_put(kad, now, keys->root, &e.entry, tag);
 *     uint32_t i = sets_key_index(keys, entry.pk);       // whose is it?
 */
#ifndef TESTS_SETS_ENTRY_H
#define TESTS_SETS_ENTRY_H
#include "kad/kad.h"

#define SETS_NOBODY UINT32_MAX

struct sets_keys {
    uint32_t n;
    uint64_t seed;
    uint8_t root[KAD_ID_SIZE];
    struct { uint64_t word; uint32_t index; } *map; /* by the first bytes of the key, of entries made so far */
    uint32_t cap;
};

struct sets_version {
    int64_t seq, exp_s;
    bool del;
};

struct sets_entry {
    struct kad_entry entry; /* v points below */
    uint8_t v[KAD_SET_VALUE_MAX];
};

struct sets_verified {
    uint64_t asked, made; /* verifications asked for by nodes, and really made */
};

struct sets_keys *sets_keys_new(uint32_t n, uint64_t seed);
void sets_keys_free(struct sets_keys *keys);
void sets_entry_make(struct sets_keys *keys, uint32_t i, const struct sets_version *version,
                     struct sets_entry *ret);
uint32_t sets_key_index(const struct sets_keys *keys, const uint8_t pk[KEY_SIZE]); /* SETS_NOBODY */

/* The memory of good signatures starts empty, holds up to `n` and is dropped by (0). */
void sets_verified_open(uint32_t n);
struct sets_verified sets_verified_counts(void);

#endif
