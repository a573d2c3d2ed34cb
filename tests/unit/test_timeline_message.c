/* Link messages: every kind there and back, cut at every length, out of bounds in every field, bent at
 * random; lists filled to the brim; and the vectors of the protocol document. */
#include "timeline/message.h"
#include "core/err.h"
#include "core/rng.h"
#include "tests/unit/made_posts.h"
#include "tests/unit/vectors.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct identity *ana, *bob;
static struct made_post *posts; /* three by ana, the last one with a delete of the second behind it */
static struct made_post undo;
static uint8_t buf[LINK_MESSAGE_MAX + 64];

static int setup(void **state)
{
    (void)state;
    ana = made_author(1);
    bob = made_author(2);
    posts = made_chain(ana, 3);
    struct post_body body = { .has_target = true, .target_id = posts[1].h.id };
    memcpy(body.target_author, ana->pk, KEY_SIZE);
    undo.h.kind = POST_KIND_DELETE;
    made_sign(&undo, ana, &posts[2], MADE_T0 + 3000, &body);
    return ana && bob && posts ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(posts);
    identity_free(ana);
    identity_free(bob);
    return 0;
}

static struct span header_of(const struct made_post *p) { return span(p->header, POST_HEADER_SIZE); }
static struct span body_of(const struct made_post *p) { return span(p->body, p->body_size); }

static struct span encode(const struct message *m)
{
    struct bytes_out out = bytes_out(buf, sizeof buf);
    message_encode(&out, m);
    assert_int_equal(out.err, 0);
    return span(buf, out.size);
}

/* ---- one example of each kind */

static const char record_v[] = "d4:addr6:\x7f\0\0\1\x1f\x40"
                               "3:expi1700007200e4:tkey32:tttttttttttttttttttttttttttttttte";
static const char entry_v[] = "d3:expi1702592000e1:n3:bobe";

static struct message hello(void)
{
    struct message m = { .kind = MESSAGE_HELLO };
    m.hello.record = (struct kad_item){ .is_mutable = true,
                                        .salt = span_str("connections/0"),
                                        .seq = 1700000000,
                                        .v = span(record_v, sizeof record_v - 1) };
    memcpy(m.hello.record.pk, ana->pk, KEY_SIZE);
    memset(m.hello.record.sig, 0x5a, SIG_SIZE); /* a message codec does not look at it */
    return m;
}

static struct message follow(void)
{
    struct message m = { .kind = MESSAGE_FOLLOW };
    m.follow.entry = (struct kad_entry){ .seq = 1700000001, .v = span_str(entry_v) };
    memcpy(m.follow.entry.pk, bob->pk, KEY_SIZE);
    memset(m.follow.entry.sig, 0xa5, SIG_SIZE);
    return m;
}

static struct message post(void)
{
    return (struct message){ .kind = MESSAGE_POST,
                             .post = { .header = header_of(&posts[0]),
                                       .body = body_of(&posts[0]),
                                       .range = { .depth = 2, .prefix = 0xa3000000 } } };
}

static struct message ack(void)
{
    struct message m = { .kind = MESSAGE_ACK, .ack = { .from = 2, .seq = 3, .stored_below = 16,
                                                       .range = { .depth = 1, .prefix = 0xf0000000 } } };
    memcpy(m.ack.author, ana->pk, KEY_SIZE);
    memcpy(m.ack.hash, posts[2].hash, HASH_SIZE);
    return m;
}

static struct message want(void)
{
    struct message m = { .kind = MESSAGE_WANT, .want = { .from = 1, .to = 3, .bytes_max = 1 << 20 } };
    memcpy(m.want.author, ana->pk, KEY_SIZE);
    return m;
}

