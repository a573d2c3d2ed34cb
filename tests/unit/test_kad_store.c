/* What a node holds for the network: which items and peers get in, who stays, what falls due. */
#include "tests/unit/kad_store_world.h"

/* ---- items -------------------------------------------------------------------------------------------- */

static void test_item_in_and_out(void **state)
{
    struct world *w = *state;
    struct kad_item in = item(w->id, "public", 3, value(w, START_S + 100, 1)), out;
    assert_int_equal(get(w, &in, &out), CAM_ENOENT);
    assert_int_equal(put(w, &in), 0);
    assert_int_equal(get(w, &in, &out), 0);
    assert_true(out.is_mutable && out.seq == 3 && span_equal(out.v, in.v) && span_equal(out.salt, in.salt));
    assert_int_equal(kad_item_verify(&out), 0);

    struct kad_item immutable = {.v = span_str("5:hello")};
    assert_int_equal(put(w, &immutable), 0);
    assert_int_equal(get(w, &immutable, &out), 0);
    assert_true(!out.is_mutable && span_equal(out.v, immutable.v));
    assert_int_equal(stats(w).items, 2);
    kad_store_check(w->s);
}

static void test_item_seq_and_cas(void **state)
{
    struct world *w = *state;
    struct kad_item five = item(w->id, "s", 5, value(w, 0, 1)), out;
    assert_int_equal(put_cas(w, &five, 99), 0); /* nothing held: nothing to compare with */
    struct kad_item four = item(w->id, "s", 4, value(w, 0, 1));
    assert_int_equal(put(w, &four), KAD_ERROR_STALE);
    struct kad_item six = item(w->id, "s", 6, value(w, 0, 2));
    assert_int_equal(put_cas(w, &six, 4), KAD_ERROR_CAS);
    assert_int_equal(put_cas(w, &six, 6), KAD_ERROR_CAS);
    assert_int_equal(get(w, &six, &out), 0);
    assert_int_equal(out.seq, 5);
    assert_int_equal(put_cas(w, &six, 5), 0);
    assert_int_equal(get(w, &six, &out), 0);
    assert_int_equal(out.seq, 6);
    assert_int_equal(put_cas(w, &six, 6), 0); /* the same again */
    assert_int_equal(put_cas(w, &four, 6), KAD_ERROR_STALE);
    assert_int_equal(stats(w).refused_stale, 4);
    struct kad_item last = item(w->id, "s", INT64_MAX, value(w, 0, 3));
    assert_int_equal(put(w, &last), 0);
    assert_int_equal(put(w, &six), KAD_ERROR_STALE);
    assert_int_equal(stats(w).items, 1);
}

static void test_item_equal_seq_larger_hash_wins(void **state)
{
    struct world *w = *state;
    uint8_t hash1[SHA1_SIZE], hash2[SHA1_SIZE];
    hash_sha1(hash1, "i1e", 3);
    hash_sha1(hash2, "i2e", 3);
    bool one_wins = memcmp(hash1, hash2, SHA1_SIZE) > 0;
    struct kad_item winner = item(w->id, "", 7, span_str(one_wins ? "i1e" : "i2e"));
    struct kad_item loser = item(w->id, "", 7, span_str(one_wins ? "i2e" : "i1e")), out;
    for (int order = 0; order < 2; order++) {
        assert_int_equal(put(w, order ? &winner : &loser), 0);
        assert_int_equal(put(w, order ? &loser : &winner), order ? KAD_ERROR_STALE : 0);
        assert_int_equal(get(w, &winner, &out), 0);
        assert_true(span_equal(out.v, winner.v)); /* the same at every holder, whatever came first */
        kad_store_reset(w->s);
    }
}

