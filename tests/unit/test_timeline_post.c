/* Posts: the header's bytes and bounds, signatures over every bit, bodies, what is shown, when it expires;
 * and the vectors of docs/protocol.md. */
#include "timeline/post.h"
#include "core/err.h"
#include "core/now.h"
#include "core/text.h"
#include "tests/unit/made_posts.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct identity *ana;

static int setup(void **state)
{
    (void)state;
    ana = made_author(1);
    return ana ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    identity_free(ana);
    return 0;
}

static struct made_post second_post(void)
{
    struct made_post first = { .h.kind = 0 },
                     second = { .h = { .kind = POST_KIND_REPLY, .device = 3, .lifespan_s = 7 } };
    first.h.device = 3;
    made_sign(&first, ana, NULL, MADE_T0, &(struct post_body){ .text = span_str("one") });
    made_sign(&second, ana, &first, MADE_T0 + 1,
              &(struct post_body){ .text = span_str("two"), .has_target = true, .target_id = 9 });
    return second;
}

static void test_layout(void **state)
{
    (void)state;
    struct made_post p = second_post();
    const uint8_t *b = p.header;
    assert_int_equal(b[0], 1);
    assert_int_equal(b[1], POST_KIND_REPLY);
    assert_int_equal(be16(b + 2), 3);
    assert_int_equal(be32(b + 4), 7);
    assert_true(be64(b + 8) == p.h.id);
    assert_true(be64(b + 16) == 2);
    assert_memory_equal(b + 24, ana->pk, KEY_SIZE);
    assert_memory_equal(b + 56, p.h.prev, HASH_SIZE);
    uint8_t hash[HASH_SIZE];
    hash_blake2b(hash, p.body, p.body_size);
    assert_memory_equal(b + 88, hash, HASH_SIZE);
    assert_int_equal(be16(b + 120), p.body_size);
    assert_int_equal(be16(b + 122), 0);
    assert_memory_equal(b + 124, p.h.sig, SIG_SIZE);
    /* The signature is over the prefix and the first 124 bytes, nothing else. */
    uint8_t msg[16 + 124];
    memcpy(msg, "camellia post v1", 16);
    memcpy(msg + 16, b, 124);
    assert_int_equal(identity_verify(ana->pk, msg, sizeof msg, b + 124), 0);
    hash_blake2b(hash, b, 188);
    assert_memory_equal(hash, p.hash, HASH_SIZE);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct made_post p = second_post();
    struct post_header h;
    uint8_t again[POST_HEADER_SIZE];
    assert_int_equal(post_header_decode(span(p.header, sizeof p.header), &h), 0);
    post_header_encode(&h, again);
    assert_memory_equal(again, p.header, sizeof again);
    assert_int_equal(post_header_verify(p.header), 0);
    assert_true(post_time_ms(&h) == MADE_T0 + 1);
    for (size_t size = 0; size < POST_HEADER_SIZE; size++) /* exactly 188 */
        assert_int_equal(post_header_decode(span(p.header, size), &h), CAM_EFORMAT);
    uint8_t longer[POST_HEADER_SIZE + 1] = { 0 };
    memcpy(longer, p.header, POST_HEADER_SIZE);
    assert_int_equal(post_header_decode(span(longer, sizeof longer), &h), CAM_EFORMAT);
}

