/* Signatures that were found good, so that the same bytes are never verified twice: sixteen holders answer
 * with the same item, a holder hands on what it checked already. Each is remembered as a keyed hash (BLAKE2b,
 * 128 bits) of key, signature and signed bytes; the key is secret, so nobody can make a forgery meet one.
 * Only good signatures are remembered. The memory starts at zero, grows as it is used and is bounded; a
 * newer one displaces an older one. May be shared by many stores (a simulator does).
 *
 *     struct kad_verified seen; kad_verified_init(&seen, &rng);
 *     if (kad_verified_item(&seen, &item)) refuse();
 *     kad_verified_clear(&seen);
 */
#ifndef KAD_VERIFIED_H
#define KAD_VERIFIED_H
#include "kad/item.h"

#define KAD_VERIFIED_MAX 8192 /* signatures remembered; 16 bytes each */

struct kad_verified {
    uint8_t key[32];
    uint8_t (*slots)[16];
    uint32_t cap, max, added; /* added: since the start, displacing included */
    uint64_t hits, misses;    /* a miss is a verification that was done */
};

void kad_verified_init(struct kad_verified *seen, const struct rng *rng);
void kad_verified_clear(struct kad_verified *seen); /* frees; may be used again only after init */

/* As kad_item_verify and kad_entry_verify, remembering. `seen` may be NULL: then every call verifies. */
int kad_verified_item(struct kad_verified *seen, const struct kad_item *item);
int kad_verified_entry(struct kad_verified *seen, const struct kad_entry *entry,
                       const uint8_t root[KAD_ID_SIZE]);

#endif
