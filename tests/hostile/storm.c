/* Real messages with a few bytes changed, cut or glued together; and junk. */
#include <stdlib.h>
#include <string.h>
#include "core/rng.h"
#include "tests/hostile/session.h"

#define STORM_LIVES 24
#define BENT_MAX 4096

static size_t run_of(const struct chain *c, size_t from, size_t n, struct forged_item *items)
{
    for (size_t i = 0; i < n; i++)
        items[i] = (struct forged_item){ .header = made_header(&c->at[from + n - 1 - i]), .body = made_body(&c->at[from + n - 1 - i]) };
    return n;
}

/* The i-th message as it should be. */
static struct span sound(const struct chain *c, const struct identity *author, int i, const struct rng *rng, uint8_t *buf, size_t cap)
{
    struct forged_item items[4];
    struct message want = { .kind = MESSAGE_WANT, .want = { .from = 1, .bytes_max = 1000 } };
    memcpy(want.want.author, author->pk, KEY_SIZE);
    switch (i % 5) {
    case 0: return forge_post(&c->at[i % 8], &c->at[i % 8], buf, cap);
    case 1: return forge_batch(author->pk, items, run_of(c, (size_t)i % 3, 4, items), 0, buf, cap);
    case 2: return forge_have(author->pk, made_header(&c->at[i % 8]), buf, cap);
    case 3: return forge_encode(&want, buf, cap);
    default: break;
    }
    uint32_t size = rng_below(rng, 2000);
    rng_fill(rng, buf, size);
    return span(buf, size);
}

int attack_storm(struct victim *v, int count, uint64_t seed)
{
    static uint8_t bent[BENT_MAX];
    struct rng_seeded state;
    struct rng rng = rng_seeded(&state, seed);
    struct identity *author = identity_named("carol");
    struct chain *c = chain_new(author, 8, 40, unix_ms() - 60000);

    session_open(v, "storm");
    session_hello();
    session_follow(unix_s(), false);
    session_more_lives(STORM_LIVES, "storm");
    session.n.sent = 0;
    for (int i = 0; i < count; i++) {
        struct span all = sound(c, author, i, &rng, bent, sizeof bent);
        for (uint32_t k = 0, n = 1 + rng_below(&rng, 4); k < n && all.size; k++)
            bent[rng_below(&rng, (uint32_t)all.size)] ^= (uint8_t)(1 + rng_below(&rng, 255));
        struct span sent = span(bent, rng_below(&rng, 4) ? all.size : rng_below(&rng, (uint32_t)all.size + 1));
        session_say_forged(sent);
    }
    printf("%s sent=%u\n", session_fence() ? "ok" : "silent", session.n.sent);
    session_close();
    identity_free(author);
    free(c);
    return 0;
}
