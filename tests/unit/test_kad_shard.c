/* Shards of signed sets: whose entry counts, how a reader pages, splitting and merging. */
#include "tests/unit/kad_store_world.h"

static void test_entries(void **state)
{
    struct world *w = *state;
    struct kad_shard_id at = whole();
    assert_int_equal(page_of(w, &at, (struct kad_set_query){0}).n, 0);
    struct kad_entry e = entry(w->id, 5, value(w, START_S + 1000, 1)), got;
    assert_int_equal(set_put(w, 0, &e), 0);
    struct kad_entry older = entry(w->id, 4, value(w, START_S + 1000, 1));
    assert_int_equal(set_put(w, 0, &older), KAD_ERROR_STALE);
    struct kad_set_page page = page_of(w, &at, (struct kad_set_query){0});
    assert_int_equal(page.n, 1);
    assert_int_equal(page.n_entries, 1);
    assert_false(page.more || page.split);
    assert_int_equal(kad_entry_verify(&page.entries[0], root), 0);
    uint8_t digest[KAD_ID_SIZE] = {0};
    kad_entry_digest(&page.entries[0], digest);
    assert_memory_equal(digest, page.digest, KAD_ID_SIZE);

    struct kad_entry dead = entry(w->id, 6, span_str("d3:deli1e3:expi1785600900ee"));
    assert_int_equal(set_put(w, 0, &dead), 0);
    page = page_of(w, &at, (struct kad_set_query){0});
    assert_int_equal(page.n, 0);         /* never counted */
    assert_int_equal(page.n_entries, 1); /* but told, so that others hear of it */
    assert_int_equal(page_of(w, &at, (struct kad_set_query){.fresh = true}).n_entries, 0);
    assert_int_equal(stats(w).entries, 0);
    assert_int_equal(stats(w).tombstones, 1);
    assert_int_equal(set_put(w, 0, &e),
                     KAD_ERROR_STALE); /* an unfollow is not undone by who kept the follow */
    assert_int_equal(kad_store_entry_get(w->s, w->now, &at, w->id->pk, &got), 0);
    assert_true(kad_entry_is_tombstone(&got));
    pass(w, 900000);
    kad_store_tick(w->s, w->now);
    assert_int_equal(kad_store_entry_get(w->s, w->now, &at, w->id->pk, &got), CAM_ENOENT);
    assert_int_equal(stats(w).shards, 0);
    assert_int_equal(stats(w).bytes, 0);
}

static void test_entries_refused(void **state)
{
    struct world *w = *state;
    struct kad_entry e = entry(w->id, 5, value(w, START_S + 1000, 1)), bad = e;
    bad.sig[3] ^= 1;
    assert_int_equal(set_put(w, 0, &bad), KAD_ERROR_SIGNATURE);
    uint8_t elsewhere[KAD_ID_SIZE] = {0};
    assert_int_equal(kad_store_set_put(w->s, w->now, elsewhere, 0, &e, NULL), KAD_ERROR_SIGNATURE);
    bad = e;
    bad.pk[0] ^= 1; /* in another's name */
    assert_int_equal(set_put(w, 0, &bad), KAD_ERROR_SIGNATURE);
    assert_int_equal(set_put(w, -1, &e), KAD_ERROR_PROTOCOL);
    assert_int_equal(set_put(w, KAD_SHARD_DEPTH_MAX + 1, &e), KAD_ERROR_PROTOCOL);
    assert_int_equal(set_put(w, INT64_MAX, &e), KAD_ERROR_PROTOCOL);
    bad = entry(w->id, 5, span_str("de")); /* never expires */
    assert_int_equal(set_put(w, 0, &bad), KAD_ERROR_PROTOCOL);
    bad = entry(w->id, 5, value(w, START_S, 1));
    assert_int_equal(set_put(w, 0, &bad), KAD_ERROR_PROTOCOL);
    bad = entry(w->id, 5, value(w, START_S + KAD_LIFE_MAX_S + KAD_LIFE_SLACK_S + 1, 1));
    assert_int_equal(set_put(w, 0, &bad), KAD_ERROR_PROTOCOL);
    uint8_t big[KAD_SET_VALUE_MAX + 1] = {0};
    bad.v = span(big, sizeof big);
    assert_int_equal(set_put(w, 0, &bad), KAD_ERROR_TOOBIG);
    assert_int_equal(stats(w).shards, 0);
    assert_int_equal(stats(w).bytes, 0);
}