/* HAVE of ana's feed, and of one of bob's of which nothing is known; as its own writer makes it. */
static struct span have(void)
{
    struct message_have_writer w;
    struct bytes_out out = bytes_out(buf, sizeof buf);
    struct message_feed known = { .header = header_of(&posts[2]), .floor_seq = 1 }, unknown = { .device = 5 };
    memcpy(known.author, ana->pk, KEY_SIZE);
    memcpy(unknown.author, bob->pk, KEY_SIZE);
    message_have_begin(&w, &out, true);
    assert_int_equal(message_have_add(&w, &known), 0);
    assert_int_equal(message_have_add(&w, &unknown), 0);
    message_have_end(&w);
    assert_int_equal(out.err, 0);
    return span(buf, out.size);
}

static struct span batch(void)
{
    struct message_batch_writer w;
    struct bytes_out out = bytes_out(buf, sizeof buf);
    message_batch_begin(&w, &out, ana->pk, 0, 0, MESSAGE_BATCH_BYTES);
    assert_int_equal(message_batch_add(&w, header_of(&posts[2]), body_of(&posts[2]), POST_HELD), 0);
    assert_int_equal(message_batch_add_deleted(&w, header_of(&posts[1]), header_of(&undo), body_of(&undo)),
                     0);
    assert_int_equal(message_batch_add(&w, header_of(&posts[0]), body_of(&posts[0]), POST_EXPIRED), 0);
    message_batch_end(&w, 7);
    assert_int_equal(out.err, 0);
    return span(buf, out.size);
}

static struct span example(int kind)
{
    struct message m;
    switch (kind) {
    case MESSAGE_HELLO: m = hello(); return encode(&m);
    case MESSAGE_FOLLOW: m = follow(); return encode(&m);
    case MESSAGE_POST: m = post(); return encode(&m);
    case MESSAGE_ACK: m = ack(); return encode(&m);
    case MESSAGE_WANT: m = want(); return encode(&m);
    case MESSAGE_HAVE: return have();
    default: return batch();
    }
}

/* ---- there and back */

static void test_vectors(void **state)
{
    (void)state;
    bool good = vector_matches("post-header", posts[1].header, POST_HEADER_SIZE);
    good &= vector_matches("post-body", posts[1].body, posts[1].body_size);
    good &= vector_matches("post-hash", posts[1].hash, HASH_SIZE);
    good &= vector_matches("delete-body", undo.body, undo.body_size);
    for (int kind = MESSAGE_NONE + 1; kind < MESSAGE_KINDS; kind++) {
        struct span bytes = example(kind);
        char name[32];
        snprintf(name, sizeof name, "message-%s", message_word((enum message_kind)kind));
        good &= vector_matches(name, bytes.data, bytes.size);
    }
    assert_true(good);
}

static void test_table(void **state)
{
    (void)state;
    assert_null(message_word(MESSAGE_NONE));
    assert_null(message_word(MESSAGE_KINDS));
    for (int kind = MESSAGE_NONE + 1; kind < MESSAGE_KINDS; kind++) {
        assert_non_null(message_word((enum message_kind)kind));
        for (int other = MESSAGE_NONE + 1; other < kind; other++)
            assert_string_not_equal(message_word((enum message_kind)kind),
                                    message_word((enum message_kind)other));
    }
}

static void test_encode_decode_is_the_same(void **state)
{
    (void)state;
    for (int kind = MESSAGE_NONE + 1; kind < MESSAGE_KINDS; kind++) {
        struct span bytes = example(kind);
        uint8_t copy[8192], again[8192];
        struct message m;
        memcpy(copy, bytes.data, bytes.size);
        assert_int_equal(message_decode(span(copy, bytes.size), &m), 0);
        assert_int_equal(m.kind, kind);
        struct bytes_out out = bytes_out(again, sizeof again);
        message_encode(&out, &m);
        assert_int_equal(out.err, 0);
        assert_int_equal(out.size, bytes.size);
        assert_memory_equal(again, copy, bytes.size);
        for (size_t cap = 0; cap < bytes.size;
             cap++) { /* an output too small is an error, never an overrun */
            out = bytes_out(again, cap);
            message_encode(&out, &m);
            assert_int_equal(out.err, CAM_ENOSPC);
        }
    }
}

