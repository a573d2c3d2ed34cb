/* Handshakes. Nobody may speak without proving a transport key to ZAP, whatever is left out or made up. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sodium.h>
#include "core/io_os.h"
#include "core/rng.h"
#include "tests/hostile/curve.h"
#include "timeline/message.h"

#define HANGS_UP_MS 1500
#define REFUSAL_MS 300
#define REFUSED_ENOUGH 10

static void say(const char *what, const char *answer) { printf("%s %s\n", what, answer); }

static void say_closed(const char *what, struct curve *c)
{
    say(what, curve_is_closed(c, HANGS_UP_MS) ? "closed" : "open");
}

/* The victim's own HELLO: a message that any link may begin with, if it were the victim's. */
static struct span hello_of(const struct victim *v, uint8_t *buf, size_t cap)
{
    struct message m = { .kind = MESSAGE_HELLO, .hello.record = v->item };
    struct bytes_out out = bytes_out(buf, cap);
    m.hello.record.salt = span_str("connections/0");
    message_encode(&out, &m);
    if (out.err)
        die("a HELLO that does not fit");
    return span(out.buf, out.size);
}

static void with_mechanism(struct victim *v, const char *name, const char *what)
{
    struct curve c;
    uint8_t ready[] = "\4\47\5READY\13Socket-Type\0\0\0\4PUSH\10Identity\0\0\0\0", message[] = "\0\17d4:kind5:helloe";
    curve_open(&c, &v->addr, v->key, NULL);
    curve_greet(&c, name);
    if (c.state == CURVE_GREETED && curve_write(&c, ready, sizeof ready - 1))
        curve_write(&c, message, sizeof message - 1);
    say_closed(what, &c);
    curve_close(&c);
}

static void wrong_server_key(struct victim *v)
{
    struct curve c;
    uint8_t pk[32], sk[32];
    crypto_box_keypair(pk, sk);
    curve_open(&c, &v->addr, pk, NULL);
    curve_handshake(&c);
    say("wrong-server-key", curve_answer(&c));
    curve_close(&c);
}

static void initiate(struct victim *v, const char *what, bool bad_vouch, bool bad_cookie, const uint8_t *claimed)
{
    struct curve c;
    curve_open(&c, &v->addr, v->key, NULL);
    c.bad_vouch = bad_vouch;
    c.bad_cookie = bad_cookie;
    if (claimed)
        memcpy(c.pk, claimed, 32);
    curve_handshake(&c);
    say(what, curve_answer(&c));
    curve_close(&c);
}

static void message_before_ready(struct victim *v)
{
    struct curve c;
    uint8_t buf[KAD_DATAGRAM_MAX + 200];
    struct span hello = hello_of(v, buf, sizeof buf);
    curve_open(&c, &v->addr, v->key, NULL);
    curve_greet(&c, "CURVE");
    curve_hello(&c);
    curve_send(&c, hello.data, hello.size);
    say_closed("message-before-ready", &c);
    curve_close(&c);
}

/* ZAP's word about the key, in our own metadata: it must be overruled. The scenario sees that two are refused. */
static void claimed_user_id(struct victim *v)
{
    struct curve c;
    char hex[65];
    uint8_t buf[KAD_DATAGRAM_MAX + 200], want_buf[256];
    struct span hello = hello_of(v, buf, sizeof buf);
    struct message want = { .kind = MESSAGE_WANT, .want = { .from = 1, .bytes_max = 1 } };
    struct bytes_out out = bytes_out(want_buf, sizeof want_buf);
    memcpy(want.want.author, v->pk, KEY_SIZE);
    message_encode(&out, &want);
    hex_encode(hex, v->key, 32);
    curve_open(&c, &v->addr, v->key, NULL);
    c.user_id = hex;
    curve_handshake(&c);
    say("claimed-user-id", curve_answer(&c));
    if (c.state == CURVE_READY) {
        curve_send(&c, hello.data, hello.size);
        curve_send(&c, out.buf, out.size);
        say("claimed-user-id-after", curve_is_closed(&c, 300) ? "closed" : "open");
    }
    curve_close(&c);
}

