#include "kad/verified.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "kad/set.h"

#define CAP_MIN 32
#define PRINT_SIZE 16
#define WAYS 4u

void kad_verified_init(struct kad_verified *seen, const struct rng *rng)
{
    *seen = (struct kad_verified){.max = KAD_VERIFIED_MAX};
    rng_fill(rng, seen->key, sizeof seen->key);
}

void kad_verified_clear(struct kad_verified *seen)
{
    free(seen->slots);
    sodium_memzero(seen, sizeof *seen);
}

/* A fingerprint's first bytes say in which bucket it lies: a cache line of four, the newest first. One more
 * pushes out the oldest of the four. */
static uint8_t (*bucket(const struct kad_verified *seen, const uint8_t print[PRINT_SIZE]))[PRINT_SIZE]
{
    return &seen->slots[be32(print) & (seen->cap - 1) & ~(WAYS - 1)];
}

static void remember(struct kad_verified *seen, const uint8_t print[PRINT_SIZE])
{
    uint8_t(*b)[PRINT_SIZE] = bucket(seen, print);
    memmove(b[1], b[0], (WAYS - 1) * PRINT_SIZE);
    memcpy(b[0], print, PRINT_SIZE);
}

static bool remembers(const struct kad_verified *seen, const uint8_t print[PRINT_SIZE])
{
    if (!seen->cap)
        return false;
    uint8_t(*b)[PRINT_SIZE] = bucket(seen, print);
    for (size_t i = 0; i < WAYS; i++)
        if (memcmp(b[i], print, PRINT_SIZE) == 0)
            return true;
    return false;
}

static void grow(struct kad_verified *seen)
{
    struct kad_verified larger = *seen;
    larger.cap = seen->cap ? seen->cap * 2 : CAP_MIN;
    larger.slots = calloc(larger.cap, PRINT_SIZE);
    if (!larger.slots)
        return;                            /* remembering is a convenience */
    for (uint32_t i = seen->cap; i-- > 0;) /* backwards, so that the newest of a bucket comes in last */
        if (!sodium_is_zero(seen->slots[i], PRINT_SIZE))
            remember(&larger, seen->slots[i]);
    free(seen->slots);
    *seen = larger;
}

static int verify(struct kad_verified *seen, const uint8_t pk[KEY_SIZE], const uint8_t sig[SIG_SIZE],
                  const struct bytes_out *message)
{
    if (!seen)
        return identity_verify(pk, message->buf, message->size, sig);

    uint8_t print[PRINT_SIZE];
    crypto_generichash_state state;
    crypto_generichash_init(&state, seen->key, sizeof seen->key, sizeof print);
    crypto_generichash_update(&state, pk, KEY_SIZE);
    crypto_generichash_update(&state, sig, SIG_SIZE);
    crypto_generichash_update(&state, message->buf, message->size);
    crypto_generichash_final(&state, print, sizeof print);
    if (remembers(seen, print)) {
        seen->hits++;
        return 0;
    }
    seen->misses++;
    int err = identity_verify(pk, message->buf, message->size, sig);
    if (err)
        return err;
    if (seen->added >= seen->cap / 2 && seen->cap < seen->max)
        grow(seen);
    if (seen->cap) {
        remember(seen, print);
        seen->added++;
    }
    return 0;
}

int kad_verified_item(struct kad_verified *seen, const struct kad_item *item)
{
    int code = kad_item_check(item);
    if (code)
        return kad_error_status(code);
    if (!item->is_mutable)
        return 0;
    uint8_t buf[KAD_ITEM_SIGNED_MAX];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    kad_item_signed_bytes(item, &out);
    assert(!out.err);
    return verify(seen, item->pk, item->sig, &out);
}

int kad_verified_entry(struct kad_verified *seen, const struct kad_entry *entry,
                       const uint8_t root[KAD_ID_SIZE])
{
    int code = kad_entry_check(entry);
    if (code)
        return kad_error_status(code);
    uint8_t buf[KAD_ENTRY_SIGNED_MAX];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    kad_entry_signed_bytes(entry, root, &out);
    assert(!out.err);
    return verify(seen, entry->pk, entry->sig, &out);
}