static void test_fields(void **state)
{
    (void)state;
    struct message m, in;
    in = hello();
    assert_int_equal(message_decode(encode(&in), &m), 0);
    assert_true(m.hello.record.is_mutable && m.hello.record.seq == 1700000000);
    assert_true(span_equal(m.hello.record.salt, span_str("connections/0")));
    assert_memory_equal(m.hello.record.pk, ana->pk, KEY_SIZE);
    assert_memory_equal(m.hello.record.sig, in.hello.record.sig, SIG_SIZE);
    assert_true(span_equal(m.hello.record.v, in.hello.record.v) && !m.hello.ask);
    in.hello.ask = true;
    assert_int_equal(message_decode(encode(&in), &m), 0);
    assert_true(m.hello.ask && span_equal(m.hello.record.v, in.hello.record.v));
    in = follow();
    assert_int_equal(message_decode(encode(&in), &m), 0);
    assert_true(m.follow.entry.seq == 1700000001 && span_equal(m.follow.entry.v, span_str(entry_v)));
    assert_memory_equal(m.follow.entry.pk, bob->pk, KEY_SIZE);
    in = post();
    assert_int_equal(message_decode(encode(&in), &m), 0);
    assert_true(span_equal(m.post.header, header_of(&posts[0])) &&
                span_equal(m.post.body, body_of(&posts[0])));
    assert_true(message_range_equal(m.post.range, in.post.range));
    in = ack();
    assert_int_equal(message_decode(encode(&in), &m), 0);
    assert_true(m.ack.from == 2 && m.ack.seq == 3 && m.ack.stored_below == 16 && m.ack.device == 0);
    assert_true(message_range_equal(m.ack.range, in.ack.range));
    assert_memory_equal(m.ack.hash, posts[2].hash, HASH_SIZE);
    in = want();
    assert_int_equal(message_decode(encode(&in), &m), 0);
    assert_true(m.want.from == 1 && m.want.to == 3 && m.want.bytes_max == 1 << 20);

    struct message_feed feed;
    assert_int_equal(message_decode(have(), &m), 0);
    assert_true(m.have.ask && m.have.n_feeds == 2);
    struct ben_iter it = message_feeds(&m.have);
    assert_true(message_feed_next(&it, &feed));
    assert_true(span_equal(feed.header, header_of(&posts[2])) && feed.floor_seq == 1 && feed.device == 0);
    assert_true(message_feed_next(&it, &feed));
    assert_true(feed.header.size == 0 && feed.device == 5 && memcmp(feed.author, bob->pk, KEY_SIZE) == 0);
    assert_false(message_feed_next(&it, &feed));

    struct message_item item;
    assert_int_equal(message_decode(batch(), &m), 0);
    assert_true(m.batch.n_posts == 3 && m.batch.next_seq == 7 && m.batch.floor_seq == 0);
    it = message_items(&m.batch);
    assert_true(message_item_next(&it, &item));
    assert_true(item.state == POST_HELD && span_equal(item.body, body_of(&posts[2])));
    assert_true(message_item_next(&it, &item));
    assert_true(item.state == POST_DELETED && item.body.size == 0 &&
                span_equal(item.proof_header, header_of(&undo)));
    assert_true(span_equal(item.proof_body, body_of(&undo)));
    assert_true(message_item_next(&it, &item));
    assert_true(item.state == POST_EXPIRED && item.body.size == 0 && item.proof_header.size == 0);
    assert_false(message_item_next(&it, &item));
    assert_int_equal(m.batch.head.size, 0);

    struct message_batch_writer w;
    struct bytes_out out = bytes_out(buf, sizeof buf);
    message_batch_begin_below(&w, &out, ana->pk, 0, 0, header_of(&posts[2]), MESSAGE_BATCH_BYTES);
    message_batch_add(&w, header_of(&posts[1]), body_of(&posts[1]), POST_HELD);
    message_batch_end(&w, 0);
    assert_int_equal(message_decode(span(out.buf, out.size), &m), 0);
    assert_true(m.batch.n_posts == 1 && span_equal(m.batch.head, header_of(&posts[2])));
    in = m;
    uint8_t again[2048];
    out = bytes_out(again, sizeof again);
    message_encode(&out, &in);
    assert_int_equal(message_decode(span(out.buf, out.size), &m), 0);
    assert_true(m.batch.n_posts == 1 && span_equal(m.batch.head, header_of(&posts[2])));
}

