/* A small store and its guard under a schedule taken from the input: puts well and badly signed, hand-overs,
 * time, disk. They hold their invariants, and whatever the store gives back is well signed and alive. */
#include <stdlib.h>
#include <string.h>

#include "core/bencode.h"
#include "core/hash.h"
#include "kad/guard.h"
#include "kad/store.h"

#define KEYS 4
#define STEPS_MAX 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t root[KAD_ID_SIZE] = "the root of the fuzz";
static struct identity *ids[KEYS];
static struct kad_verified verified; /* over all inputs: what was verified in one is in the next */
static struct rng_seeded seeded;
static struct rng rng;

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void start_once(void)
{
    if (ids[0])
        return;
    rng = rng_seeded(&seeded, 1);
    kad_verified_init(&verified, &rng);
    for (int i = 0; i < KEYS; i++)
        require((ids[i] = identity_new(&rng)) != NULL);
}

/* A value: raw bytes of the input, or a dict with an expiry near now, perhaps a tombstone. */
static struct span value(struct bytes_in *in, struct now now, uint8_t buf[1100])
{
    uint8_t kind = bytes_get_u8(in);
    struct bytes_out out = bytes_out(buf, 1100);
    if (kind < 64) {
        size_t n = bytes_get_u8(in);
        n = n < bytes_left(in) ? n : bytes_left(in);
        bytes_put(&out, bytes_get(in, n), n);
        return span(buf, out.size);
    }
    ben_put_dict(&out);
    if (kind & 1) {
        ben_put_key(&out, "del");
        ben_put_int(&out, 1);
    }
    if (kind & 2) {
        ben_put_key(&out, "exp");
        ben_put_int(&out, now_unix_s(now) + (int64_t)(bytes_get_u16(in) - 100));
    }
    ben_put_end(&out);
    return span(buf, out.size);
}

static struct addr address(uint8_t n)
{
    struct addr a = {.family = n & 1 ? 6 : 4, .port = 1, .ip = {n, 1, n, 1}};
    return a;
}

/* Every saved record goes straight back in, after a bit of it was changed or not. */
static void through_disk(struct kad_store *s, struct now now, struct bytes_in *in)
{
    static uint8_t keys[64][KAD_STORE_KEY_MAX], values[64][1400];
    static size_t key_sizes[64], value_sizes[64];
    size_t n = 0;
    struct kad_dirty d;
    while (kad_store_next_dirty(s, now, &d)) {
        require(d.key.size <= KAD_STORE_KEY_MAX && d.value.size <= sizeof values[0] &&
                kad_store_owns_key(d.key));
        if (n == 64 || d.value.size == 0)
            continue;
        memcpy(keys[n], d.key.data, key_sizes[n] = d.key.size);
        memcpy(values[n], d.value.data, value_sizes[n] = d.value.size);
        n++;
    }
    kad_store_reset(s);
    for (size_t i = 0; i < n; i++) {
        if (bytes_get_u8(in) & 1) {
            values[i][bytes_get_u8(in) % value_sizes[i]] ^= bytes_get_u8(in);
            put_be32(values[i] + value_sizes[i] - 4, hash_crc32c(values[i], value_sizes[i] - 4));
        }
        kad_store_load(s, now, span(keys[i], key_sizes[i]), span(values[i], value_sizes[i]));
    }
}

