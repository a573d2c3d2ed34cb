#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/bencode.h"
#include "core/err.h"
#include "tests/unit/vectors.h"
#include "timeline/record.h"

#define T0 INT64_C(1700000000)

static uint8_t buf[KAD_VALUE_MAX];
static struct bytes_out out;

static struct addr local(void)
{
    struct addr a;
    assert_int_equal(addr_parse("127.0.0.1:8000", &a), 0);
    return a;
}

static void begin(void) { out = bytes_out(buf, sizeof buf); }

/* Every value as docs/protocol.md has it, byte for byte. */
static void test_vectors(void **state)
{
    (void)state;
    uint8_t key[LINK_KEY_SIZE], keys[2 * KEY_SIZE];
    memset(key, 't', sizeof key);
    memset(keys, 0x11, KEY_SIZE);
    memset(keys + KEY_SIZE, 0x22, KEY_SIZE);

    struct record_profile p = { .name = "ana",
                                .bio = span_str("hello"),
                                .n_devices = 1,
                                .followers = 3,
                                .following = 2,
                                .pages = 1,
                                .posts = 5,
                                .expires_s = T0 + RECORD_LIFE_LONG_S };
    begin();
    record_put_profile(&out, &p);
    assert_true(vector_matches("record-profile", buf, out.size));

    struct record_connection c = { .addr = local(),
                                   .reachable = true,
                                   .expires_s = T0 + RECORD_LIFE_CONNECTION_S };
    memcpy(c.transport_key, key, sizeof key);
    begin();
    record_put_connection(&out, &c);
    assert_true(vector_matches("record-connection", buf, out.size));

    struct record_head h = { .seq = 5, .id = 77, .at_ms = (uint64_t)T0 * 1000, .instance = 9,
                             .expires_s = T0 + RECORD_LIFE_LONG_S };
    memset(h.hash, 0x33, sizeof h.hash);
    begin();
    record_put_head(&out, &h);
    assert_true(vector_matches("record-head", buf, out.size));

    begin();
    record_put_following(
        &out, &(struct record_following){ .keys = keys, .n = 2, .expires_s = T0 + RECORD_LIFE_LONG_S });
    assert_true(vector_matches("record-following", buf, out.size));

    struct record_follow f = { .name = "ana", .n_hints = 1, .expires_s = T0 + RECORD_LIFE_FOLLOW_S };
    f.hints[0].addr = local();
    memcpy(f.hints[0].transport_key, key, sizeof key);
    begin();
    record_put_follow(&out, &f);
    assert_true(vector_matches("record-follow", buf, out.size));
    begin();
    record_put_follow(&out,
                      &(struct record_follow){ .deleted = true, .expires_s = T0 + RECORD_LIFE_FOLLOW_S });
    assert_true(vector_matches("record-unfollow", buf, out.size));

    begin();
    record_put_claim(&out, &(struct record_claim){ .created_s = T0, .expires_s = T0 + RECORD_LIFE_LONG_S });
    assert_true(vector_matches("record-claim", buf, out.size));
}

/* The decoders of all kinds, of which at most one may take a value. */
static int decode_any(struct span v)
{
    struct record_profile p;
    struct record_connection c;
    struct record_head h;
    struct record_following fg;
    struct record_follow f;
    struct record_claim cl;
    return (record_get_profile(v, &p) == 0) + (record_get_connection(v, &c) == 0) +
           (record_get_head(v, &h) == 0) + (record_get_following(v, &fg) == 0) +
           (record_get_follow(v, &f) == 0) + (record_get_claim(v, &cl) == 0);
}

/* Cut short anywhere it is nothing; with a byte changed it may be another value, never a crash. */
static void test_damaged(void **state)
{
    (void)state;
    static const char *const names[] = { "record-profile",   "record-connection", "record-head",
                                         "record-following", "record-follow",     "record-unfollow",
                                         "record-claim" };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        uint8_t v[KAD_VALUE_MAX], changed[KAD_VALUE_MAX];
        size_t size = vector_read(names[k], v, sizeof v);
        assert_true(size > 0);
        assert_int_equal(decode_any(span(v, size)), 1);
        for (size_t cut = 0; cut < size; cut++)
            assert_int_equal(decode_any(span(v, cut)), 0);
        for (size_t at = 0; at < size; at++)
            for (int bit = 0; bit < 8; bit++) {
                memcpy(changed, v, size);
                changed[at] ^= (uint8_t)(1 << bit);
                assert_true(decode_any(span(changed, size)) <= 1);
            }
    }
}