static void test_cut_at_every_length(void **state)
{
    (void)state;
    for (int kind = MESSAGE_NONE + 1; kind < MESSAGE_KINDS; kind++) {
        struct span bytes = example(kind);
        struct message m;
        for (size_t size = 0; size < bytes.size; size++) {
            uint8_t *exact = malloc(size ? size : 1); /* so that reading past the end is seen */
            memcpy(exact, bytes.data, size);
            assert_int_equal(message_decode(span(exact, size), &m), CAM_EFORMAT);
            free(exact);
        }
        buf[bytes.size] = 'e';
        assert_int_equal(message_decode(span(buf, bytes.size + 1), &m), CAM_EFORMAT);
    }
}

/* ---- what is refused */

/* A message of text: "K" a key of 32 bytes, "H" a header, "S" a signature, "Z" a hash, the rest as it is. */
static int decode_text(const char *text)
{
    struct bytes_out out = bytes_out(buf, sizeof buf);
    static const uint8_t filler[SIG_SIZE] = { 1 };
    for (; *text; text++) {
        if (*text == 'K')
            ben_put_str(&out, ana->pk, KEY_SIZE);
        else if (*text == 'H')
            ben_put_str(&out, posts[0].header, POST_HEADER_SIZE);
        else if (*text == 'S')
            ben_put_str(&out, filler, SIG_SIZE);
        else if (*text == 'Z')
            ben_put_str(&out, filler, HASH_SIZE);
        else
            bytes_put_u8(&out, (uint8_t)*text);
    }
    struct message m;
    return message_decode(span(buf, out.size), &m);
}

