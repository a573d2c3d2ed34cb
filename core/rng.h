/* Injected randomness: the kernel's in a real node (io_os.h: io_os_rng), a seeded stream in tests and
 * the simulator. Pure code draws from nothing else, so one seed reproduces a run.
 *
 *     struct rng_seeded seeded; struct rng rng = rng_seeded(&seeded, 42);
 *     uint32_t n = rng_below(&rng, 10);      // 0..9
 */
#ifndef CORE_RNG_H
#define CORE_RNG_H
#include <stddef.h>
#include <stdint.h>

struct rng {
    void (*fill)(void *ctx, void *buf, size_t size);
    void *ctx;
};

struct rng_seeded {
    uint8_t key[32];
    uint64_t block;
};

void rng_fill(const struct rng *rng, void *buf, size_t size);
uint32_t rng_u32(const struct rng *rng);
uint64_t rng_u64(const struct rng *rng);
uint32_t rng_below(const struct rng *rng, uint32_t bound); /* uniform in 0..bound-1; bound > 0 */

/* A deterministic stream (ChaCha20 over a counter). `state` must outlive the rng. */
struct rng rng_seeded(struct rng_seeded *state, uint64_t seed);

#endif
