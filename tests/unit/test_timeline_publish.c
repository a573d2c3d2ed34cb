#include "tests/unit/tl_net.h"
#include "timeline/record.h"

#define LOOK_TAG (TIMELINE_TAG_FOREIGN | 77)

/* What a kad finds: the item at (pk, salt), or the number of live entries at a root. */
static struct found {
    bool done;
    int status;
    int64_t seq;
    uint8_t v[KAD_VALUE_MAX];
    size_t size;
    size_t entries;
    uint32_t holders;
} found;

static bool take_found(struct net *net, const struct kad_event *e)
{
    (void)net;
    if (e->tag != LOOK_TAG)
        return false;
    if (e->kind == KAD_EVENT_GET && e->status == 0) {
        found.seq = e->item->seq;
        found.size = e->item->v.size;
        memcpy(found.v, e->item->v.data, found.size);
        found.holders = e->holders;
    }
    for (size_t i = 0; i < e->n_entries; i++)
        found.entries += !kad_entry_is_tombstone(&e->entries[i]);
    if (e->last) {
        found.done = true;
        found.status = e->status;
    }
    return true;
}

/* As somebody would who has no timeline. */
static struct found look(struct net *net, int i, const uint8_t *pk, const char *salt, const uint8_t *root)
{
    struct net_node *n = &net->nodes[i];
    uint8_t target[KAD_ID_SIZE];
    found = (struct found){ .done = false };
    net->tap = take_found;
    if (salt) {
        kad_mutable_target(pk, span_str(salt), target);
        assert_int_equal(kad_get(n->kad, net->now, target, pk, span_str(salt), LOOK_TAG), 0);
    } else {
        assert_int_equal(kad_set_get(n->kad, net->now, root, false, 0, LOOK_TAG), 0);
    }
    net_run_until(net, net->now.mono_ms + 4000, &found.done);
    net->tap = NULL;
    assert_true(found.done);
    return found;
}

/* Everything that is to be said of somebody is found by others, with the life that it should have. */
static void test_records(void **state)
{
    (void)state;
    struct net *net = net_town(6, 61);
    const uint8_t *pk = net->nodes[1].identity->pk;
    net_follow(net, 1, "u0");
    net_post(net, 1, "one");
    net_post(net, 1, "two");
    net_run(net, 10000);
    int64_t now_s = (int64_t)(net->now.wall_ms / 1000);
    struct record_profile p;
    struct record_connection c;
    struct record_head h;
    struct record_following fing;

    net_who(net, 3, TL_PROFILE, "u1"); /* the commands see it ... */
    struct found f = look(net, 4, pk, "public", NULL); /* ... and so does anybody */
    assert_int_equal(f.status, 0);
    assert_int_equal(record_get_profile(span(f.v, f.size), &p), 0);
    assert_string_equal(p.name, "u1");
    assert_int_equal(p.following, 1);
    assert_in_range(p.expires_s, now_s + RECORD_LIFE_LONG_S - 60, now_s + RECORD_LIFE_LONG_S);
    f = look(net, 4, pk, "connections/0", NULL);
    assert_int_equal(record_get_connection(span(f.v, f.size), &c), 0);
    assert_true(addr_equal(&c.addr, &net->nodes[1].dest.addr));
    assert_memory_equal(c.transport_key, net->nodes[1].dest.key, LINK_KEY_SIZE);
    f = look(net, 4, pk, "head/0", NULL);
    assert_int_equal(record_get_head(span(f.v, f.size), &h), 0);
    assert_int_equal(h.seq, 2);
    f = look(net, 4, pk, "following/0", NULL);
    assert_int_equal(record_get_following(span(f.v, f.size), &fing), 0);
    assert_int_equal(fing.n, 1);
    assert_memory_equal(fing.keys, net->nodes[0].identity->pk, KEY_SIZE);
    uint8_t root[KAD_ID_SIZE];
    record_followers_root(net->nodes[0].identity->pk, root);
    assert_int_equal(look(net, 4, NULL, NULL, root).entries, 1);
    record_name_root("u1", root);
    assert_int_equal(look(net, 4, NULL, NULL, root).entries, 1);
    net_free(net);
}

