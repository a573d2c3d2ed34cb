/* Random streams of the simulator. Each kind of fault, each kind of work and each node draws from a stream of its
 * own, so that switching one fault off leaves what the others do as it was.
 *
 *     struct scale_rand loss = scale_rand(seed, "loss");
 *     if (scale_chance(&loss, 0.01)) drop();
 */
#ifndef TESTS_SCALE_RAND_H
#define TESTS_SCALE_RAND_H
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct scale_rand { /* splitmix64 (Steele, Lea, Flood 2014): eight bytes of state, one multiplication chain a draw */
    uint64_t state;
};

/* The finalizer of splitmix64: also a good hash of one word. */
static inline uint64_t scale_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline struct scale_rand scale_rand(uint64_t seed, const char *name)
{
    uint64_t h = scale_mix(seed + UINT64_C(0x9e3779b97f4a7c15));

    for (; *name; name++)
        h = scale_mix(h ^ (uint8_t)*name);
    return (struct scale_rand){h};
}

static inline uint64_t scale_u64(struct scale_rand *r)
{
    return scale_mix(r->state += UINT64_C(0x9e3779b97f4a7c15));
}

static inline uint32_t scale_below(struct scale_rand *r, uint32_t bound) /* bias below 2^-32 */
{
    return (uint32_t)(((scale_u64(r) >> 32) * bound) >> 32);
}

static inline double scale_unit(struct scale_rand *r) /* in (0, 1] */
{
    return (double)((scale_u64(r) >> 11) + 1) * 0x1p-53;
}

static inline bool scale_chance(struct scale_rand *r, double p) /* draws nothing when it cannot happen */
{
    return p > 0 && scale_unit(r) <= p;
}

/* The `fill` of a struct rng whose ctx is a struct scale_rand: what a node draws from. */
static inline void scale_rand_fill(void *ctx, void *buf, size_t size)
{
    uint8_t *at = buf;

    while (size > 0) {
        uint64_t word = scale_u64(ctx);
        size_t n = size < sizeof word ? size : sizeof word;
        memcpy(at, &word, n);
        at += n;
        size -= n;
    }
}

#endif
