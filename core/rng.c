#include "core/rng.h"

#include <assert.h>
#include <sodium.h>

#include "core/bytes.h"

void rng_fill(const struct rng *rng, void *buf, size_t size)
{
    if (size > 0)
        rng->fill(rng->ctx, buf, size);
}

uint32_t rng_u32(const struct rng *rng)
{
    uint8_t raw[4];
    rng_fill(rng, raw, sizeof raw);
    return be32(raw);
}

uint64_t rng_u64(const struct rng *rng)
{
    uint8_t raw[8];
    rng_fill(rng, raw, sizeof raw);
    return be64(raw);
}

/* The upper half of draw * bound is uniform once the few low halves that would favour some results are
 * drawn again (Lemire 2019, "Fast Random Integer Generation in an Interval", section 4). */
uint32_t rng_below(const struct rng *rng, uint32_t bound)
{
    assert(bound > 0);
    uint64_t product = (uint64_t)rng_u32(rng) * bound;
    if ((uint32_t)product < bound) {
        uint32_t unfair = -bound % bound; /* 2^32 mod bound */
        while ((uint32_t)product < unfair)
            product = (uint64_t)rng_u32(rng) * bound;
    }
    return (uint32_t)(product >> 32);
}

/* Each call takes a nonce of its own, so what one caller draws does not depend on how its neighbours
 * cut up theirs. */
static void seeded_fill(void *ctx, void *buf, size_t size)
{
    struct rng_seeded *state = ctx;
    uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];
    static_assert(sizeof nonce == 8, "the nonce is the call counter");
    put_be64(nonce, state->block++);
    crypto_stream_chacha20(buf, size, nonce, state->key);
}

struct rng rng_seeded(struct rng_seeded *state, uint64_t seed)
{
    static_assert(sizeof state->key == crypto_stream_chacha20_KEYBYTES, "the key is ChaCha20's");
    *state = (struct rng_seeded){ .block = 0 };
    put_be64(state->key, seed);
    return (struct rng){ .fill = seeded_fill, .ctx = state };
}