static void test_item_refused(void **state)
{
    struct world *w = *state;
    struct kad_item it = item(w->id, "s", 1, value(w, 0, 1)), bad, out;
    bad = it;
    bad.sig[10] ^= 4;
    assert_int_equal(put(w, &bad), KAD_ERROR_SIGNATURE);
    bad = it;
    bad.seq = 2; /* a replay with the number pushed up */
    assert_int_equal(put(w, &bad), KAD_ERROR_SIGNATURE);
    bad = it;
    bad.salt = span_str("t");
    assert_int_equal(put(w, &bad), KAD_ERROR_SIGNATURE);
    bad = it;
    bad.pk[0] ^= 1;
    assert_int_equal(put(w, &bad), KAD_ERROR_SIGNATURE);
    bad = it;
    bad.v = span_str("i01e");
    assert_int_equal(put(w, &bad), KAD_ERROR_PROTOCOL);
    uint8_t big[KAD_VALUE_MAX + 1];
    memset(big, 'x', sizeof big);
    bad.v = span(big, sizeof big);
    assert_int_equal(put(w, &bad), KAD_ERROR_TOOBIG);
    bad = it;
    bad.salt = span(big, KAD_SALT_MAX + 1);
    assert_int_equal(put(w, &bad), KAD_ERROR_SALT);
    assert_int_equal(get(w, &it, &out), CAM_ENOENT);
    assert_int_equal(stats(w).items, 0);
    assert_int_equal(stats(w).bytes, 0);
    assert_int_equal(stats(w).refused_signature, 4);
    assert_int_equal(stats(w).refused_form, 3);

    /* And with an item in place: what is refused changes nothing. */
    assert_int_equal(put(w, &it), 0);
    bad = it;
    bad.seq = 2;
    assert_int_equal(put(w, &bad), KAD_ERROR_SIGNATURE);
    bad = it;
    bad.sig[0] ^= 1; /* the same version under a bad signature is not "seen again" */
    assert_int_equal(put(w, &bad), KAD_ERROR_SIGNATURE);
    assert_int_equal(get(w, &it, &out), 0);
    assert_memory_equal(out.sig, it.sig, SIG_SIZE);
    assert_int_equal(out.seq, 1);
}

static void test_same_bytes_are_verified_once(void **state)
{
    struct world *w = *state;
    struct kad_item it = item(w->id, "s", 1, value(w, START_S + 1000, 1));
    for (int i = 0; i < 10; i++)
        assert_int_equal(put(w, &it), 0);
    assert_int_equal(w->verified.misses, 1);
    kad_store_reset(w->s); /* forgotten, but not that it was good */
    assert_int_equal(put(w, &it), 0);
    assert_int_equal(w->verified.misses, 1);
}

static void test_item_expiry_bounds(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *salt;
        int64_t life_s; /* from START_S */
        int code;
    } cases[] = {
        {"public", 0, KAD_ERROR_PROTOCOL},
        {"public", -1, KAD_ERROR_PROTOCOL},
        {"public", 1, 0},
        {"public", KAD_LIFE_MAX_S + KAD_LIFE_SLACK_S, 0},
        {"public", KAD_LIFE_MAX_S + KAD_LIFE_SLACK_S + 1, KAD_ERROR_PROTOCOL},
        {"", KAD_LIFE_MAX_S, 0},
        {"connections/0", KAD_LIFE_CONNECTIONS_S + KAD_LIFE_SLACK_S, 0},
        {"connections/0", KAD_LIFE_CONNECTIONS_S + KAD_LIFE_SLACK_S + 1, KAD_ERROR_PROTOCOL},
        {"connections", KAD_LIFE_MAX_S, 0}, /* not that kind */
        {"xconnections/0", KAD_LIFE_MAX_S, 0},
        {"public", INT64_MAX - START_S, KAD_ERROR_PROTOCOL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kad_item it = item(w->id, cases[i].salt, 1, value(w, START_S + cases[i].life_s, 1)), out;
        kad_store_reset(w->s);
        assert_int_equal(put(w, &it), cases[i].code);
        assert_int_equal(get(w, &it, &out), cases[i].code ? CAM_ENOENT : 0);
    }
}