static void test_bounds(void **state)
{
    (void)state;
    static const struct { const char *text; int err; } cases[] = {
        { "le", CAM_EFORMAT }, { "de", CAM_EFORMAT }, { "d1:mi5ee", CAM_EFORMAT },
        { "d1:m5:dancee", CAM_ENOENT }, { "d1:m0:e", CAM_ENOENT }, { "d1:m5:haveee", CAM_ENOENT },

        { "d1:m5:hello1:rd1:kK4:salt1:s3:seqi1e3:sigS1:vdeee", 0 },
        { "d1:m5:hello1:rd1:kK4:salt1:s3:seqi1e3:sigS1:vde1:zi1eee", 0 }, /* a key from the future */
        { "d1:m5:hello1:rd1:kK3:seqi1e3:sigS1:vdeee", CAM_EFORMAT },      /* no salt */
        { "d1:m5:hello1:rd1:kK4:salt1:s3:seqi-1e3:sigS1:vdeee", CAM_EFORMAT },
        { "d1:m5:hello1:rd1:kK4:salt1:s3:seqi1e3:sigS1:vi1eee", CAM_EFORMAT }, /* v is no dict */
        { "d1:m5:hello1:rd1:kK4:salt1:s3:seqi1e3:sigZ1:vdeee", CAM_EFORMAT },
        { "d1:m5:hello1:rd1:k3:abc4:salt1:s3:seqi1e3:sigS1:vdeee", CAM_EFORMAT },
        { "d1:m5:hello1:q1:11:rd1:kK4:salt1:s3:seqi1e3:sigS1:vdeee", CAM_EFORMAT },
        { "d1:m5:helloe", CAM_EFORMAT }, { "d1:m5:hello1:rlee", CAM_EFORMAT },

        { "d1:ed1:kK3:seqi1e3:sigS1:vdee1:m6:followe", 0 },
        { "d1:ed1:kK3:seqi1e3:sigS1:vleee1:m6:followe", CAM_EFORMAT },
        { "d1:ed1:kK3:sigS1:vdee1:m6:followe", CAM_EFORMAT },

        { "d1:b2:de1:hH1:m4:post1:r0:e", 0 },
        { "d1:b2:de1:hH1:m4:post1:r8:01234abce", 0 },
        { "d1:b2:de1:hH1:m4:post1:r9:01234abcde", CAM_EFORMAT }, /* deeper than 8 */
        { "d1:b2:de1:hH1:m4:post1:r1:Ae", CAM_EFORMAT },         /* one spelling */
        { "d1:b2:de1:hH1:m4:post1:r1:ge", CAM_EFORMAT },
        { "d1:b2:de1:hH1:m4:poste", CAM_EFORMAT },
        { "d1:b0:1:hH1:m4:post1:r0:e", CAM_EFORMAT },
        { "d1:b2:de1:hK1:m4:post1:r0:e", CAM_EFORMAT },
        { "d1:hH1:m4:post1:r0:e", CAM_EFORMAT },

        { "d1:aK1:di0e1:fi1e1:hZ1:m3:ack1:ni0e1:r0:1:si1ee", 0 },
        { "d1:aK1:di1023e1:fi1e1:hZ1:m3:ack1:ni4294967295e1:r0:1:si1099511627775ee", 0 },
        { "d1:aK1:di1024e1:fi1e1:hZ1:m3:ack1:ni0e1:r0:1:si1ee", CAM_EFORMAT },
        { "d1:aK1:di-1e1:fi1e1:hZ1:m3:ack1:ni0e1:r0:1:si1ee", CAM_EFORMAT },
        { "d1:aK1:di0e1:fi2e1:hZ1:m3:ack1:ni0e1:r0:1:si1ee", CAM_EFORMAT }, /* from above seq */
        { "d1:aK1:di0e1:fi0e1:hZ1:m3:ack1:ni0e1:r0:1:si1ee", CAM_EFORMAT },
        { "d1:aK1:di0e1:fi1e1:hZ1:m3:ack1:ni4294967296e1:r0:1:si1ee", CAM_EFORMAT },
        { "d1:aK1:di0e1:fi1e1:hZ1:m3:ack1:ni0e1:r0:1:si1099511627776ee", CAM_EFORMAT },
        { "d1:aK1:di0e1:fi1e1:hS1:m3:ack1:ni0e1:r0:1:si1ee", CAM_EFORMAT },

        { "d1:aK1:di0e1:fi1e1:m4:want1:ni0e1:ti0ee", 0 },
        { "d1:aK1:di0e1:fi5e1:m4:want1:ni0e1:ti5ee", 0 },
        { "d1:aK1:di0e1:fi5e1:m4:want1:ni0e1:ti4ee", CAM_EFORMAT },
        { "d1:aK1:di0e1:fi0e1:m4:want1:ni0e1:ti4ee", CAM_EFORMAT },
        { "d1:aK1:di0e1:fi1e1:m4:want1:ni-1e1:ti4ee", CAM_EFORMAT },

        { "d1:fle1:m4:havee", 0 }, { "d1:fle1:m4:have1:qi7ee", 0 },
        { "d1:fle1:m4:have1:q1:1e", CAM_EFORMAT }, { "d1:m4:havee", CAM_EFORMAT },
        { "d1:flli1eee1:m4:havee", CAM_EFORMAT }, { "d1:fllKi0ei0e0:ee1:m4:havee", 0 },
        { "d1:fllKi0ei0eHee1:m4:havee", 0 },
        { "d1:fllKi1ei0eHee1:m4:havee", CAM_EFORMAT }, /* the header of another device */
        { "d1:fllZi0ei0eHee1:m4:havee", CAM_EFORMAT }, /* of another author */
        { "d1:fllKi0ei0eKee1:m4:havee", CAM_EFORMAT }, { "d1:fllKi0ei-1e0:ee1:m4:havee", CAM_EFORMAT },
        { "d1:fllKi0eee1:m4:havee", CAM_EFORMAT },

        { "d1:aK1:di0e1:fi0e1:m5:batch1:ple1:ti0ee", 0 },
        { "d1:aK1:di0e1:fi0e1:m5:batch1:pllH2:deee1:ti0ee", 0 },
        { "d1:aK1:di0e1:fi0e1:m5:batch1:pllH2:dei9eee1:ti0ee", 0 }, /* more elements, from the future */
        { "d1:aK1:di0e1:fi0e1:m5:batch1:pllHi1eee1:ti0ee", 0 },
        { "d1:aK1:di0e1:fi0e1:m5:batch1:pllHi3eee1:ti0ee", 0 },
        { "d1:aK1:di0e1:fi0e1:m5:batch1:pllHi2elH2:deeee1:ti0ee", 0 },
        { "d1:aK1:di0e1:fi0e1:m5:batch1:pllHi0eee1:ti0ee", CAM_EFORMAT }, /* held is a body */
        { "d1:aK1:di0e1:fi0e1:m5:batch1:pllHi4eee1:ti0ee", CAM_EFORMAT },
        { "d1:aK1:di0e1:fi0e1:m5:batch1:pllH0:ee1:ti0ee", CAM_EFORMAT },
        { "d1:aK1:di0e1:fi0e1:m5:batch1:pllHee1:ti0ee", CAM_EFORMAT },
        { "d1:aK1:di0e1:fi0e1:m5:batch1:pllK2:deee1:ti0ee", CAM_EFORMAT },
        { "d1:aK1:di0e1:fi0e1:m5:batch1:pllHi2elHeee1:ti0ee", CAM_EFORMAT },
        { "d1:aK1:di0e1:fi0e1:m5:batch1:pllHi2ei1eee1:ti0ee", CAM_EFORMAT },
        { "d1:aK1:di0e1:fi0e1:m5:batch1:pi1e1:ti0ee", CAM_EFORMAT },
        { "d1:aK1:di0e1:fi0e1:m5:batch1:plee", CAM_EFORMAT },
        { "d1:aK1:di0e1:fi0e1:hH1:m5:batch1:ple1:ti0ee", 0 },
        { "d1:aK1:di1e1:fi0e1:hH1:m5:batch1:ple1:ti0ee", CAM_EFORMAT }, /* the header of another device */
        { "d1:aZ1:di0e1:fi0e1:hH1:m5:batch1:ple1:ti0ee", CAM_EFORMAT }, /* of another author */
        { "d1:aK1:di0e1:fi0e1:hK1:m5:batch1:ple1:ti0ee", CAM_EFORMAT }, /* no header */
        { "d1:aK1:di0e1:fi0e1:h0:1:m5:batch1:ple1:ti0ee", CAM_EFORMAT },
        { "d1:aK1:di0e1:fi0e1:hi1e1:m5:batch1:ple1:ti0ee", CAM_EFORMAT },
        { "d1:aK1:di0e1:fi1099511627776e1:m5:batch1:ple1:ti0ee", CAM_EFORMAT },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int err = decode_text(cases[i].text);
        if (err != cases[i].err)
            fail_msg("%s: %d, not %d", cases[i].text, err, cases[i].err);
    }
    struct message m;
    memset(buf, 'x', sizeof buf);
    assert_int_equal(message_decode(span(buf, LINK_MESSAGE_MAX + 1), &m), CAM_ETOOBIG);
}

