/* Disk changes nothing: what was saved is there again, damaged records are skipped, and a long random life.
 * */
#include "tests/unit/kad_store_world.h"

/* ---- disk --------------------------------------------------------------------------------------------- */

#define SAVED_MAX 2048

struct disk {
    struct saved {
        uint8_t key[64], value[1400];
        size_t key_size, value_size;
    } at[SAVED_MAX];
    size_t n;
};

static void disk_write(struct disk *disk, const struct kad_dirty *d)
{
    size_t i = 0;
    assert_true(d->key.size <= KAD_STORE_KEY_MAX && d->value.size <= sizeof disk->at[0].value);
    while (i < disk->n && !span_equal(span(disk->at[i].key, disk->at[i].key_size), d->key))
        i++;
    if (d->value.size == 0) {
        if (i < disk->n)
            disk->at[i] = disk->at[--disk->n];
        return;
    }
    assert_true(i < SAVED_MAX);
    if (i == disk->n)
        disk->n++;
    memcpy(disk->at[i].key, d->key.data, d->key.size);
    memcpy(disk->at[i].value, d->value.data, d->value.size);
    disk->at[i].key_size = d->key.size;
    disk->at[i].value_size = d->value.size;
}

static void save(struct world *w, struct disk *disk)
{
    struct kad_dirty d;
    while (kad_store_next_dirty(w->s, w->now, &d))
        disk_write(disk, &d);
}

static void load(struct world *w, const struct disk *disk)
{
    for (size_t i = 0; i < disk->n; i++) {
        struct span key = span(disk->at[i].key, disk->at[i].key_size);
        assert_true(kad_store_owns_key(key));
        assert_int_equal(kad_store_load(w->s, w->now, key, span(disk->at[i].value, disk->at[i].value_size)),
                         0);
    }
}

static void seen_since(struct world *w, const struct kad_shard_id *at, const struct identity *id, uint32_t since_s)
{
    struct kad_entry said;
    if (kad_store_entry_get(w->s, w->now, at, id->pk, &said))
        return;
    said.since_s = since_s;
    kad_store_set_times(w->s, w->now, at, &said);
}

static void some_of_all(struct world *w)
{
    uint8_t hash[KAD_ID_SIZE] = {9};
    struct kad_shard_id at = whole();
    struct kad_item a = item(w->id, "public", 3, value(w, START_S + 5000, 1)), b = {.v = span_str("5:hello")};
    struct addr peer = from(0x70000001), v6;
    assert_int_equal(put(w, &a), 0);
    assert_int_equal(put(w, &b), 0);
    assert_int_equal(addr_parse("[2001:db8::5]:99", &v6), 0);
    assert_int_equal(kad_store_announce(w->s, w->now, hash, &peer, &peer), 0);
    assert_int_equal(kad_store_announce(w->s, w->now, hash, &v6, &v6), 0);
    fill(w, 0, 20);
    seen_since(w, &at, w->id, 5);
    struct kad_entry e = entry(w->id, 1, value(w, START_S + 4000, 1));
    assert_int_equal(set_put(w, 3, &e), 0);
    uint8_t slot[KAD_SLOT_SIZE];
    struct kad_shard_id deep;
    kad_slot(w->id->pk, slot);
    kad_shard_of(&deep, root, 3, slot);
    kad_store_split(w->s, w->now, &deep);
}

static void test_disk_keeps_everything(void **state)
{
    struct world *w = *state;
    struct disk *disk = calloc(1, sizeof *disk);
    struct kad_shard_id at = whole();
    some_of_all(w);
    struct identity *id = identity(4);
    seen_since(w, &at, id, 1234);
    pass(w, 60000);
    save(w, disk);
    assert_int_equal(disk->n, 2 + 2 + 20 + 1 + 1);
    assert_int_equal(drain(w), 0);

    struct kad_store_stats before = stats(w), after;
    struct kad_set_page page = page_of(w, &at, (struct kad_set_query){0});
    kad_store_free(w->s);
    w->s = store_of(w, 0, 0, 0);
    w->now.mono_ms = 17; /* another boot, ten seconds later by the wall */
    w->now.wall_ms += 10000;
    load(w, disk);
    kad_store_check(w->s);
    after = stats(w);
    assert_true(after.items == before.items && after.entries == before.entries &&
                after.peers == before.peers);
    assert_true(after.shards == before.shards && after.tombstones == before.tombstones);
    struct kad_set_page page2 = page_of(w, &at, (struct kad_set_query){0});
    assert_memory_equal(page.digest, page2.digest, KAD_ID_SIZE);
    struct kad_entry got;
    assert_int_equal(kad_store_entry_get(w->s, w->now, &at, id->pk, &got), 0);
    assert_int_equal(got.since_s, 1234 + 70);
    assert_int_equal(got.age_s, 70);
    assert_int_equal(kad_entry_verify(&got, root), 0);
    struct kad_entry e = entry(w->id, 2, value(w, START_S + 4000, 1));
    assert_int_equal(set_put(w, 3, &e), KAD_STORE_SPLIT); /* still split */
    assert_int_equal(drain(w), 0);                        /* what was read from disk need not be written */

    /* What is due comes within the hour, and not all at once. */
    struct kad_record r;
    uint32_t n = 0;
    for (int i = 0; i < 60; i++) {
        pass(w, HOUR_MS / 60);
        while (kad_store_due(w->s, w->now, &r))
            n++;
    }
    assert_in_range(n, 2, 4); /* the item and the split shard; the other was seen by others just now */
    free(disk);
    identity_free(id);
}