static void test_item_lives_to_its_last_second(void **state)
{
    struct world *w = *state;
    struct kad_item it = item(w->id, "public", 1, value(w, START_S + 100, 1)), out;
    assert_int_equal(put(w, &it), 0);
    pass(w, 50000);
    assert_int_equal(put(w, &it), 0); /* a republish lengthens nothing */
    pass(w, 49999);
    assert_int_equal(get(w, &it, &out), 0);
    kad_store_tick(w->s, w->now);
    assert_int_equal(stats(w).items, 1);
    assert_int_equal(kad_store_deadline_ms(w->s, w->now), w->now.mono_ms + 1);
    pass(w, 1);
    kad_store_tick(w->s, w->now);
    assert_int_equal(stats(w).items, 0);
    assert_int_equal(stats(w).bytes, 0);
    assert_int_equal(get(w, &it, &out), CAM_ENOENT);
    assert_true(kad_store_deadline_ms(w->s, w->now) == NOW_NEVER);
    assert_int_equal(put(w, &it), KAD_ERROR_PROTOCOL); /* and it does not come back */

    struct kad_item old = item(w->id, "public", 5, value(w, START_S + 200, 1));
    assert_int_equal(put(w, &old), 0);
    pass(w, 200000);
    assert_int_equal(get(w, &old, &out), CAM_ENOENT); /* gone without a tick, too */
    struct kad_item lower = item(w->id, "public", 4, value(w, START_S + 900, 1));
    assert_int_equal(put(w, &lower), 0); /* and it stands in nobody's way */
}

static void test_plain_item_lives_two_hours_from_the_last_put(void **state)
{
    struct world *w = *state;
    struct kad_item it = item(w->id, "", 1, value(w, 0, 1)), out;
    struct kad_record r;
    assert_int_equal(put(w, &it), 0);
    pass(w, 7199000);
    assert_int_equal(get(w, &it, &out), 0);
    assert_int_equal(put(w, &it), 0);
    pass(w, 7199999);
    assert_int_equal(get(w, &it, &out), 0);
    assert_false(kad_store_due(w->s, w->now, &r)); /* replicating it would keep it for ever */
    uint32_t cursor = KAD_WALK_START;
    assert_false(kad_store_walk(w->s, w->now, &cursor, &r));
    pass(w, 1);
    assert_int_equal(get(w, &it, &out), CAM_ENOENT);
}

static void test_clock_steps(void **state)
{
    struct world *w = *state;
    struct kad_item it = item(w->id, "public", 1, value(w, START_S + 86400, 1)), out;
    assert_int_equal(put(w, &it), 0);
    w->now.wall_ms -= 10000000; /* back */
    kad_store_tick(w->s, w->now);
    assert_int_equal(get(w, &it, &out), 0);
    assert_true(kad_store_deadline_ms(w->s, w->now) > w->now.mono_ms);
    w->now.wall_ms += 20000000; /* ahead, but not past it */
    kad_store_tick(w->s, w->now);
    assert_int_equal(get(w, &it, &out), 0);
    struct now zero = {0, 0};
    kad_store_tick(w->s, zero);
    assert_int_equal(kad_store_put(w->s, zero, &it, NULL, NULL),
                     KAD_ERROR_PROTOCOL); /* beyond any life from there */
}

/* ---- replication -------------------------------------------------------------------------------------- */

static void test_due_in_an_hour_unless_seen(void **state)
{
    struct world *w = *state;
    struct kad_item a = item(w->id, "a", 1, value(w, START_S + 864000, 1)), b = a;
    struct kad_record r;
    assert_int_equal(put(w, &a), 0);
    b = item(w->id, "b", 1, value(w, START_S + 864000, 1));
    assert_int_equal(put(w, &b), 0);
    pass(w, HOUR_MS * 85 / 100);
    assert_false(kad_store_due(w->s, w->now, &r));
    assert_int_equal(put(w, &b), 0); /* somebody else has put b everywhere */
    pass(w, HOUR_MS * 30 / 100);
    assert_true(kad_store_due(w->s, w->now, &r));
    assert_int_equal(r.kind, KAD_RECORD_ITEM);
    assert_true(span_equal(r.item.salt, span_str("a")));
    uint8_t target[KAD_ID_SIZE];
    kad_item_target(&a, target);
    assert_memory_equal(r.target, target, KAD_ID_SIZE);
    assert_false(kad_store_due(w->s, w->now, &r));
    uint64_t deadline = kad_store_deadline_ms(w->s, w->now);
    assert_true(deadline > w->now.mono_ms && deadline < w->now.mono_ms + HOUR_MS);
    w->now.mono_ms = deadline; /* mono alone decides what is due */
    assert_true(kad_store_due(w->s, w->now, &r));
    assert_true(span_equal(r.item.salt, span_str("b")));

    kad_store_seen(w->s, w->now, KAD_RECORD_ITEM, target, NULL);
    pass(w, HOUR_MS * 85 / 100);
    assert_false(kad_store_due(w->s, w->now, &r));
    uint8_t nothing[KAD_ID_SIZE] = {0};
    kad_store_seen(w->s, w->now, KAD_RECORD_ITEM, nothing, NULL);
}