static void test_sizes_of_records(void **state)
{
    (void)state;
    static char v[KAD_VALUE_MAX + 16], salt[KAD_SALT_MAX + 1];
    struct message m = hello(), out;
    for (int over = 0; over <= 1; over++) { /* v: "d1:x" + "NNN:" + n + "e" */
        int n = snprintf(v, sizeof v, "d1:x%d:", KAD_VALUE_MAX - 9 + over);
        memset(v + n, 'x', (size_t)(KAD_VALUE_MAX - 9 + over));
        v[n + KAD_VALUE_MAX - 9 + over] = 'e';
        m.hello.record.v = span(v, (size_t)(n + KAD_VALUE_MAX - 9 + over + 1));
        assert_int_equal(m.hello.record.v.size, KAD_VALUE_MAX + over);
        assert_int_equal(message_decode(encode(&m), &out), over ? CAM_EFORMAT : 0);
    }
    m = hello();
    memset(salt, 's', sizeof salt);
    m.hello.record.salt = span(salt, KAD_SALT_MAX);
    assert_int_equal(message_decode(encode(&m), &out), 0);
    m.hello.record.salt = span(salt, KAD_SALT_MAX + 1);
    assert_int_equal(message_decode(encode(&m), &out), CAM_EFORMAT);
    m = follow();
    int n = snprintf(v, sizeof v, "d1:x%d:", KAD_SET_VALUE_MAX - 8);
    memset(v + n, 'x', KAD_SET_VALUE_MAX - 8);
    v[n + KAD_SET_VALUE_MAX - 8] = 'e';
    m.follow.entry.v = span(v, (size_t)(n + KAD_SET_VALUE_MAX - 8 + 1));
    assert_int_equal(m.follow.entry.v.size, KAD_SET_VALUE_MAX + 1);
    assert_int_equal(message_decode(encode(&m), &out), CAM_EFORMAT);
}