static void test_age_and_since(void **state)
{
    struct world *w = *state;
    struct kad_shard_id at = whole();
    struct kad_entry e = entry(w->id, 1, value(w, START_S + 100000, 1)), got;
    e.age_s = 300;
    e.since_s = 86400 * 300;
    assert_int_equal(set_put(w, 0, &e), 0);
    assert_int_equal(kad_store_entry_get(w->s, w->now, &at, w->id->pk, &got), 0);
    assert_int_equal(got.age_s, 300);
    assert_int_equal(got.since_s, 0); /* whoever claims to have been first has only claimed it */
    pass(w, 100000);
    assert_true(kad_store_shard_is_new(w->s, w->now, &at));
    /* What the other holders saw, of a newer version. */
    struct kad_entry said = {.seq = 2, .age_s = 7, .since_s = 5000};
    memcpy(said.pk, w->id->pk, KEY_SIZE);
    kad_store_set_times(w->s, w->now, &at, &said);
    pass(w, 100000);
    assert_int_equal(kad_store_entry_get(w->s, w->now, &at, w->id->pk, &got), 0);
    assert_int_equal(got.age_s, 500);
    assert_int_equal(got.since_s, 5100);
    said = got;
    said.age_s = 700; /* of ours */
    kad_store_set_times(w->s, w->now, &at, &said);
    assert_int_equal(kad_store_entry_get(w->s, w->now, &at, w->id->pk, &got), 0);
    assert_int_equal(got.age_s, 700);
    said.age_s = 500;
    kad_store_set_times(w->s, w->now, &at, &said);

    e.age_s = 9;
    assert_int_equal(set_put(w, 0, &e), 0); /* the same version again is no refresh */
    assert_int_equal(kad_store_entry_get(w->s, w->now, &at, w->id->pk, &got), 0);
    assert_int_equal(got.age_s, 500);
    struct kad_entry newer = entry(w->id, 2, value(w, START_S + 100000, 2));
    newer.age_s = 100000; /* a newer version is no older than the one before */
    assert_int_equal(set_put(w, 0, &newer), 0);
    assert_int_equal(kad_store_entry_get(w->s, w->now, &at, w->id->pk, &got), 0);
    assert_int_equal(got.age_s, 500);
    assert_int_equal(got.since_s, 5100);
    newer = entry(w->id, 3, value(w, START_S + 100000, 2));
    assert_int_equal(set_put(w, 0, &newer), 0);
    assert_int_equal(kad_store_entry_get(w->s, w->now, &at, w->id->pk, &got), 0);
    assert_int_equal(got.age_s, 0);
    assert_int_equal(got.since_s, 5100);

    /* Who let go of a name and takes it again stands at the end of the line. */
    struct kad_entry dead = entry(w->id, 4, span_str("d3:deli1e3:expi1785699999ee"));
    assert_int_equal(set_put(w, 0, &dead), 0);
    newer = entry(w->id, 5, value(w, START_S + 100000, 3));
    assert_int_equal(set_put(w, 0, &newer), 0);
    assert_int_equal(kad_store_entry_get(w->s, w->now, &at, w->id->pk, &got), 0);
    assert_int_equal(got.since_s, 0);
    pass(w, 2 * HOUR_MS);
    assert_false(kad_store_shard_is_new(w->s, w->now, &at));
}