/* Who is no longer among those who should hold an item looks after it seldom, unless asked to again. */
static void test_far_items_are_due_seldom(void **state)
{
    struct world *w = *state;
    struct kad_item a = item(w->id, "a", 1, value(w, START_S + 864000, 1));
    struct kad_record r;
    uint8_t target[KAD_ID_SIZE];
    kad_item_target(&a, target);
    assert_int_equal(put(w, &a), 0);
    kad_store_far(w->s, w->now, target);
    pass(w, HOUR_MS * (KAD_REPLICATE_FAR * 100 - 15) / 100);
    assert_false(kad_store_due(w->s, w->now, &r));
    pass(w, HOUR_MS * 30 / 100);
    assert_true(kad_store_due(w->s, w->now, &r));
    kad_store_far(w->s, w->now, target);
    kad_store_seen(w->s, w->now, KAD_RECORD_ITEM, target, NULL); /* a closer one asks for it: we are near again */
    pass(w, HOUR_MS * 115 / 100);
    assert_true(kad_store_due(w->s, w->now, &r));
    uint8_t nothing[KAD_ID_SIZE] = {0};
    kad_store_far(w->s, w->now, nothing);
}

/* Whoever asks, or puts again what is held, may say that it sees to the hour's work; but not for ever. */
static void test_items_are_left_to_others_for_a_while(void **state)
{
    struct world *w = *state;
    struct kad_item a = item(w->id, "a", 1, value(w, START_S + 864000, 1));
    struct kad_record r;
    uint8_t target[KAD_ID_SIZE];
    kad_item_target(&a, target);
    assert_int_equal(put(w, &a), 0);
    for (unsigned again = 0; again < 2; again++) {
        unsigned quarters = 0;
        for (; !kad_store_due(w->s, w->now, &r) && quarters < 100; quarters++) {
            kad_store_seen(w->s, w->now, KAD_RECORD_ITEM, target, NULL);
            assert_int_equal(put(w, &a), 0);
            pass(w, HOUR_MS / 4);
        }
        assert_in_range(quarters, (KAD_REPLICATE_LEFT - 1) * 4, (KAD_REPLICATE_LEFT + 1) * 4);
    }
    /* A new version is its writer's own word that it lies at the others. */
    pass(w, HOUR_MS * (KAD_REPLICATE_LEFT - 1));
    a = item(w->id, "a", 2, value(w, START_S + 864000, 2));
    assert_int_equal(put(w, &a), 0);
    kad_store_seen(w->s, w->now, KAD_RECORD_ITEM, target, NULL);
    pass(w, HOUR_MS * 85 / 100);
    kad_store_seen(w->s, w->now, KAD_RECORD_ITEM, target, NULL);
    pass(w, HOUR_MS * 85 / 100);
    assert_false(kad_store_due(w->s, w->now, &r));
}

static void test_walk_while_changing(void **state)
{
    struct world *w = *state;
    char salt[16];
    bool seen[60] = {false};
    for (int i = 0; i < 60; i++) {
        snprintf(salt, sizeof salt, "%d", i);
        struct kad_item it = item(w->id, salt, 1, value(w, START_S + 100 + (i % 2) * 1000, i));
        assert_int_equal(put(w, &it), 0);
    }
    uint32_t cursor = KAD_WALK_START;
    struct kad_record r;
    for (int n = 0; kad_store_walk(w->s, w->now, &cursor, &r); n++) {
        int i = 0;
        for (size_t c = 0; c < r.item.salt.size; c++)
            i = i * 10 + (r.item.salt.data[c] - '0');
        seen[i] = true;
        if (n == 20) { /* half of them go in the middle of it */
            pass(w, 200000);
            kad_store_tick(w->s, w->now);
            assert_int_equal(stats(w).items, 30);
        }
        if (n > 20)
            assert_int_equal(i % 2, 1);
    }
    for (int i = 1; i < 60; i += 2)
        assert_true(seen[i]);
}