/* One bit anywhere: either no header at all, or a signature that does not verify. And the body's bits. */
static void test_every_bit_is_signed(void **state)
{
    (void)state;
    struct made_post p = second_post();
    for (size_t bit = 0; bit < POST_HEADER_SIZE * 8; bit++) {
        uint8_t bent[POST_HEADER_SIZE];
        struct post_header h;
        memcpy(bent, p.header, sizeof bent);
        bent[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (post_header_decode(span(bent, sizeof bent), &h) == 0)
            assert_int_equal(post_header_verify(bent), CAM_EAUTH);
    }
    assert_int_equal(post_body_check(&p.h, span(p.body, p.body_size)), 0);
    assert_int_equal(post_body_check(&p.h, span(p.body, p.body_size - 1)), CAM_EAUTH);
    for (size_t bit = 0; bit < p.body_size * 8; bit++) {
        p.body[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(post_body_check(&p.h, span(p.body, p.body_size)), CAM_EAUTH);
        p.body[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static int decode_with(size_t offset, const void *bytes, size_t size)
{
    struct made_post p = second_post();
    struct post_header h;
    memcpy(p.header + offset, bytes, size);
    return post_header_decode(span(p.header, sizeof p.header), &h);
}

static void test_bounds(void **state)
{
    (void)state;
    static const uint8_t zero[32];
    uint8_t eight[8];
    assert_int_equal(decode_with(0, "\0", 1), CAM_EFORMAT); /* version */
    assert_int_equal(decode_with(0, "\2", 1), CAM_EFORMAT);
    assert_int_equal(decode_with(1, "\xff", 1), 0); /* a kind not known is kept */
    assert_int_equal(decode_with(2, "\4\0", 2), CAM_EFORMAT); /* device 1024 */
    assert_int_equal(decode_with(2, "\0\4", 2), CAM_EFORMAT); /* not the id's device */
    assert_int_equal(decode_with(8, zero, 8), CAM_EFORMAT);
    put_be64(eight, UINT64_C(1) << 63 | 3 << 12);
    assert_int_equal(decode_with(8, eight, 8), CAM_EFORMAT); /* the id's top bit */
    assert_int_equal(decode_with(16, zero, 8), CAM_EFORMAT); /* seq 0 */
    put_be64(eight, POST_SEQ_MAX);
    assert_int_equal(decode_with(16, eight, 8), 0);
    put_be64(eight, POST_SEQ_MAX + 1);
    assert_int_equal(decode_with(16, eight, 8), CAM_EFORMAT);
    put_be64(eight, 1);
    assert_int_equal(decode_with(16, eight, 8), CAM_EFORMAT); /* seq 1 with a previous hash */
    assert_int_equal(decode_with(56, zero, 32), CAM_EFORMAT); /* seq 2 without one */
    assert_int_equal(decode_with(120, "\0\0", 2), CAM_EFORMAT);
    assert_int_equal(decode_with(120, "\x10\0", 2), 0); /* 4096 */
    assert_int_equal(decode_with(120, "\x10\1", 2), CAM_EFORMAT);
    assert_int_equal(decode_with(122, "\0\1", 2), CAM_EFORMAT);
}

static void test_body(void **state)
{
    (void)state;
    struct made_post p = second_post();
    struct post_body b;
    assert_int_equal(post_body_decode(span(p.body, p.body_size), &b), 0);
    assert_true(span_equal(b.text, span_str("two")) && b.has_target && b.target_id == 9);
    for (size_t size = 0; size < p.body_size; size++)
        assert_int_equal(post_body_decode(span(p.body, size), &b), CAM_EFORMAT);
    static const struct {
        const char *bytes;
        int err;
    } cases[] = {
        { "de", 0 },
        { "d1:t0:e", 0 },
        { "d1:t2:hi1:xi5ee", 0 },
        { "d1:ai1e1:t2:hie", 0 },
        { "le", CAM_EFORMAT },
        { "d1:ti5ee", CAM_EFORMAT },
        { "d2:re3:abce", CAM_EFORMAT },
        { "d2:re40:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaae", 0 },
        { "d1:t2:hie ", CAM_EFORMAT },
        { "", CAM_EFORMAT },
        { "d2:re40:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xff"
          "aaaaaaae",
          CAM_EFORMAT }, /* an id over 63 bits */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(post_body_decode(span_str(cases[i].bytes), &b), cases[i].err);
    /* The longest text that text_check_post lets in fits a body, with a target. */
    static char text[TEXT_POST_MAX];
    memset(text, 'a', sizeof text);
    uint8_t buf[POST_BODY_MAX];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    post_body_encode(
        &out, &(struct post_body){ .text = span(text, sizeof text), .has_target = true, .target_id = 1 });
    assert_int_equal(out.err, 0);
    assert_int_equal(post_body_decode(span(buf, out.size), &b), 0);
    assert_int_equal(b.text.size, TEXT_POST_MAX);
}

static void test_kinds_and_shown(void **state)
{
    (void)state;
    static const struct { uint8_t kind; const char *body; bool shown; } cases[] = {
        { POST_KIND_POST, "d1:t2:hie", true },
        { POST_KIND_POST, "de", false },                 /* no text */
        { POST_KIND_POST, "d1:t2:\xff\xff" "e", false },    /* no UTF-8 */
        { POST_KIND_POST, "d1:t1:\033e", false },        /* a control character */
        { POST_KIND_POST, "nonsense", false },
        { POST_KIND_REPLY, "d1:t2:hie", false },         /* to nothing */
        { POST_KIND_REPLY, "d2:re40:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1:t2:hie", true },
        { POST_KIND_BOOST, "d2:re40:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaae", true },
        { POST_KIND_DELETE, "d2:re40:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaae", false },
        { POST_KIND_EDIT, "d2:re40:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1:t2:hie", false },
        { 200, "d1:t2:hie", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct post_header h = { .kind = cases[i].kind };
        assert_int_equal(post_is_shown(&h, span_str(cases[i].body)), cases[i].shown);
    }
    for (int kind = POST_KIND_POST; kind <= POST_KIND_EDIT; kind++) {
        const struct post_kind *k = post_kind_find((uint8_t)kind);
        assert_non_null(k);
        assert_int_equal(k->kind, kind);
        assert_true(strlen(k->word) > 3);
    }
    assert_null(post_kind_find(5));
}

static void test_expiry(void **state)
{
    (void)state;
    struct post_header h = { .kind = POST_KIND_POST, .id = made_id(MADE_T0) };
    assert_true(post_expires_ms(&h, 0) == NOW_NEVER);
    assert_true(post_expires_ms(&h, 5) == MADE_T0 + 5000);
    h.lifespan_s = 3;
    assert_true(post_expires_ms(&h, 0) == MADE_T0 + 3000);
    assert_true(post_expires_ms(&h, 5) == MADE_T0 + 3000);
    assert_true(post_expires_ms(&h, 2) == MADE_T0 + 2000);
    h.lifespan_s = UINT32_MAX;
    assert_true(post_expires_ms(&h, 0) == MADE_T0 + UINT64_C(4294967295000));
    h.kind = POST_KIND_DELETE; /* what it undid must not come back */
    assert_true(post_expires_ms(&h, 2) == NOW_NEVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_bit_is_signed),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_body),
        cmocka_unit_test(test_kinds_and_shown),
        cmocka_unit_test(test_expiry),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