static void test_paging(void **state)
{
    struct world *w = *state;
    struct kad_shard_id at = whole();
    fill(w, 0, 100);
    uint8_t after[KAD_SLOT_SIZE], slot[KAD_SLOT_SIZE];
    struct kad_set_query query = {.max = 7};
    uint32_t n = 0, pages = 0;
    for (bool more = true; more; pages++) {
        struct kad_set_page page = page_of(w, &at, query);
        assert_int_equal(page.n, 100);
        assert_true(page.n_entries > 0 && page.n_entries <= 7);
        for (size_t i = 0; i < page.n_entries; i++, n++) {
            kad_slot(page.entries[i].pk, slot);
            assert_true(n == 0 || memcmp(after, slot, KAD_SLOT_SIZE) < 0);
            memcpy(after, slot, KAD_SLOT_SIZE);
        }
        query.after = after;
        more = page.more;
    }
    assert_int_equal(n, 100);
    assert_int_equal(pages, 15);
    assert_int_equal(page_of(w, &at, query).n_entries, 0);
    assert_false(page_of(w, &at, query).more);

    /* Ranges that lie side by side make the whole: after is outside, upto inside. */
    uint8_t low[KAD_SLOT_SIZE], high[KAD_SLOT_SIZE];
    n = 0;
    for (unsigned digit = 0; digit < 16; digit++) {
        memset(low, 0xff, sizeof low);
        memset(high, 0xff, sizeof high);
        low[0] = (uint8_t)(digit * 16 - 1);
        high[0] = (uint8_t)(digit * 16 + 15);
        n += (uint32_t)page_of(w, &at, (struct kad_set_query){.after = digit ? low : NULL, .upto = high})
                 .n_entries;
    }
    assert_int_equal(n, 100);
    struct kad_set_page first = page_of(w, &at, (struct kad_set_query){.max = 2});
    kad_slot(first.entries[0].pk, low);
    kad_slot(first.entries[1].pk, high);
    struct kad_set_page one = page_of(w, &at, (struct kad_set_query){.after = low, .upto = high});
    assert_int_equal(one.n_entries, 1);
    assert_false(one.more);
    assert_memory_equal(one.entries[0].pk, first.entries[1].pk, KEY_SIZE);
    assert_int_equal(page_of(w, &at, (struct kad_set_query){.after = high, .upto = low}).n_entries, 0);

    /* By bytes: never more than asked, but always one. */
    size_t size = kad_entry_wire_size(&first.entries[0]);
    struct kad_set_page page = page_of(w, &at, (struct kad_set_query){.max_bytes = size});
    assert_int_equal(page.n_entries, 1);
    assert_true(page.more);
    assert_int_equal(page_of(w, &at, (struct kad_set_query){.max_bytes = 1}).n_entries, 1);
    page = page_of(w, &at, (struct kad_set_query){.max_bytes = 1000});
    size_t total = 0;
    for (size_t i = 0; i < page.n_entries; i++)
        total += kad_entry_wire_size(&page.entries[i]);
    assert_true(total <= 1000 && page.n_entries >= 5);
    assert_int_equal(page_of(w, &at, (struct kad_set_query){0}).n_entries, KAD_SET_PAGE_MAX);
}

static void test_fresh(void **state)
{
    struct world *w = *state;
    struct kad_shard_id at = whole();
    for (uint32_t i = 0; i < 40; i++) { /* refreshed in an order that is not that of slots */
        fill(w, i, 1);
        pass(w, 10000);
    }
    struct kad_set_page page = page_of(w, &at, (struct kad_set_query){.fresh = true, .max = 5});
    assert_int_equal(page.n_entries, 5);
    assert_true(page.more);
    for (uint32_t i = 0; i < 5; i++) {
        struct identity *id = identity(39 - i);
        assert_memory_equal(page.entries[i].pk, id->pk, KEY_SIZE);
        assert_int_equal(page.entries[i].age_s, 10 * (i + 1));
        identity_free(id);
    }
    page = page_of(w, &at, (struct kad_set_query){.fresh = true});
    assert_int_equal(page.n_entries, KAD_SET_PAGE_MAX);
    uint8_t upto[KAD_SLOT_SIZE];
    memset(upto, 0xff, sizeof upto);
    upto[0] = 0x1f;
    page = page_of(w, &at, (struct kad_set_query){.fresh = true, .upto = upto});
    assert_false(page.more);
    for (size_t i = 0; i < page.n_entries; i++) {
        uint8_t slot[KAD_SLOT_SIZE];
        kad_slot(page.entries[i].pk, slot);
        assert_true(slot[0] <= 0x1f);
        assert_true(i == 0 || page.entries[i - 1].age_s <= page.entries[i].age_s);
    }
}