/* Made anew before it expires, while unlocked: for hours and days. */
static void test_refresh(void **state)
{
    (void)state;
    struct net *net = net_town(4, 62);
    const uint8_t *pk = net->nodes[1].identity->pk;
    net_follow(net, 1, "u0");
    struct found first = look(net, 2, pk, "connections/0", NULL);
    struct record_connection c;
    for (int hour = 0; hour < 5; hour++) {
        net_run(net, 3600000);
        struct found f = look(net, 2, pk, "connections/0", NULL);
        assert_int_equal(f.status, 0);
        assert_int_equal(record_get_connection(span(f.v, f.size), &c), 0);
        assert_true(c.expires_s > (int64_t)(net->now.wall_ms / 1000) + 3600);
        assert_true(f.seq > first.seq);
    }
    uint8_t root[KAD_ID_SIZE];
    record_followers_root(net->nodes[0].identity->pk, root);
    net_run(net, UINT64_C(86400000) * 35); /* longer than a follow entry lives */
    assert_int_equal(look(net, 2, NULL, NULL, root).entries, 1);
    struct said *s = net_who(net, 0, TL_FOLLOWERS, "");
    assert_int_equal(s->n, 1);
    net_free(net);
}

/* Said while nobody was there, put when somebody is; and again after a crash. */
static void test_later(void **state)
{
    (void)state;
    struct net *net = net_new(4, 63);
    net_start_at(net, 1, 0, -1);
    assert_int_equal(net_register(net, 1, "ana")->status, CAM_EPENDING);
    net_post(net, 1, "one");
    net_run(net, 100000);
    net_kill(net, 1);
    net_start_at(net, 0, 0, -1);
    net_start_at(net, 2, 0, 0);
    net_run(net, 2000);
    net_start_at(net, 1, 0, 0);
    net_login(net, 1);
    net_run(net, 8000);
    const uint8_t *pk = net->nodes[1].identity->pk;
    assert_int_equal(look(net, 2, pk, "public", NULL).status, 0);
    assert_int_equal(look(net, 2, pk, "connections/0", NULL).status, 0);
    assert_int_equal(look(net, 2, pk, "head/0", NULL).status, 0);
    uint8_t root[KAD_ID_SIZE];
    record_name_root("ana", root);
    assert_int_equal(look(net, 2, NULL, NULL, root).entries, 1);
    assert_false(net_command(net, 1, (struct timeline_command){ .verb = TL_WHOAMI })->rows[0].name_pending);
    net_free(net);
}

/* Locked: what was signed before is kept up while it is true; a new address is said to need the key. */
static void test_locked(void **state)
{
    (void)state;
    struct net *net = net_town(4, 64);
    net_follow(net, 1, "u0");
    net_run(net, 1000);
    net_kill(net, 0);
    net_start_at(net, 0, 9900, -1);
    net_run(net, 3000);
    struct said *s = net_status(net, 0);
    assert_true(s->rows[0].locked);
    assert_non_null(strstr(s->message, "login"));
    net_login(net, 0);
    net_run(net, 3000);
    assert_string_equal(net_status(net, 0)->message, "");
    struct found f = look(net, 2, net->nodes[0].identity->pk, "connections/0", NULL);
    struct record_connection c;
    assert_int_equal(record_get_connection(span(f.v, f.size), &c), 0);
    assert_int_equal(c.addr.port, 9900);
    net_free(net);
}

/* The store of this home is older than what it once published: what holders have is overtaken, not fought. */
static void test_newer_seq(void **state)
{
    (void)state;
    struct net *net = net_town(4, 65);
    struct net_node *n = &net->nodes[1];
    struct record_profile p = { .name = "u1",
                                .n_devices = 1,
                                .expires_s = (int64_t)(net->now.wall_ms / 1000) + 86400 };
    uint8_t value[KAD_OWN_VALUE_MAX];
    struct bytes_out out = bytes_out(value, sizeof value);
    record_put_profile(&out, &p);
    struct kad_item item = { .is_mutable = true, .salt = span_str("public"), .v = span(value, out.size),
                             .seq = (int64_t)(net->now.wall_ms / 1000) + 100000 };
    assert_int_equal(kad_item_sign(&item, n->identity), 0);
    assert_int_equal(kad_put(n->kad, net->now, &item, NULL, TIMELINE_TAG_FOREIGN | 5), 0);
    net_turn(net, 1);
    net_run(net, 1000);
    net_follow(net, 1, "u0"); /* changes the profile */
    net_run(net, 10000);
    struct found f = look(net, 2, n->identity->pk, "public", NULL);
    assert_true(f.seq > item.seq);
    assert_int_equal(record_get_profile(span(f.v, f.size), &p), 0);
    assert_int_equal(p.following, 1);
    net_free(net);
}