static void test_disk_follows_every_change(void **state)
{
    struct world *w = *state;
    struct disk *disk = calloc(1, sizeof *disk);
    some_of_all(w);
    save(w, disk);
    assert_int_equal(drain(w), 0);
    struct kad_item newer = item(w->id, "public", 4, value(w, START_S + 90, 2)), same = newer, out;
    assert_int_equal(put(w, &newer), 0);
    assert_int_equal(put(w, &same), 0);
    struct kad_dirty d;
    assert_true(kad_store_next_dirty(w->s, w->now, &d)); /* once, however often it was touched */
    disk_write(disk, &d);
    assert_false(kad_store_next_dirty(w->s, w->now, &d));

    kad_store_reset(w->s); /* a commit failed: back to what is on disk */
    assert_int_equal(stats(w).items + stats(w).entries + stats(w).peers + stats(w).shards, 0);
    assert_int_equal(drain(w), 0);
    load(w, disk);
    assert_int_equal(get(w, &newer, &out), 0);
    assert_int_equal(out.seq, 4);

    pass(w, 86400ull * 20000); /* everything expires, on disk as in memory */
    kad_store_tick(w->s, w->now);
    save(w, disk);
    assert_int_equal(stats(w).items + stats(w).entries + stats(w).peers, 0);
    assert_int_equal(disk->n, stats(w).shards); /* only the split mark has some days left */
    pass(w, 86400ull * 1000 * 7);
    kad_store_tick(w->s, w->now);
    save(w, disk);
    assert_int_equal(disk->n, 0);
    assert_int_equal(stats(w).bytes, 0);
    free(disk);
}

static void test_disk_expired_while_away(void **state)
{
    struct world *w = *state;
    struct disk *disk = calloc(1, sizeof *disk);
    some_of_all(w);
    save(w, disk);
    kad_store_reset(w->s);
    pass(w, 86400ull * 1000 * 100);
    load(w, disk);
    assert_int_equal(stats(w).items + stats(w).entries + stats(w).peers + stats(w).shards, 0);
    save(w, disk);
    assert_int_equal(disk->n, 0);
    free(disk);
}