static void look(struct kad_store *s, struct now now, const struct kad_shard_id *at, bool was_loaded)
{
    struct kad_record r;
    struct kad_set_page page;
    uint32_t cursor = KAD_WALK_START, n = 0;
    while (kad_store_walk(s, now, &cursor, &r)) {
        require(n++ < 100);
        if (r.kind == KAD_RECORD_ITEM)
            require(was_loaded || kad_verified_item(&verified, &r.item) == 0);
    }
    kad_store_set_get(s, now, at, &(struct kad_set_query){.max_bytes = 900}, &page);
    for (size_t i = 0; i < page.n_entries; i++) {
        require(was_loaded || kad_verified_entry(&verified, &page.entries[i], at->root) == 0);
        require(kad_value_expires_s(page.entries[i].v) > now_unix_s(now));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    start_once();
    rng = rng_seeded(&seeded, 2); /* every input runs the same, whatever ran before */
    struct bytes_in in = bytes_in(data, size);
    struct now now = {1000, UINT64_C(1785600000000)};
    struct kad_store_config config = {.items_max = 6, .entries_max = 6, .peers_max = 6, .persist = true};
    struct kad_store *s = kad_store_new(&config, &rng, &verified);
    struct kad_guard *g = kad_guard_new(&rng);
    bool was_loaded = false;
    require(s && g);
    for (int step = 0; step < STEPS_MAX && bytes_left(&in) > 0; step++) {
        uint8_t op = bytes_get_u8(&in), who = bytes_get_u8(&in), buf[1100];
        struct identity *id = ids[who % KEYS];
        struct addr a = address(who / KEYS), *from = who > 250 ? NULL : &a;
        struct kad_shard_id at;
        struct kad_record r;
        uint8_t slot[KAD_SLOT_SIZE], token[KAD_TOKEN_SIZE], depth = who / 16 % 8;
        kad_slot(id->pk, slot);
        kad_shard_of(&at, root, depth % 7, slot);
        switch (op % 12) {
        case 0:
        case 1: {
            struct kad_item item = {.is_mutable = op & 16, .seq = (int8_t)bytes_get_u8(&in)};
            item.salt = span("connections/0", op & 32 ? 13 : 0);
            item.v = value(&in, now, buf);
            if (!item.is_mutable || kad_item_sign(&item, id))
                memcpy(item.pk, id->pk, KEY_SIZE);
            item.sig[0] ^= op & 64 ? bytes_get_u8(&in) : 0;
            int64_t cas = (int8_t)bytes_get_u8(&in);
            int code = kad_store_put(s, now, &item, op & 128 ? &cas : NULL, from);
            require(code == 0 || (code >= 202 && code <= 302));
            if (code == 0) {
                struct kad_item held;
                uint8_t target[KAD_ID_SIZE];
                kad_item_target(&item, target);
                require(kad_store_get(s, now, target, &held) == 0 && span_equal(held.v, item.v));
            }
            break;
        }
        case 2:
        case 3: {
            struct kad_entry e = {.seq = (int8_t)bytes_get_u8(&in), .age_s = who, .since_s = UINT32_MAX};
            e.v = value(&in, now, buf);
            if (kad_entry_sign(&e, root, id))
                memcpy(e.pk, id->pk, KEY_SIZE);
            e.sig[0] ^= op & 64 ? bytes_get_u8(&in) : 0;
            int code = kad_store_set_put(s, now, root, depth, &e, from);
            require(code == 0 || code == KAD_STORE_SPLIT || (code >= 202 && code <= 302));
            break;
        }
        case 4:
            kad_store_announce(s, now, slot, &a, from);
            break;
        case 5: {
            uint64_t ms = (uint64_t)bytes_get_u16(&in) * 200;
            now.mono_ms += ms;
            now.wall_ms += op & 16 ? 0 : ms;
            kad_store_tick(s, now);
            kad_guard_tick(g, now);
            break;
        }
        case 6:
            (op & 16 ? kad_store_split : kad_store_reopen)(s, now, &at);
            break;
        case 7:
            kad_store_handed(s, now, &at, id->pk, (int8_t)bytes_get_u8(&in));
            break;
        case 8:
            for (int n = 0; kad_store_due(s, now, &r); n++)
                require(n < 100);
            break;
        case 9:
            through_disk(s, now, &in);
            was_loaded = true;
            break;
        case 10:
            kad_guard_recv(g, now, &a, who);
            kad_guard_send(g, now, &a, (size_t)op * 8);
            kad_guard_token(g, now, &a, token);
            token[0] ^= op & 16 ? bytes_get_u8(&in) : 0;
            kad_guard_token_ok(g, now, &a,
                               span(token, op & 32 ? sizeof token : bytes_get_u8(&in) % sizeof token));
            break;
        case 11:
            look(s, now, &at, was_loaded);
            break;
        }
        kad_store_check(s);
        kad_guard_check(g);
    }
    kad_store_free(s);
    kad_guard_free(g);
    return 0;
}