static void frames(struct victim *v)
{
    struct curve c;
    uint8_t buf[1024], bent[1024], head[9] = { 2 };

    curve_open(&c, &v->addr, v->key, NULL); /* the same sealed frame twice: the second is no message */
    curve_handshake(&c);
    size_t n = curve_seal(&c, "d1:m4:nonee", 11, buf, sizeof buf);
    curve_write(&c, buf, n);
    curve_write(&c, buf, n);
    say_closed("frame-replayed", &c);
    curve_close(&c);

    curve_open(&c, &v->addr, v->key, NULL);
    curve_handshake(&c);
    n = curve_seal(&c, "d1:m4:nonee", 11, bent, sizeof bent);
    bent[n - 1] ^= 1;
    curve_write(&c, bent, n);
    say_closed("frame-bent", &c);
    curve_close(&c);

    curve_open(&c, &v->addr, v->key, NULL);
    curve_handshake(&c);
    curve_write(&c, "\0\13d1:m4:nonee", 13);
    say_closed("frame-in-the-clear", &c);
    curve_close(&c);

    uint8_t *big = calloc(1, LINK_MESSAGE_MAX + 4096);
    if (!big)
        die("no memory");
    curve_open(&c, &v->addr, v->key, NULL);
    curve_handshake(&c);
    curve_send(&c, big, LINK_MESSAGE_MAX);
    say("largest-message", curve_is_closed(&c, 300) ? "closed" : "open");
    curve_send(&c, big, LINK_MESSAGE_MAX + 1);
    say_closed("one-byte-more", &c);
    curve_close(&c);
    free(big);

    curve_open(&c, &v->addr, v->key, NULL);
    curve_handshake(&c);
    put_be64(head + 1, UINT64_C(1) << 62);
    curve_write(&c, head, sizeof head);
    say_closed("says-it-is-endless", &c);
    curve_close(&c);
}

static void junk(struct victim *v)
{
    struct rng rng = io_os_rng();
    uint8_t noise[4096];
    int open = 0;
    for (int i = 0; i < 50; i++) {
        struct curve c;
        curve_open(&c, &v->addr, v->key, NULL);
        rng_fill(&rng, noise, sizeof noise);
        if (i % 2) /* behind a good greeting */
            curve_greet(&c, "CURVE");
        noise[0] &= i % 2 ? 7 : 0xff;
        curve_write(&c, noise, 1 + rng_below(&rng, sizeof noise));
        open += c.state == CURVE_READY;
        curve_close(&c);
    }
    say("junk", open ? "ready" : "never");
}

int attack_door(struct victim *v)
{
    with_mechanism(v, "NULL", "null-mechanism");
    with_mechanism(v, "PLAIN", "plain-mechanism");
    with_mechanism(v, "", "no-mechanism");
    wrong_server_key(v);
    initiate(v, "vouch-bent", true, false, NULL);
    initiate(v, "cookie-bent", false, true, NULL);
    initiate(v, "somebody-elses-key", false, false, v->key);
    initiate(v, "own-key", false, false, NULL);
    message_before_ready(v);
    claimed_user_id(v);
    frames(v);
    junk(v);
    return 0;
}

static void wait_for_stdin(void)
{
    char buf[64];
    while (read(0, buf, sizeof buf) > 0) {}
}

int attack_half_open(const struct addr *to, int count)
{
    struct curve *c = calloc((size_t)count, sizeof *c);
    uint8_t any[32] = { 9 };
    int held = 0;
    if (!c)
        die("no memory");
    for (int i = 0; i < count; i++) {
        curve_open(&c[i], to, any, NULL);
        held += c[i].state == CURVE_TCP;
        if (i % 3 == 1)
            curve_write(&c[i], "\xff\0\0\0\0\0\0\0\0\x7f\3", 11);
        else if (i % 3 == 2)
            curve_greet(&c[i], "CURVE");
    }
    printf("held %d\n", held);
    wait_for_stdin();
    for (int i = 0; i < count; i++)
        curve_close(&c[i]);
    free(c);
    return 0;
}

int attack_budget(struct victim *v, int count)
{
    int admitted = 0, refused = 0;
    for (int i = 0; i < count && refused < REFUSED_ENOUGH; i++) {
        struct curve c;
        curve_open(&c, &v->addr, v->key, NULL);
        curve_greet(&c, "CURVE");
        curve_hello(&c);
        c.wait_ms = REFUSAL_MS; /* ZAP's 300 is no answer at all */
        curve_initiate(&c);
        admitted += c.state == CURVE_READY;
        refused += c.state != CURVE_READY;
        curve_close(&c);
    }
    printf("admitted %d\nrefused %d\n", admitted, refused);
    return 0;
}