/* ---- room --------------------------------------------------------------------------------------------- */

static void test_flood_costs_only_the_flooder(void **state)
{
    struct world *w = *state;
    limit(w, 200, 0, 0);
    struct kad_item it = {0};
    int refused = 0;
    struct addr flooder = from(0x01020300);
    for (int i = 0; i < 1000; i++) {
        it.v = value(w, START_S + 1000, i);
        flooder.ip[3] = (uint8_t)i; /* all over its /24 */
        refused += kad_store_put(w->s, w->now, &it, NULL, &flooder) == KAD_ERROR_FULL;
    }
    assert_int_equal(stats(w).items, 200);
    assert_int_equal(refused, 800);
    kad_store_check(w->s);

    int stored = 0;
    for (int i = 0; i < 100; i++) { /* a hundred others want to put one each */
        struct addr honest = from(0x10000000 + (uint32_t)i * 256);
        it.v = value(w, START_S + 1000, 5000 + i);
        stored += kad_store_put(w->s, w->now, &it, NULL, &honest) == 0;
        it.v = value(w, START_S + 1000, 9000 + i);
        kad_store_put(w->s, w->now, &it, NULL, &flooder);
    }
    assert_int_equal(stored, 100);
    int there = 0;
    struct kad_item out;
    for (int i = 0; i < 100; i++) {
        it.v = value(w, START_S + 1000, 5000 + i);
        there += get(w, &it, &out) == 0;
    }
    assert_int_equal(there, 100);
    assert_int_equal(stats(w).items, 200);
    assert_true(stats(w).displaced >= 100);
}

static void test_bad_signature_displaces_nobody(void **state)
{
    struct world *w = *state;
    limit(w, 4, 4, 0);
    struct addr a = from(0x01010101), b = from(0x02020202);
    struct kad_item it = {0};
    for (int i = 0; i < 4; i++) {
        it.v = value(w, START_S + 1000, i);
        assert_int_equal(kad_store_put(w->s, w->now, &it, NULL, &a), 0);
    }
    struct kad_item forged = item(w->id, "s", 1, value(w, START_S + 1000, 77));
    forged.sig[0] ^= 1;
    assert_int_equal(kad_store_put(w->s, w->now, &forged, NULL, &b), KAD_ERROR_SIGNATURE);
    assert_int_equal(stats(w).displaced, 0);
    forged.sig[0] ^= 1;
    assert_int_equal(kad_store_put(w->s, w->now, &forged, NULL, &b), 0);
    assert_int_equal(stats(w).displaced, 1);
    assert_int_equal(stats(w).items, 4);
    it.v = value(w, START_S + 1000, 88);
    assert_int_equal(kad_store_put(w->s, w->now, &it, NULL, NULL), 0); /* for ourselves there is room */
    assert_int_equal(stats(w).items, 4);
}

static void test_budget_of_a_key(void **state)
{
    struct world *w = *state;
    struct addr a = from(0x01010101);
    char salt[16];
    int stored = 0;
    for (int i = 0; i < KAD_KEY_ITEMS_MAX + 5; i++) {
        snprintf(salt, sizeof salt, "%d", i);
        struct kad_item it = item(w->id, salt, 1, value(w, 0, 1));
        stored += kad_store_put(w->s, w->now, &it, NULL, &a) == 0;
    }
    assert_int_equal(stored, KAD_KEY_ITEMS_MAX);
    struct identity *other = identity(3);
    struct kad_item it = item(other, "0", 1, value(w, 0, 1));
    assert_int_equal(kad_store_put(w->s, w->now, &it, NULL, &a), 0);
    identity_free(other);
}

/* ---- peers -------------------------------------------------------------------------------------------- */

