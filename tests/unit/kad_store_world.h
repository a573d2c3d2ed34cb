/* A store with a clock, a random stream and a key of its own, and short words for what its tests do. */
#ifndef TESTS_UNIT_KAD_STORE_WORLD_H
#define TESTS_UNIT_KAD_STORE_WORLD_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bencode.h"
#include "core/err.h"
#include "core/hash.h"
#include "kad/store.h"

#define START_S 1785600000 /* the wall clock of every test */
#define HOUR_MS 3600000u

static const uint8_t root[KAD_ID_SIZE] = "followers of nobody!";

struct world {
    struct rng_seeded seeded;
    struct rng rng;
    struct kad_verified verified;
    struct kad_store *s;
    struct now now;
    struct identity *id;
    uint8_t value[KAD_VALUE_MAX + 32];
};

static inline struct kad_store *store_of(struct world *w, uint32_t items_max, uint32_t entries_max,
                                         uint32_t peers_max)
{
    struct kad_store_config config = {items_max, entries_max, peers_max, true, false, false};
    struct kad_store *s = kad_store_new(&config, &w->rng, &w->verified);
    assert_non_null(s);
    return s;
}

static inline int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    uint8_t seed[KEY_SIZE] = {1};
    w->rng = rng_seeded(&w->seeded, 11);
    kad_verified_init(&w->verified, &w->rng);
    w->id = identity_from_seed(seed);
    w->now = (struct now){5000000, (uint64_t)START_S * 1000};
    w->s = store_of(w, 0, 0, 0);
    *state = w;
    return w->id ? 0 : -1;
}

static inline int teardown(void **state)
{
    struct world *w = *state;
    kad_store_check(w->s);
    kad_store_free(w->s);
    kad_verified_clear(&w->verified);
    identity_free(w->id);
    free(w);
    return 0;
}

static inline void limit(struct world *w, uint32_t items_max, uint32_t entries_max, uint32_t peers_max)
{
    kad_store_free(w->s);
    w->s = store_of(w, items_max, entries_max, peers_max);
}

static inline void pass(struct world *w, uint64_t ms)
{
    w->now.mono_ms += ms;
    w->now.wall_ms += ms;
}

static inline struct addr from(uint32_t ip)
{
    struct addr a = {.family = 4, .port = 1};
    put_be32(a.ip, ip);
    return a;
}

static inline struct identity *identity(uint32_t n)
{
    uint8_t seed[KEY_SIZE] = {2};
    put_be32(seed + 1, n);
    return identity_from_seed(seed);
}

/* d 3:exp i..e [1:x i..e] e, or a bare integer when exp_s is 0 */
static inline struct span value(struct world *w, int64_t exp_s, int64_t x)
{
    struct bytes_out out = bytes_out(w->value, sizeof w->value);
    if (!exp_s) {
        ben_put_int(&out, x);
        return span(w->value, out.size);
    }
    ben_put_dict(&out);
    ben_put_key(&out, "exp");
    ben_put_int(&out, exp_s);
    ben_put_key(&out, "x");
    ben_put_int(&out, x);
    ben_put_end(&out);
    return span(w->value, out.size);
}

static inline struct kad_item item(const struct identity *id, const char *salt, int64_t seq, struct span v)
{
    struct kad_item it = {.is_mutable = true, .salt = span_str(salt), .seq = seq, .v = v};
    assert_int_equal(kad_item_sign(&it, id), 0);
    return it;
}

static inline int put(struct world *w, const struct kad_item *it)
{
    return kad_store_put(w->s, w->now, it, NULL, NULL);
}

static inline int put_cas(struct world *w, const struct kad_item *it, int64_t cas)
{
    return kad_store_put(w->s, w->now, it, &cas, NULL);
}

static inline int get(struct world *w, const struct kad_item *it, struct kad_item *ret)
{
    uint8_t target[KAD_ID_SIZE];
    kad_item_target(it, target);
    return kad_store_get(w->s, w->now, target, ret);
}

static inline struct kad_store_stats stats(struct world *w)
{
    struct kad_store_stats st;
    kad_store_stats(w->s, &st);
    return st;
}

static inline uint32_t drain(struct world *w) /* dirty marks, thrown away */
{
    struct kad_dirty d;
    uint32_t n = 0;
    while (kad_store_next_dirty(w->s, w->now, &d))
        n++;
    return n;
}

static inline struct kad_entry entry(const struct identity *id, int64_t seq, struct span v)
{
    struct kad_entry e = {.seq = seq, .v = v};
    assert_int_equal(kad_entry_sign(&e, root, id), 0);
    return e;
}

static inline int set_put(struct world *w, int64_t depth, const struct kad_entry *e)
{
    return kad_store_set_put(w->s, w->now, root, depth, e, NULL);
}

static inline struct kad_shard_id whole(void)
{
    struct kad_shard_id at;
    assert_int_equal(kad_shard_parse(&at, root, 0, span(NULL, 0)), 0);
    return at;
}

static inline struct kad_set_page page_of(struct world *w, const struct kad_shard_id *at,
                                          struct kad_set_query query)
{
    struct kad_set_page page;
    kad_store_set_get(w->s, w->now, at, &query, &page);
    return page;
}

/* n entries of keys 0..n-1 at depth 0; their x is the number of the key. */
static inline void fill(struct world *w, uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++) {
        struct identity *id = identity(i);
        struct kad_entry e = entry(id, 1, value(w, START_S + 864000, i));
        assert_int_equal(set_put(w, 0, &e), 0);
        identity_free(id);
    }
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

#endif