static void test_disk_damaged(void **state)
{
    struct world *w = *state;
    struct disk *disk = calloc(1, sizeof *disk);
    some_of_all(w);
    save(w, disk);
    kad_store_reset(w->s);
    for (size_t i = 0; i < disk->n; i++) {
        struct saved *rec = &disk->at[i];
        struct span key = span(rec->key, rec->key_size), val = span(rec->value, rec->value_size);
        for (size_t cut = 0; cut < rec->value_size; cut++)
            assert_int_equal(kad_store_load(w->s, w->now, key, span(rec->value, cut)), CAM_EFORMAT);
        for (size_t bit = 0; bit < 8 * rec->value_size; bit += 3) {
            rec->value[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(kad_store_load(w->s, w->now, key, val), CAM_EFORMAT);
            rec->value[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (size_t cut = 0; cut < rec->key_size; cut++)
            assert_int_equal(kad_store_load(w->s, w->now, span(rec->key, cut), val), CAM_EFORMAT);
        /* With a checksum that fits, the contents must still be sound: no byte may crash or corrupt. */
        for (size_t at = 0; at + 4 < rec->value_size; at++) {
            uint8_t was[1400];
            memcpy(was, rec->value, rec->value_size);
            rec->value[at] ^= 0x55;
            put_be32(rec->value + rec->value_size - 4, hash_crc32c(rec->value, rec->value_size - 4));
            int err = kad_store_load(w->s, w->now, key, val);
            assert_true(err == 0 || err == CAM_EFORMAT);
            memcpy(rec->value, was, rec->value_size);
            kad_store_check(w->s);
            kad_store_reset(w->s);
        }
    }
    assert_false(kad_store_owns_key(span("t", 1)));
    assert_false(kad_store_owns_key(span(NULL, 0)));
    assert_int_equal(kad_store_load(w->s, w->now, span(disk->at[0].key, disk->at[0].key_size),
                                    span(disk->at[0].value, disk->at[0].value_size)),
                     0);
    assert_int_equal(kad_store_load(w->s, w->now, span(disk->at[0].key, disk->at[0].key_size),
                                    span(disk->at[0].value, disk->at[0].value_size)),
                     CAM_EFORMAT); /* twice */
    free(disk);
}

/* ---- everything at once ------------------------------------------------------------------------------- */

/* Random puts, hands, ticks, splits and reloads against a small store: it holds its invariants and its
 * bounds, and seq never goes back while a record lives. */
static void test_random_life(void **state)
{
    struct world *w = *state;
    struct disk *disk = calloc(1, sizeof *disk);
    enum { KEYS = 40 };
    struct identity *ids[KEYS];
    struct kad_record r;
    struct kad_shard_id at = whole();
    for (uint32_t i = 0; i < KEYS; i++)
        ids[i] = identity(i);
    limit(w, 30, 25, 20);
    for (int step = 0; step < 6000; step++) {
        struct identity *id = ids[rng_below(&w->rng, KEYS)];
        struct addr a = from(0x40000000 + rng_below(&w->rng, 12) * 256),
                    peer = from(rng_u32(&w->rng) | 0x01000000);
        int64_t seq = rng_below(&w->rng, 5), exp_s = now_unix_s(w->now) + rng_below(&w->rng, 4000);
        uint8_t hash[KAD_ID_SIZE] = {(uint8_t)rng_below(&w->rng, 6)};
        struct kad_item out, it;
        struct kad_entry e;
        switch (rng_below(&w->rng, 12)) {
        case 0:
        case 1:
        case 2: {
            it = item(id, "s", seq, value(w, rng_below(&w->rng, 4) ? exp_s : 0, 1));
            int64_t held = get(w, &it, &out) ? -1 : out.seq;
            int code = kad_store_put(w->s, w->now, &it, NULL, &a);
            assert_true(code == 0 || code == KAD_ERROR_FULL || code == KAD_ERROR_STALE ||
                        code == KAD_ERROR_PROTOCOL);
            if (held >= 0)
                assert_true(get(w, &it, &out) == 0 && out.seq >= held);
            break;
        }
        case 3:
        case 4:
        case 5:
            e = entry(id, seq, value(w, exp_s, 1));
            kad_store_set_put(w->s, w->now, root, rng_below(&w->rng, 3), &e, &a);
            break;
        case 6:
            kad_store_announce(w->s, w->now, hash, &peer, &a);
            break;
        case 7:
            pass(w, rng_below(&w->rng, 600000));
            kad_store_tick(w->s, w->now);
            break;
        case 8:
            kad_store_handed(w->s, w->now, &at, id->pk, seq);
            break;
        case 9:
            (rng_below(&w->rng, 2) ? kad_store_split : kad_store_reopen)(w->s, w->now, &at);
            break;
        case 10:
            while (kad_store_due(w->s, w->now, &r))
                assert_true(r.kind == KAD_RECORD_ITEM ? kad_item_verify(&r.item) == 0 : r.shard.depth <= 2);
            break;
        case 11:
            save(w, disk);
            if (rng_below(&w->rng, 10) == 0) {
                struct kad_store_stats before = stats(w), after;
                kad_store_reset(w->s);
                kad_store_tick(w->s, w->now);
                load(w, disk);
                kad_store_tick(w->s, w->now);
                after = stats(w);
                assert_true(after.items <= before.items && after.entries <= before.entries &&
                            after.peers <= before.peers);
            }
            break;
        default:
            fail();
        }
        assert_true(stats(w).items <= 30 && stats(w).entries + stats(w).tombstones <= 25 &&
                    stats(w).peers <= 20);
        if (step % 20 == 0)
            kad_store_check(w->s);
    }
    for (int i = 0; i < KEYS; i++)
        identity_free(ids[i]);
    free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_disk_keeps_everything),
        WITH(test_disk_follows_every_change),
        WITH(test_disk_expired_while_away),
        WITH(test_disk_damaged),
        WITH(test_random_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
