#include "tests/unit/tl_net.h"
#include "timeline/record.h"

static char *id_of(struct net *net, int i)
{
    static char id[USER_ID_SIZE];
    user_id_text(net->nodes[i].identity->pk, id);
    return id;
}

static char *tagged(struct net *net, int i, const char *name)
{
    static char text[WHO_SIZE];
    user_text(name, net->nodes[i].identity->pk, text);
    return text;
}

/* Every way to name somebody. */
static void test_who(void **state)
{
    (void)state;
    struct net *net = net_town(3, 51);
    struct said *s = net_who(net, 1, TL_PROFILE, "u0");
    assert_int_equal(s->status, 0);
    assert_memory_equal(s->rows[0].user.pk, net->nodes[0].identity->pk, KEY_SIZE);
    s = net_who(net, 1, TL_PROFILE, id_of(net, 0));
    assert_int_equal(s->status, 0);
    assert_string_equal(s->rows[0].user.name, "u0");
    s = net_who(net, 2, TL_PROFILE, tagged(net, 0, "u0"));
    assert_int_equal(s->status, 0);
    assert_memory_equal(s->rows[0].user.pk, net->nodes[0].identity->pk, KEY_SIZE);
    assert_int_equal(net_who(net, 2, TL_PROFILE, tagged(net, 1, "u0"))->status, CAM_ENOENT);
    assert_int_equal(net_who(net, 2, TL_PROFILE, "nobody")->status, CAM_ENOENT);
    assert_int_equal(net_who(net, 2, TL_PROFILE, "../x")->status, CAM_EINVAL);
    s = net_who(net, 2, TL_PROFILE, "");
    assert_string_equal(s->rows[0].user.name, "u2");
    s = net_who(net, 2, TL_PROFILE, "u2");
    assert_memory_equal(s->rows[0].user.pk, net->nodes[2].identity->pk, KEY_SIZE);
    net_free(net);
}

/* What was resolved once needs no network again. */
static void test_pinned(void **state)
{
    (void)state;
    struct net *net = net_town(3, 52);
    net_follow(net, 1, "u0");
    net_post(net, 0, "one");
    net_run(net, 500);
    for (int i = 0; i < 3; i++)
        net_kill(net, i);
    net_start_at(net, 1, 0, -1);
    net_login(net, 1);
    struct said *s = net_who(net, 1, TL_PROFILE, "u0");
    assert_int_equal(s->status, 0);
    assert_int_equal(s->rows[0].complete_to, 1);
    assert_memory_equal(s->rows[0].user.pk, net->nodes[0].identity->pk, KEY_SIZE);
    assert_int_equal(net_who(net, 1, TL_PROFILE, tagged(net, 0, "u0"))->status, 0);
    assert_int_equal(net_who(net, 1, TL_FOLLOW, "u0")->status, 0);
    assert_int_equal(net_who(net, 1, TL_FOLLOW, "u2")->status, CAM_ENET);
    assert_int_equal(net_who(net, 1, TL_FOLLOWERS, "u0")->status, 0);
    assert_int_equal(net_who(net, 1, TL_UNFOLLOW, "u0")->status, 0);
    net_free(net);
}

/* Puts a claim of a name under another key, as a node that did not ask would. */
static void claim(struct net *net, int i, const char *name)
{
    struct net_node *n = &net->nodes[i];
    uint8_t root[KAD_ID_SIZE], value[64];
    struct bytes_out out = bytes_out(value, sizeof value);
    int64_t now_s = (int64_t)(net->now.wall_ms / 1000);
    record_name_root(name, root);
    record_put_claim(&out, &(struct record_claim){ .created_s = 1, .expires_s = now_s + RECORD_LIFE_LONG_S });
    struct kad_entry e = { .seq = now_s, .v = span(value, out.size) };
    assert_int_equal(kad_entry_sign(&e, root, n->identity), 0);
    assert_int_equal(kad_set_put(n->kad, net->now, root, &e, TIMELINE_TAG_FOREIGN | 1), 0);
    net_turn(net, i);
    net_run(net, 1000);
}

/* A name that two claim is never picked silently; with the tag it is; who was first known stays pinned. */
static void test_two_claim(void **state)
{
    (void)state;
    struct net *net = net_town(5, 53);
    net_follow(net, 1, "u0");
    net_run(net, 60000); /* the first claim is older */
    claim(net, 2, "u0");
    struct said *s = net_follow(net, 3, "u0");
    assert_int_equal(s->status, CAM_EAMBIG);
    assert_int_equal(s->n, 2);
    assert_int_equal(s->rows[0].kind, TL_ROW_USER);
    assert_memory_equal(s->rows[0].user.pk, net->nodes[0].identity->pk, KEY_SIZE); /* the oldest first */
    assert_int_equal(net_who(net, 3, TL_FOLLOWING, "")->n, 0);
    s = net_follow(net, 3, tagged(net, 0, "u0"));
    assert_int_equal(s->status, 0);
    assert_memory_equal(s->rows[0].user.pk, net->nodes[0].identity->pk, KEY_SIZE);
    s = net_who(net, 1, TL_PROFILE, "u0"); /* pinned: not asked again */
    assert_int_equal(s->status, 0);
    assert_memory_equal(s->rows[0].user.pk, net->nodes[0].identity->pk, KEY_SIZE);

    s = net_command(net, 4, (struct timeline_command){ .verb = TL_NAME_CHECK, .name = "u0" });
    assert_int_equal(s->status, CAM_ETAKEN);
    assert_non_null(strstr(s->message, tagged(net, 0, "u0")));
    net_free(net);
}