static void test_split_hand_down_and_merge(void **state)
{
    struct world *w = *state;
    struct kad_shard_id at = whole(), child;
    struct kad_record r;
    fill(w, 0, KAD_SHARD_ENTRIES_MAX);
    kad_store_check(w->s);
    struct identity *one_more = identity(KAD_SHARD_ENTRIES_MAX), *held = identity(0);
    struct kad_entry e = entry(one_more, 1, value(w, START_S + 864000, 1)), got, forged = e;

    forged.sig[0] ^= 1; /* nobody makes a shard split without a key of its own */
    assert_int_equal(set_put(w, 0, &forged), KAD_ERROR_SIGNATURE);
    assert_false(page_of(w, &at, (struct kad_set_query){0}).split);
    struct kad_entry update = entry(held, 2, value(w, START_S + 864000, 1));
    assert_int_equal(set_put(w, 0, &update), 0); /* who is in may still change its own */
    assert_int_equal(set_put(w, 0, &e), KAD_STORE_SPLIT);
    struct kad_set_page page = page_of(w, &at, (struct kad_set_query){0});
    assert_true(page.split);
    assert_int_equal(page.n, KAD_SHARD_ENTRIES_MAX); /* it keeps what it has */
    update = entry(held, 3, value(w, START_S + 864000, 1));
    assert_int_equal(set_put(w, 0, &update), KAD_STORE_SPLIT);
    assert_int_equal(set_put(w, 1, &e), 0);
    assert_int_equal(set_put(w, 1, &update), 0);
    assert_int_equal(stats(w).shards, 3);

    /* It is due soon, and then hands everything down; here the same store holds the children, too. */
    uint64_t deadline = kad_store_deadline_ms(w->s, w->now);
    assert_true(deadline <= w->now.mono_ms + HOUR_MS / 6);
    pass(w, HOUR_MS / 6);
    assert_true(kad_store_due(w->s, w->now, &r));
    assert_true(r.kind == KAD_RECORD_SHARD && r.split && r.n == KAD_SHARD_ENTRIES_MAX && r.shard.depth == 0);
    uint8_t slot[KAD_SLOT_SIZE];
    const uint8_t *after = NULL;
    uint32_t n = 0, stale = 0;
    while (kad_store_entry_next(w->s, w->now, &at, after, 0, &got, slot)) {
        uint8_t v[KAD_SET_VALUE_MAX];
        memcpy(v, got.v.data, got.v.size);
        got.v.data = v; /* it is the store's until the store changes */
        int code = set_put(w, 1, &got);
        assert_true(code == 0 || code == KAD_ERROR_STALE);
        stale += code != 0;
        if (n % 2) {
            kad_store_handed(w->s, w->now, &at, got.pk,
                             got.seq - 1); /* they acknowledged an older one: stays */
            assert_int_equal(kad_store_entry_get(w->s, w->now, &at, got.pk, &update), 0);
        }
        kad_store_handed(w->s, w->now, &at, got.pk, got.seq);
        after = slot;
        n++;
    }
    kad_store_check(w->s);
    assert_int_equal(n, KAD_SHARD_ENTRIES_MAX);
    assert_int_equal(stale, 1); /* the child had the newer one */
    page = page_of(w, &at, (struct kad_set_query){0});
    assert_int_equal(page.n, 1); /* the last stays, so that others hear of the shard */
    assert_true(page.split);     /* and it still sends writers down */
    n = 0;
    for (unsigned digit = 0; digit < 16; digit++) {
        kad_shard_child(&child, &at, digit);
        n += page_of(w, &child, (struct kad_set_query){0}).n;
    }
    assert_int_equal(n, KAD_SHARD_ENTRIES_MAX + 1);

    /* Back up, when it has become small. */
    kad_store_reopen(w->s, w->now, &at);
    assert_false(page_of(w, &at, (struct kad_set_query){0}).split);
    assert_int_equal(set_put(w, 0, &e), 0);
    while (kad_store_entry_next(w->s, w->now, &at, NULL, 0, &got, slot))
        kad_store_handed(w->s, w->now, &at, got.pk, got.seq);
    assert_int_equal(page_of(w, &at, (struct kad_set_query){0}).n, 0); /* of one that is not split nothing stays */
    kad_store_check(w->s);
    identity_free(one_more);
    identity_free(held);
}