/* Each record's decoder takes what its encoder wrote, and nothing cut short. */
static void test_codecs(void **state)
{
    (void)state;
    uint8_t buf[KAD_OWN_VALUE_MAX], keys[2 * KEY_SIZE] = { 1 };
    struct addr a;
    addr_parse("[2001:db8::1]:9", &a);
    for (int kind = 0; kind < 7; kind++) {
        struct bytes_out out = bytes_out(buf, sizeof buf);
        struct record_profile p = { .name = "ana",
                                    .bio = span_str("hi"),
                                    .devices = { 0, 7 },
                                    .n_devices = 2,
                                    .followers = 3,
                                    .expires_s = 9 };
        struct record_connection c = { .addr = a, .reachable = true, .expires_s = 9 };
        struct record_head h = { .seq = 1, .id = 2, .at_ms = 3, .instance = 4, .expires_s = 9 };
        struct record_follow f = { .name = "bob", .n_hints = 3, .expires_s = 9 },
                             gone = { .deleted = true, .expires_s = 9 };
        for (int i = 0; i < 3; i++)
            f.hints[i] = (struct record_hint){ .device = (uint16_t)(1021 + i), .addr = a };
        struct record_claim cl = { .created_s = 1, .expires_s = 9 };
        struct record_following fg = { .keys = keys, .n = 2, .expires_s = 9 };
        switch (kind) {
        case 0: record_put_profile(&out, &p); break;
        case 1: record_put_connection(&out, &c); break;
        case 2: record_put_head(&out, &h); break;
        case 3: record_put_follow(&out, &f); break;
        case 4: record_put_follow(&out, &gone); break;
        case 5: record_put_claim(&out, &cl); break;
        case 6: record_put_following(&out, &fg); break;
        }
        assert_int_equal(out.err, 0);
        assert_true(kind != 3 || out.size <= KAD_SET_VALUE_MAX);
        assert_int_equal(kad_value_expires_s(span(buf, out.size)), 9);
        for (size_t size = 0; size <= out.size; size++) {
            struct span v = span(buf, size);
            int err = kind == 0 ? record_get_profile(v, &p) : kind == 1 ? record_get_connection(v, &c)
                    : kind == 2 ? record_get_head(v, &h) : kind == 3 ? record_get_follow(v, &f)
                    : kind == 4 ? record_get_follow(v, &gone) : kind == 5 ? record_get_claim(v, &cl)
                    : record_get_following(v, &fg);
            assert_int_equal(err, size == out.size ? 0 : CAM_EFORMAT);
        }
        assert_true(p.n_devices == 2 && p.devices[1] == 7 && span_equal(p.bio, span_str("hi")));
        assert_true(addr_equal(&c.addr, &a) && h.instance == 4 && f.n_hints == 3 &&
                    f.hints[2].device == 1023);
        assert_true(gone.deleted && cl.created_s == 1 && fg.n == 2);
    }
    uint16_t n;
    assert_int_equal(record_salt_number(span_str("head/12"), "head", &n), 0);
    assert_int_equal(n, 12);
    assert_int_not_equal(record_salt_number(span_str("head/012"), "head", &n), 0);
    assert_int_not_equal(record_salt_number(span_str("head/"), "head", &n), 0);
    assert_int_not_equal(record_salt_number(span_str("head/x"), "head", &n), 0);
    assert_int_not_equal(record_salt_number(span_str("heap/1"), "head", &n), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records), cmocka_unit_test(test_refresh),   cmocka_unit_test(test_later),
        cmocka_unit_test(test_locked),  cmocka_unit_test(test_newer_seq), cmocka_unit_test(test_codecs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