static void test_bent_at_random(void **state)
{
    (void)state;
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 7);
    for (int round = 0; round < 20000; round++) {
        struct span bytes = example(MESSAGE_NONE + 1 + round % (MESSAGE_KINDS - 1));
        for (uint32_t bends = 1 + rng_below(&rng, 3); bends > 0; bends--)
            buf[rng_below(&rng, (uint32_t)bytes.size)] = (uint8_t)rng_u32(&rng);
        uint8_t *exact = malloc(bytes.size);
        memcpy(exact, bytes.data, bytes.size);
        struct message m;
        if (message_decode(span(exact, bytes.size), &m) == 0) { /* then its lists can be walked */
            struct message_item item;
            struct message_feed feed;
            size_t n = 0;
            if (m.kind == MESSAGE_BATCH) {
                for (struct ben_iter it = message_items(&m.batch); message_item_next(&it, &item);)
                    n++;
                assert_int_equal(n, m.batch.n_posts);
            } else if (m.kind == MESSAGE_HAVE) {
                for (struct ben_iter it = message_feeds(&m.have); message_feed_next(&it, &feed);)
                    n++;
                assert_int_equal(n, m.have.n_feeds);
            }
        }
        free(exact);
    }
}

/* ---- full lists */

static void test_batch_fills_a_page(void **state)
{
    (void)state;
    struct message_batch_writer w;
    struct bytes_out out = bytes_out(buf, LINK_MESSAGE_MAX);
    static uint8_t body[POST_BODY_MAX];
    size_t n = 0;
    message_batch_begin(&w, &out, ana->pk, 1023, POST_SEQ_MAX, MESSAGE_BATCH_BYTES);
    while (message_batch_add(&w, header_of(&posts[0]), span(body, sizeof body), POST_HELD) == 0)
        n++;
    message_batch_end(&w, POST_SEQ_MAX);
    assert_int_equal(out.err, 0);
    assert_true(out.size <= MESSAGE_BATCH_BYTES && out.size > MESSAGE_BATCH_BYTES - 5000);
    struct message m;
    assert_int_equal(message_decode(span(buf, out.size), &m), 0);
    assert_int_equal(m.batch.n_posts, n);

    /* Small posts stop at the count, and at the end of the buffer when that comes first. */
    out = bytes_out(buf, LINK_MESSAGE_MAX);
    message_batch_begin(&w, &out, ana->pk, 0, 0, LINK_MESSAGE_MAX);
    for (n = 0; message_batch_add(&w, header_of(&posts[0]), span(body, 1), POST_MISSING) == 0; n++)
        ;
    message_batch_end(&w, 0);
    assert_int_equal(n, MESSAGE_BATCH_POSTS_MAX);
    assert_int_equal(message_decode(span(buf, out.size), &m), 0);
    for (size_t cap = 120; cap < 900; cap++) {
        out = bytes_out(buf, cap);
        message_batch_begin(&w, &out, ana->pk, 0, 0, LINK_MESSAGE_MAX);
        while (message_batch_add(&w, header_of(&posts[0]), span(body, 9), POST_HELD) == 0)
            ;
        message_batch_end(&w, POST_SEQ_MAX);
        assert_int_equal(out.err, 0);
        assert_int_equal(message_decode(span(buf, out.size), &m), 0);
    }
    /* One too many is refused by the reader as well. */
    out = bytes_out(buf, sizeof buf);
    message_batch_begin(&w, &out, ana->pk, 0, 0, LINK_MESSAGE_MAX);
    for (n = 0; n < MESSAGE_BATCH_POSTS_MAX; n++)
        message_batch_add(&w, header_of(&posts[0]), span(body, 1), POST_MISSING);
    ben_put_list(&out);
    ben_put_str(&out, posts[0].header, POST_HEADER_SIZE);
    ben_put_int(&out, 1);
    ben_put_end(&out);
    message_batch_end(&w, 0);
    assert_int_equal(message_decode(span(buf, out.size), &m), CAM_EFORMAT);
}

