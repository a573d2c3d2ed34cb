#include "tests/sets_entry.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/bencode.h"
#include "core/hash.h"
#include "core/identity.h"
#include "tests/scale_memory.h"
#include "tests/scale_rand.h"

#define CONTACT_SIZE 38 /* what a follow entry says of a device: address and transport key */

/* ---- keys ---------------------------------------------------------------------------------------------- */

static uint32_t cap_for(uint32_t n)
{
    uint32_t cap = 64;

    while (cap < 2 * (uint64_t)n)
        cap *= 2;
    return cap;
}

struct sets_keys *sets_keys_new(uint32_t n, uint64_t seed)
{
    struct sets_keys *keys = scale_alloc(1, sizeof *keys);
    struct scale_rand r = scale_rand(seed, "root");

    keys->n = n;
    keys->seed = seed;
    keys->cap = cap_for(n);
    keys->map = scale_alloc(keys->cap, sizeof *keys->map);
    scale_rand_fill(&r, keys->root, sizeof keys->root);
    return keys;
}

void sets_keys_free(struct sets_keys *keys)
{
    free(keys->map);
    free(keys);
}

static uint32_t map_place(const struct sets_keys *keys, uint64_t word)
{
    uint32_t at = (uint32_t)scale_mix(word) & (keys->cap - 1);

    while (keys->map[at].word && keys->map[at].word != word)
        at = (at + 1) & (keys->cap - 1);
    return at;
}

static uint64_t word_of(const uint8_t pk[KEY_SIZE])
{
    return be64(pk) | 1;
}

uint32_t sets_key_index(const struct sets_keys *keys, const uint8_t pk[KEY_SIZE])
{
    uint32_t at = map_place(keys, word_of(pk));

    return keys->map[at].word ? keys->map[at].index : SETS_NOBODY;
}

static void note(struct sets_keys *keys, uint32_t i, const uint8_t pk[KEY_SIZE])
{
    uint32_t at = map_place(keys, word_of(pk));

    assert(!keys->map[at].word || keys->map[at].index == i);
    keys->map[at].word = word_of(pk);
    keys->map[at].index = i;
}

void sets_entry_make(struct sets_keys *keys, uint32_t i, const struct sets_version *version,
                     struct sets_entry *ret)
{
    struct scale_rand r = scale_rand(keys->seed ^ scale_mix(i + 1), "writer");
    struct bytes_out out = bytes_out(ret->v, sizeof ret->v);
    uint8_t seed[KEY_SIZE], contact[CONTACT_SIZE];
    struct identity id;

    scale_rand_fill(&r, seed, sizeof seed);
    scale_rand_fill(&r, contact, sizeof contact);
    crypto_sign_seed_keypair(id.pk, id.sk, seed);
    ben_put_dict(&out);
    if (version->del) {
        ben_put_key(&out, "del");
        ben_put_int(&out, 1);
    } else {
        ben_put_key(&out, "dev");
        ben_put_str(&out, contact, sizeof contact);
    }
    ben_put_key(&out, "exp");
    ben_put_int(&out, version->exp_s);
    ben_put_key(&out, "name");
    ben_put_text(&out, "somebody");
    ben_put_end(&out);
    assert(!out.err);
    ret->entry = (struct kad_entry){.seq = version->seq, .v = span(ret->v, out.size)};
    int err = kad_entry_sign(&ret->entry, keys->root, &id);
    assert(!err);
    (void)err;
    note(keys, i, id.pk);
}

/* ---- signatures ---------------------------------------------------------------------------------------- */

static struct {
    uint64_t (*prints)[2];
    uint32_t cap, n;
    struct sets_verified counts;
} good;

void sets_verified_open(uint32_t n)
{
    free(good.prints);
    memset(&good, 0, sizeof good);
    if (n == 0)
        return;
    good.cap = cap_for(n);
    good.prints = scale_alloc(good.cap, sizeof *good.prints);
}

struct sets_verified sets_verified_counts(void)
{
    return good.counts;
}

int __real_identity_verify(const uint8_t *pk, const void *msg, size_t size, const uint8_t *sig);
int __wrap_identity_verify(const uint8_t *pk, const void *msg, size_t size, const uint8_t *sig);

/* In the place of core's identity_verify. A fingerprint of 128 bits stands for key, signature and message. */
int __wrap_identity_verify(const uint8_t *pk, const void *msg, size_t size, const uint8_t *sig)
{
    crypto_generichash_state state;
    uint64_t print[2];

    good.counts.asked++;
    if (!good.cap) {
        good.counts.made++;
        return __real_identity_verify(pk, msg, size, sig);
    }
    crypto_generichash_init(&state, NULL, 0, sizeof print);
    crypto_generichash_update(&state, pk, KEY_SIZE);
    crypto_generichash_update(&state, sig, SIG_SIZE);
    crypto_generichash_update(&state, msg, size);
    crypto_generichash_final(&state, (uint8_t *)print, sizeof print);
    print[0] |= 1;
    uint32_t at = (uint32_t)(print[0] >> 32) & (good.cap - 1);
    for (; good.prints[at][0]; at = (at + 1) & (good.cap - 1))
        if (good.prints[at][0] == print[0] && good.prints[at][1] == print[1])
            return 0;
    good.counts.made++;
    int err = __real_identity_verify(pk, msg, size, sig);
    if (err || good.n >= good.cap / 4 * 3)
        return err;
    memcpy(good.prints[at], print, sizeof print);
    good.n++;
    return 0;
}