static int get_follow(const char *text)
{
    struct record_follow f;
    return record_get_follow(span_str(text), &f);
}

/* What a stranger might write to confuse. */
static void test_hostile(void **state)
{
    (void)state;
    struct record_profile p;
    struct record_claim cl;
    struct record_following fg;
    assert_int_equal(record_get_claim(span_str("d7:createdi1e3:expi2ee"), &cl), 0);
    assert_int_equal(record_get_claim(span_str("d7:createdi-1e3:expi2ee"), &cl), CAM_EFORMAT);
    assert_int_equal(record_get_claim(span_str("d7:created1:13:expi2ee"), &cl), CAM_EFORMAT);
    assert_int_equal(record_get_claim(span_str("d7:createdi1e3:expi2e4:morei1ee"), &cl), 0); /* it may grow */
    assert_int_equal(record_get_claim(span_str("le"), &cl), CAM_EFORMAT);
    assert_int_equal(get_follow("d3:deli1e3:expi2ee"), 0);
    assert_int_equal(get_follow("d3:deli2e3:expi2ee"), CAM_EFORMAT);
    assert_int_equal(get_follow("d7:devicesle3:expi2e4:name3:anae"), 0);
    assert_int_equal(get_follow("d7:devicesle3:expi2e4:name3:Anae"), CAM_EFORMAT);
    assert_int_equal(get_follow("d7:devicesle3:expi2e4:name0:e"), CAM_EFORMAT);
    assert_int_equal(get_follow("d7:deviceslli0eee3:expi2e4:name3:anae"), CAM_EFORMAT);
    assert_int_equal(record_get_following(span_str("d3:expi2e4:keys0:e"), &fg), 0);
    assert_int_equal(record_get_following(span_str("d3:expi2e4:keys5:abcdee"), &fg), CAM_EFORMAT);

    /* A bio that is too long, a device that cannot be, too many of them, a name with an escape. */
    struct record_profile good = { .name = "ana", .expires_s = 9 };
    static char bio[RECORD_BIO_MAX + 1];
    memset(bio, 'b', sizeof bio);
    good.bio = span(bio, sizeof bio);
    begin();
    record_put_profile(&out, &good);
    assert_int_equal(record_get_profile(span(buf, out.size), &p), CAM_EFORMAT);
    good.bio.size--;
    begin();
    record_put_profile(&out, &good);
    assert_int_equal(record_get_profile(span(buf, out.size), &p), 0);
    good.devices[0] = 1024;
    good.n_devices = 1;
    begin();
    record_put_profile(&out, &good);
    assert_int_equal(record_get_profile(span(buf, out.size), &p), CAM_EFORMAT);
    good.n_devices = 0;
    strcpy(good.name, "a\x1b[m");
    begin();
    record_put_profile(&out, &good);
    assert_int_equal(record_get_profile(span(buf, out.size), &p), CAM_EFORMAT);

    /* Four hints; one with an address nobody may be sent to. */
    struct record_follow f = { .name = "ana", .n_hints = 1, .expires_s = 9 };
    f.hints[0].addr = local();
    f.hints[0].addr.port = 0;
    begin();
    record_put_follow(&out, &f);
    assert_int_equal(record_get_follow(span(buf, out.size), &f), CAM_EFORMAT);
    begin();
    ben_put_dict(&out);
    ben_put_key(&out, "devices");
    ben_put_list(&out);
    for (int i = 0; i < RECORD_HINTS_MAX + 1; i++) {
        uint8_t compact[ADDR_COMPACT_MAX], key[LINK_KEY_SIZE] = { 1 };
        struct addr a = local();
        ben_put_list(&out);
        ben_put_int(&out, i);
        ben_put_str(&out, compact, addr_compact(&a, compact));
        ben_put_str(&out, key, sizeof key);
        ben_put_end(&out);
    }
    ben_put_end(&out);
    ben_put_key(&out, "exp");
    ben_put_int(&out, 9);
    ben_put_key(&out, "name");
    ben_put_text(&out, "ana");
    ben_put_end(&out);
    assert_int_equal(record_get_follow(span(buf, out.size), &f), CAM_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_vectors), cmocka_unit_test(test_damaged),
                                        cmocka_unit_test(test_hostile) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