static void test_have_is_full(void **state)
{
    (void)state;
    struct message_have_writer w;
    struct bytes_out out = bytes_out(buf, LINK_MESSAGE_MAX);
    struct message_feed feed = { .header = header_of(&posts[0]), .floor_seq = POST_SEQ_MAX };
    memcpy(feed.author, ana->pk, KEY_SIZE);
    size_t n = 0;
    message_have_begin(&w, &out, false);
    while (message_have_add(&w, &feed) == 0)
        n++;
    message_have_end(&w);
    assert_int_equal(n, MESSAGE_HAVE_MAX);
    struct message m;
    assert_int_equal(message_decode(span(buf, out.size), &m), 0);
    assert_true(m.have.n_feeds == n && !m.have.ask);
    out = bytes_out(buf, sizeof buf); /* one too many is refused by the reader as well */
    message_have_begin(&w, &out, false);
    while (message_have_add(&w, &feed) == 0)
        ;
    w.n_feeds = 0;
    assert_int_equal(message_have_add(&w, &feed), 0);
    message_have_end(&w);
    assert_int_equal(message_decode(span(buf, out.size), &m), CAM_EFORMAT);
    out = bytes_out(buf, 400); /* room for one */
    message_have_begin(&w, &out, true);
    assert_int_equal(message_have_add(&w, &feed), 0);
    assert_int_equal(message_have_add(&w, &feed), CAM_EFULL);
    message_have_end(&w);
    assert_int_equal(out.err, 0);
    assert_int_equal(message_decode(span(buf, out.size), &m), 0);
}

static void test_ranges(void **state)
{
    (void)state;
    uint8_t slot[SHA1_SIZE] = { 0xa3, 0x5f, 0x00, 0x01, 0xff };
    struct message_range all = message_range_all(), r = all;
    assert_true(message_range_contains(all, slot) && all.depth == 0);
    static const unsigned digits[] = { 0xa, 3, 5, 0xf, 0, 0, 0, 1 };
    for (unsigned depth = 0; depth < MESSAGE_RANGE_DEPTH_MAX; depth++) {
        for (unsigned digit = 0; digit < 16; digit++)
            assert_int_equal(message_range_contains(message_range_part(r, digit), slot),
                             digit == digits[depth]);
        r = message_range_part(r, digits[depth]);
    }
    assert_true(r.depth == 8 && r.prefix == 0xa35f0001);
    assert_true(message_range_equal(r, r) && !message_range_equal(r, all));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_encode_decode_is_the_same),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_cut_at_every_length),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_sizes_of_records),
        cmocka_unit_test(test_bent_at_random),
        cmocka_unit_test(test_batch_fills_a_page),
        cmocka_unit_test(test_have_is_full),
        cmocka_unit_test(test_ranges),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