static void test_peers(void **state)
{
    struct world *w = *state;
    uint8_t hash[KAD_ID_SIZE] = {7};
    struct addr out[200], bad = {.family = 4, .port = 0, .ip = {1, 2, 3, 4}}, v6;
    assert_int_equal(addr_parse("[2001:db8::5]:99", &v6), 0);
    assert_int_equal(kad_store_announce(w->s, w->now, hash, &bad, &bad), KAD_ERROR_PROTOCOL);
    assert_int_equal(kad_store_peers(w->s, w->now, hash, 4, out, 200), 0);
    for (uint32_t i = 0; i < 100; i++) {
        struct addr peer = from(0x30000000 + i * 256);
        assert_int_equal(kad_store_announce(w->s, w->now, hash, &peer, &peer), 0);
        assert_int_equal(kad_store_announce(w->s, w->now, hash, &peer, &peer), 0);
    }
    assert_int_equal(kad_store_announce(w->s, w->now, hash, &v6, &v6), 0);
    assert_int_equal(stats(w).peers, 101);
    assert_int_equal(kad_store_peers(w->s, w->now, hash, 4, out, 200), 100);
    assert_int_equal(kad_store_peers(w->s, w->now, hash, 6, out, 200), 1);
    assert_true(addr_equal(&out[0], &v6));

    uint32_t heard[100] = {0};
    for (int i = 0; i < 10; i++) {
        size_t n = kad_store_peers(w->s, w->now, hash, 4, out, 20);
        assert_int_equal(n, 20);
        for (size_t p = 0; p < n; p++)
            heard[(be32(out[p].ip) - 0x30000000) / 256]++;
    }
    for (int i = 0; i < 100; i++)
        assert_true(heard[i] >= 1); /* all have their turn */

    pass(w, 1799999);
    assert_int_equal(kad_store_peers(w->s, w->now, hash, 4, out, 200), 100);
    struct addr again = from(0x30000000);
    assert_int_equal(kad_store_announce(w->s, w->now, hash, &again, &again), 0);
    pass(w, 1);
    assert_int_equal(kad_store_peers(w->s, w->now, hash, 4, out, 200), 1);
    kad_store_tick(w->s, w->now);
    assert_int_equal(stats(w).peers, 1);
    kad_store_check(w->s);
    pass(w, 1800000);
    kad_store_tick(w->s, w->now);
    assert_int_equal(stats(w).bytes, 0);
}

static void test_peers_bounded(void **state)
{
    struct world *w = *state;
    uint8_t hash[KAD_ID_SIZE] = {8};
    struct addr out[KAD_PEERS_PER_HASH_MAX + 50], honest = from(0x50000001);
    assert_int_equal(kad_store_announce(w->s, w->now, hash, &honest, &honest), 0);
    pass(w, 1000);
    for (uint32_t i = 0; i < 1000; i++) { /* one /24 with a thousand ports */
        struct addr peer = from(0x60000000 + i % 256);
        peer.port = (uint16_t)(1000 + i);
        assert_int_equal(kad_store_announce(w->s, w->now, hash, &peer, &peer), 0);
    }
    size_t n = kad_store_peers(w->s, w->now, hash, 4, out, sizeof out / sizeof *out);
    assert_int_equal(n, KAD_PEERS_PER_HASH_MAX);
    bool there = false;
    for (size_t i = 0; i < n; i++)
        there |= addr_equal(&out[i], &honest);
    assert_true(there); /* it displaced its own kind */
    kad_store_check(w->s);

    limit(w, 0, 0, 10);
    for (uint32_t i = 0; i < 20; i++) {
        struct addr peer = from(0x60000000 + i);
        put_be32(hash, i);
        assert_int_equal(kad_store_announce(w->s, w->now, hash, &peer, &peer), i < 10 ? 0 : KAD_ERROR_FULL);
    }
    assert_int_equal(kad_store_announce(w->s, w->now, hash, &honest, &honest), 0);
    assert_int_equal(stats(w).peers, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_item_in_and_out),
        WITH(test_item_seq_and_cas),
        WITH(test_item_equal_seq_larger_hash_wins),
        WITH(test_item_refused),
        WITH(test_same_bytes_are_verified_once),
        WITH(test_item_expiry_bounds),
        WITH(test_item_lives_to_its_last_second),
        WITH(test_plain_item_lives_two_hours_from_the_last_put),
        WITH(test_clock_steps),
        WITH(test_due_in_an_hour_unless_seen),
        WITH(test_far_items_are_due_seldom),
        WITH(test_items_are_left_to_others_for_a_while),
        WITH(test_walk_while_changing),
        WITH(test_flood_costs_only_the_flooder),
        WITH(test_bad_signature_displaces_nobody),
        WITH(test_budget_of_a_key),
        WITH(test_peers),
        WITH(test_peers_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