static void test_split_mark_lapses(void **state)
{
    struct world *w = *state;
    struct kad_shard_id at = whole();
    struct kad_entry e = entry(w->id, 1, value(w, START_S + 10 * 86400, 1));
    kad_store_split(w->s, w->now, &at); /* we hold nothing of it: nothing to mark */
    assert_int_equal(stats(w).shards, 0);
    assert_int_equal(set_put(w, 0, &e), 0);
    kad_store_split(w->s, w->now, &at);
    assert_int_equal(set_put(w, 0, &e), KAD_STORE_SPLIT);
    kad_store_handed(w->s, w->now, &at, w->id->pk, 1);
    pass(w, 7ull * 86400000 - 1);
    kad_store_tick(w->s, w->now);
    assert_int_equal(set_put(w, 0, &e), KAD_STORE_SPLIT);
    pass(w, 1);
    assert_int_equal(set_put(w, 0, &e), 0);

    uint8_t slot[KAD_SLOT_SIZE];
    struct kad_shard_id deepest;
    kad_slot(w->id->pk, slot);
    kad_shard_of(&deepest, root, KAD_SHARD_DEPTH_MAX, slot);
    assert_int_equal(set_put(w, KAD_SHARD_DEPTH_MAX, &e), 0);
    kad_store_split(w->s, w->now, &deepest); /* there is nothing below */
    assert_false(page_of(w, &deepest, (struct kad_set_query){0}).split);
}

/* A root that is another set's child target is still another shard. */
static void test_shards_are_told_apart_by_depth(void **state)
{
    struct world *w = *state;
    uint8_t slot[KAD_SLOT_SIZE], as_root[KAD_ID_SIZE];
    struct kad_shard_id child, other;
    struct kad_entry e = entry(w->id, 1, value(w, START_S + 1000, 1)), f = {.seq = 1, .v = e.v};
    kad_slot(w->id->pk, slot);
    kad_shard_of(&child, root, 1, slot);
    kad_shard_target(&child, as_root);
    assert_int_equal(kad_entry_sign(&f, as_root, w->id), 0);
    assert_int_equal(set_put(w, 1, &e), 0);
    assert_int_equal(kad_store_set_put(w->s, w->now, as_root, 0, &f, NULL), 0);
    assert_int_equal(stats(w).shards, 2);
    assert_int_equal(kad_shard_parse(&other, as_root, 0, span(NULL, 0)), 0);
    assert_int_equal(kad_entry_verify(&page_of(w, &child, (struct kad_set_query){0}).entries[0], root), 0);
    assert_int_equal(kad_entry_verify(&page_of(w, &other, (struct kad_set_query){0}).entries[0], as_root), 0);
}

static void test_entry_flood(void **state)
{
    struct world *w = *state;
    limit(w, 0, 100, 0);
    struct addr flooder = from(0x01020304);
    for (uint32_t i = 0; i < 150; i++) {
        struct identity *id = identity(i);
        struct kad_entry e = entry(id, 1, value(w, START_S + 1000, i));
        assert_int_equal(kad_store_set_put(w->s, w->now, root, i % 3, &e, &flooder),
                         i < 100 ? 0 : KAD_ERROR_FULL);
        identity_free(id);
    }
    for (uint32_t i = 200; i < 240; i++) { /* into the flooded shards as well as elsewhere */
        struct addr honest = from(0x20000000 + i * 256);
        struct identity *id = identity(i);
        struct kad_entry e = entry(id, 1, value(w, START_S + 1000, i));
        assert_int_equal(kad_store_set_put(w->s, w->now, root, i % 5, &e, &honest), 0);
        identity_free(id);
        kad_store_check(w->s);
    }
    assert_int_equal(stats(w).entries, 100);
}