/* Registered without a network under a name that somebody had: told, not forced. */
static void test_taken_later(void **state)
{
    (void)state;
    struct net *net = net_new(3, 54);
    net_start_at(net, 0, 0, -1);
    net_start_at(net, 1, 0, 0);
    net_run(net, 2000);
    net_register(net, 0, "ana");
    net_start_at(net, 2, 0, -1);
    assert_int_equal(net_register(net, 2, "ana")->status, CAM_EPENDING);
    kad_join(net->nodes[2].kad, net->now, &net->nodes[0].dest.addr);
    net_run(net, 5000);
    struct said *s = net_command(net, 2, (struct timeline_command){ .verb = TL_WHOAMI });
    assert_int_equal(s->status, 0);
    assert_true(s->rows[0].name_pending);
    assert_non_null(strstr(s->message, tagged(net, 0, "ana")));
    s = net_who(net, 1, TL_PROFILE, "ana"); /* still one */
    assert_int_equal(s->status, 0);
    assert_memory_equal(s->rows[0].user.pk, net->nodes[0].identity->pk, KEY_SIZE);
    net_free(net);
}

/* Another key that calls itself as somebody pinned is called out beside its posts. */
static void test_key_changed(void **state)
{
    (void)state;
    struct net *net = net_new(4, 55);
    for (int i = 0; i < 2; i++)
        net_start(net, i, 0);
    net_run(net, 2000);
    net_register(net, 0, "ana");
    net_register(net, 1, "bob");
    net_follow(net, 1, "ana");
    net_post(net, 0, "real");
    /* A second ana, registered in a network of its own, then joined. */
    net_start_at(net, 2, 0, -1);
    net_register(net, 2, "ana");
    kad_join(net->nodes[2].kad, net->now, &net->nodes[0].dest.addr);
    net_run(net, 5000);
    net_follow(net, 1, id_of(net, 2));
    net_post(net, 2, "false");
    net_run(net, 2000);
    struct said *s = net_read(net, 1, 10);
    assert_int_equal(s->n, 2);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(s->rows[i].key_changed, strcmp(s->texts[i], "false") == 0);
    net_free(net);
}

/* A profile of somebody: counts from the network, part of it from memory when there is none. */
static void test_profile(void **state)
{
    (void)state;
    struct net *net = net_town(4, 56);
    net_follow(net, 1, "u0");
    net_follow(net, 2, "u0");
    net_follow(net, 0, "u3");
    net_post(net, 0, "one");
    net_post(net, 0, "two");
    net_run(net, 5000);
    struct said *s = net_who(net, 3, TL_PROFILE, "u0");
    assert_int_equal(s->status, 0);
    assert_int_equal(s->rows[0].posts, 2);
    assert_int_equal(s->rows[0].followers, 2);
    assert_int_equal(s->rows[0].following_count, 1);
    s = net_who(net, 1, TL_PROFILE, "u0");
    assert_int_equal(s->rows[0].complete_to, 2);
    assert_int_equal(s->rows[0].gaps, 0);
    s = net_who(net, 0, TL_PROFILE, "");
    assert_int_equal(s->rows[0].posts, 2);
    assert_int_equal(s->rows[0].followers, 2);
    assert_int_equal(s->rows[0].following_count, 1);
    for (int i = 0; i < 3; i++)
        net_kill(net, i);
    net_run(net, 60000);
    s = net_who(net, 3, TL_PROFILE, "u0");
    assert_int_equal(s->status, 0);
    net_free(net);
}

/* Suggestions: those whom the people I follow follow, with the reason. */
static void test_suggestions(void **state)
{
    (void)state;
    struct net *net = net_town(6, 57);
    assert_int_equal(net_command(net, 0, (struct timeline_command){ .verb = TL_SUGGEST })->n, 0);
    net_follow(net, 1, "u3");
    net_follow(net, 2, "u3");
    net_follow(net, 2, "u4");
    net_follow(net, 0, "u1");
    net_follow(net, 0, "u2");
    net_run(net, 10000);
    struct said *s = net_command(net, 0, (struct timeline_command){ .verb = TL_SUGGEST });
    assert_int_equal(s->n, 2);
    assert_string_equal(s->rows[0].user.name, "u3");
    assert_non_null(strstr(s->rows[0].reason, "u1"));
    assert_non_null(strstr(s->rows[0].reason, "u2"));
    bool has_u4 = false;
    for (size_t i = 0; i < s->n; i++) {
        has_u4 |= strcmp(s->rows[i].user.name, "u4") == 0;
        assert_string_not_equal(s->rows[i].user.name, "u1");
        assert_string_not_equal(s->rows[i].user.name, "u0");
    }
    assert_true(has_u4);
    for (int i = 0; i < 6; i++)
        net_kill(net, i);
    net_start_at(net, 0, 0, -1); /* from what is cached */
    s = net_command(net, 0, (struct timeline_command){ .verb = TL_SUGGEST });
    assert_string_equal(s->rows[0].user.name, "u3");
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who),         cmocka_unit_test(test_pinned),
        cmocka_unit_test(test_two_claim),   cmocka_unit_test(test_taken_later),
        cmocka_unit_test(test_key_changed), cmocka_unit_test(test_profile),
        cmocka_unit_test(test_suggestions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