/* Moving an entry from one shard to another in a full store may push out the very entry that is read from. */
static void test_moving_in_a_full_store(void **state)
{
    struct world *w = *state;
    struct addr a = from(0x01020304);
    struct kad_shard_id at = whole();
    uint8_t slot[KAD_SLOT_SIZE];
    limit(w, 0, 2, 0);
    for (uint32_t i = 0; i < 2; i++) {
        struct identity *id = identity(i);
        struct kad_entry e = entry(id, 1, value(w, START_S + 1000, i));
        assert_int_equal(kad_store_set_put(w->s, w->now, root, 0, &e, &a), 0);
        identity_free(id);
    }
    for (uint8_t depth = 1; depth < 5; depth++) {
        struct kad_entry held, moved;
        struct kad_shard_id child;
        if (!kad_store_entry_next(w->s, w->now, &at, NULL, 0, &held, slot))
            break;
        assert_int_equal(kad_store_set_put(w->s, w->now, root, depth, &held, NULL), 0);
        kad_shard_of(&child, root, depth, slot);
        assert_int_equal(kad_store_entry_get(w->s, w->now, &child, held.pk, &moved), 0);
        assert_int_equal(kad_entry_verify(&moved, root), 0);
        kad_store_check(w->s);
    }
    assert_int_equal(stats(w).entries, 2);
}

static void test_shard_replication_skips_what_was_seen(void **state)
{
    struct world *w = *state;
    struct kad_shard_id at = whole();
    struct kad_record r;
    struct kad_entry e, got;
    uint8_t slot[KAD_SLOT_SIZE];
    fill(w, 0, 10);
    pass(w, HOUR_MS * 3 / 4);
    fill(w, 0, 10); /* all of them were put by another holder */
    pass(w, HOUR_MS / 2 - 600000);
    assert_false(kad_store_due(w->s, w->now, &r));
    fill(w, 0, 9); /* all but one */
    pass(w, HOUR_MS);
    assert_true(kad_store_due(w->s, w->now, &r));
    assert_true(r.kind == KAD_RECORD_SHARD && !r.split && r.n == 10);
    fill(w, 0, 9);
    uint32_t n = 0;
    const uint8_t *after = NULL;
    while (kad_store_entry_next(w->s, w->now, &at, after, KAD_REPLICATE_S / 2, &got, slot)) {
        e = got;
        after = slot;
        n++;
    }
    assert_int_equal(n, 1);
    struct identity *unseen = identity(9);
    assert_memory_equal(e.pk, unseen->pk, KEY_SIZE);
    identity_free(unseen);
}

/* Others may say that they see to it; but not for ever, and not of what has not been compared at all. */
static void test_is_left_to_others_for_a_while(void **state)
{
    struct world *w = *state;
    struct kad_shard_id at = whole();
    struct kad_entry e = entry(w->id, 1, value(w, START_S + 1000000, 1));
    struct kad_record r;
    uint8_t target[KAD_ID_SIZE];
    kad_shard_target(&at, target);
    assert_int_equal(set_put(w, 0, &e), 0);
    kad_store_seen(w->s, w->now, KAD_RECORD_SHARD, target, &at);
    pass(w, HOUR_MS * 55 / 100);
    kad_store_seen(w->s, w->now, KAD_RECORD_SHARD, target, &at);
    pass(w, HOUR_MS * 60 / 100);
    assert_true(kad_store_due(w->s, w->now, &r)); /* nobody has compared it yet */
    unsigned quarters = 0;
    for (; !kad_store_due(w->s, w->now, &r) && quarters < 100; quarters++) {
        kad_store_seen(w->s, w->now, KAD_RECORD_SHARD, target, &at);
        pass(w, HOUR_MS / 4);
    }
    assert_int_equal(r.kind, KAD_RECORD_SHARD);
    assert_in_range(quarters, (KAD_REPLICATE_LEFT - 1) * 4, (KAD_REPLICATE_LEFT + 1) * 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_entries),
        WITH(test_entries_refused),
        WITH(test_age_and_since),
        WITH(test_paging),
        WITH(test_fresh),
        WITH(test_split_hand_down_and_merge),
        WITH(test_split_mark_lapses),
        WITH(test_shards_are_told_apart_by_depth),
        WITH(test_entry_flood),
        WITH(test_moving_in_a_full_store),
        WITH(test_shard_replication_skips_what_was_seen),
        WITH(test_is_left_to_others_for_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
