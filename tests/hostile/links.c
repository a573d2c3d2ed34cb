/* A session on a link: one transport key, one user key, commands on stdin, one line of answer for each:
 *
 *     ok sent=3 pages=1 posts=8 bytes=2100 haves=0 wants=1 pushed=0 acks=0 down=0
 *
 * what was sent, and what the victim sent to us until then. After a command the victim has dealt with everything
 * (fence), unless it does not know us. "silent" in the place of "ok": it does not answer us any more.
 *
 *     hello [other-key | forged | victims]      who we are; or somebody else's word
 *     follow [forged NAME | other-root | old]   from then on we are no stranger to it
 *     lives N                                   N followers more, who take turns at what is forged
 *     chain AUTHOR N BYTES                      the posts that the next commands speak of, by their seq
 *     post I [body J | forged | mine | redated S | future S | malleable]
 *     flip I | flip-have I | flip-batch A B I   every bit of the header, and of the body, one at a time
 *     batch A B [missing I | reversed | swapped | top-bent | floor F | expired I | deleted I | proof I | fork | as-victim]
 *     have real I | forged S | unsigned S
 *     ack last | bent | beyond                  for the victim's own posts, as it pushed them to us
 *     want FROM TO BYTES | want-victim FROM TO BYTES | flood N | deaf N MS
 *     cut | junk N SEED | fence | wait MS
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/io_os.h"
#include "tests/hostile/session.h"
#include "timeline/io_zmq.h"

#define WORDS_MAX 8

static struct identity *author; /* of the posts that are handed over and bent */
static struct chain *chain;
static int64_t follow_seq;
static uint8_t buf[LINK_MESSAGE_MAX + 4096];

static void say(struct span bytes) { session_say(bytes); }
static void say_message(const struct message *m) { say(forge_encode(m, buf, sizeof buf)); }

/* ---- commands -------------------------------------------------------------------------------------------- */

struct words {
    int n;
    char *at[WORDS_MAX];
};

static const char *word(const struct words *w, int i) { return i < w->n ? w->at[i] : ""; }
static bool is(const struct words *w, int i, const char *text) { return strcmp(word(w, i), text) == 0; }
static long long number(const struct words *w, int i) { return strtoll(word(w, i), NULL, 10); }

static const struct made *post_at(const struct words *w, int i)
{
    long long seq = number(w, i);
    if (!chain || seq < 1 || (size_t)seq > chain->n)
        die("no such post in the chain");
    return &chain->at[seq - 1];
}

static void do_hello(const struct words *w)
{
    uint8_t v[KAD_OWN_VALUE_MAX], key[LINK_KEY_SIZE];
    struct message m = { .kind = MESSAGE_HELLO };
    if (w->n == 1) {
        session_hello();
        return;
    }
    memcpy(key, life()->keys.pk, sizeof key);
    if (is(w, 1, "other-key"))
        rng_fill(&session.rng, key, sizeof key);
    forge_connection(life()->me->pk, life()->me, &life()->here, key, unix_s(), v, &m.hello.record);
    if (is(w, 1, "forged")) /* the victim's name on our own key */
        forge_connection(author->pk, life()->me, &life()->here, key, unix_s(), v, &m.hello.record);
    if (is(w, 1, "victims")) {
        m.hello.record = session.v->item;
        m.hello.record.salt = span_str("connections/0");
    }
    say_message(&m);
}

static void do_follow(const struct words *w)
{
    uint8_t v[KAD_SET_VALUE_MAX];
    struct message m = { .kind = MESSAGE_FOLLOW };
    if (w->n == 1)
        session_follow(follow_seq = unix_s(), false);
    else if (is(w, 1, "old"))
        session_follow(follow_seq - 1, true);
    if (w->n == 1 || is(w, 1, "old"))
        return;
    bool forged = is(w, 1, "forged");
    struct identity *other = identity_named(forged ? word(w, 2) : "another root");
    forge_follow(forged ? other->pk : life()->me->pk, life()->me, forged ? session.v->pk : other->pk, unix_s() + 1, false, v,
                 &m.follow.entry);
    say_message(&m);
    identity_free(other);
}

static void do_lives(const struct words *w) { session_more_lives((unsigned)number(w, 1), "another"); }

static void do_chain(const struct words *w)
{
    char id[USER_ID_SIZE];
    identity_free(author);
    author = identity_named(word(w, 1));
    free(chain);
    size_t n = (size_t)number(w, 2);
    chain = chain_new(author, n, (size_t)number(w, 3), unix_ms() - 1000 - 10 * n);
    user_id_text(author->pk, id);
    fprintf(stderr, "hostile: %zu posts of %s\n", n, id);
}

/* A second signature out of a good one, without the key: S + L is S again to who does not ask that S < L
 * (RFC 8032 section 5.1.7). It would make another hash, and so a fork. */
static void malleate(uint8_t scalar[32])
{
    static const uint8_t order[32] = { 0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9,
                                       0xde, 0x14, [31] = 0x10 };
    unsigned carry = 0;
    for (int i = 0; i < 32; i++) {
        carry += (unsigned)scalar[i] + order[i];
        scalar[i] = (uint8_t)carry;
        carry >>= 8;
    }
}

static void do_post(const struct words *w)
{
    const struct made *p = post_at(w, 1);
    struct made other = *p;
    if (is(w, 2, "forged")) {
        made_resign(&other, life()->me);
    } else if (is(w, 2, "mine")) {
        memcpy(other.h.author, life()->me->pk, KEY_SIZE);
        made_resign(&other, life()->me);
    } else if (is(w, 2, "redated") || is(w, 2, "future")) {
        other.h.id += (uint64_t)(number(w, 3) * 1000) << 22;
        made_resign(&other, is(w, 2, "future") ? author : life()->me);
    } else if (is(w, 2, "malleable")) {
        malleate(other.header + POST_HEADER_SIZE - 32);
    }
    say(forge_post(&other, is(w, 2, "body") ? post_at(w, 3) : p, buf, sizeof buf));
}

static void flip_header(const struct made *p, unsigned bit, struct made *ret)
{
    *ret = *p;
    ret->header[bit / 8] ^= (uint8_t)(1 << bit % 8);
}

static void do_flip(const struct words *w)
{
    const struct made *p = post_at(w, 1);
    struct made bent;
    for (unsigned bit = 0; bit < 8 * POST_HEADER_SIZE; bit++) {
        flip_header(p, bit, &bent);
        session_say_forged(forge_post(&bent, p, buf, sizeof buf));
    }
    bent = *p;
    for (unsigned bit = 0; bit < 8 * p->body_bytes; bit++) {
        bent.body[bit / 8] ^= (uint8_t)(1 << bit % 8);
        session_say_forged(forge_post(p, &bent, buf, sizeof buf));
        bent.body[bit / 8] = p->body[bit / 8];
    }
}

static void do_flip_have(const struct words *w)
{
    struct made bent;
    for (unsigned bit = 0; bit < 8 * POST_HEADER_SIZE; bit++) {
        flip_header(post_at(w, 1), bit, &bent);
        session_say_forged(forge_have(author->pk, made_header(&bent), buf, sizeof buf));
    }
}

static struct forged_item item_of(const struct made *p)
{
    return (struct forged_item){ .header = made_header(p), .body = made_body(p) };
}

/* Newest first, as it should be. */
static size_t run_of(long long from, long long to, struct forged_item *items)
{
    size_t n = 0;
    if (from < 1 || to < from || (size_t)to > chain->n || to - from >= MESSAGE_BATCH_POSTS_MAX)
        die("no such run in the chain");
    for (long long seq = to; seq >= from; seq--)
        items[n++] = item_of(&chain->at[seq - 1]);
    return n;
}

static void do_flip_batch(const struct words *w)
{
    static struct forged_item items[MESSAGE_BATCH_POSTS_MAX];
    long long to = number(w, 2), at = number(w, 3);
    size_t n = run_of(number(w, 1), to, items);
    struct made bent;
    for (unsigned bit = 0; bit < 8 * POST_HEADER_SIZE; bit++) {
        flip_header(post_at(w, 3), bit, &bent);
        items[to - at].header = made_header(&bent);
        session_say_forged(forge_batch(author->pk, items, n, 0, buf, sizeof buf));
    }
}

static void do_batch(const struct words *w)
{
    static struct forged_item items[MESSAGE_BATCH_POSTS_MAX];
    static struct made bent, erased;
    long long from = number(w, 1), to = number(w, 2), at = number(w, 4);
    size_t n = run_of(from, to, items), i = (size_t)(to - at);
    uint64_t floor_seq = 0;
    const uint8_t *named = author->pk;
    if (is(w, 3, "missing")) {
        memmove(&items[i], &items[i + 1], (--n - i) * sizeof *items);
    } else if (is(w, 3, "reversed")) {
        for (size_t k = 0; k < n; k++)
            items[k] = item_of(&chain->at[from - 1 + (long long)k]);
    } else if (is(w, 3, "swapped")) {
        struct forged_item swap = items[n / 2];
        items[n / 2] = items[n / 2 - 1];
        items[n / 2 - 1] = swap;
    } else if (is(w, 3, "top-bent")) {
        flip_header(&chain->at[to - 1], 8 * (POST_HEADER_SIZE - 1), &bent);
        items[0].header = made_header(&bent);
    } else if (is(w, 3, "floor")) {
        floor_seq = (uint64_t)at;
    } else if (is(w, 3, "expired")) {
        items[i].state = POST_EXPIRED;
    } else if (is(w, 3, "deleted")) {
        items[i].state = POST_DELETED;
    } else if (is(w, 3, "proof")) {
        made_delete(&erased, &chain->at[to - 1], post_at(w, 4), life()->me);
        items[i].state = POST_DELETED;
        items[i].proof_header = made_header(&erased);
        items[i].proof_body = made_body(&erased);
    } else if (is(w, 3, "fork")) { /* another newest post, well signed: the author itself forks */
        made_post(&bent, &chain->at[to - 2], author->pk, author, "the other branch", unix_ms());
        items[0] = item_of(&bent);
    } else if (is(w, 3, "as-victim")) {
        named = session.v->pk;
    }
    say(forge_batch(named, items, n, floor_seq, buf, sizeof buf));
}

static void do_have(const struct words *w)
{
    struct made p = { .h.kind = POST_KIND_POST };
    if (is(w, 1, "real")) {
        p = *post_at(w, 2);
    } else { /* a head that there never was */
        made_post(&p, &chain->at[0], author->pk, life()->me, "invented", unix_ms());
        p.h.seq = (uint64_t)number(w, 2);
        made_resign(&p, life()->me);
        if (is(w, 1, "unsigned"))
            memset(p.header + POST_SIGNED_SIZE, 0, SIG_SIZE);
    }
    say(forge_have(author->pk, made_header(&p), buf, sizeof buf));
}

static void do_ack(const struct words *w)
{
    struct message m = { .kind = MESSAGE_ACK, .ack = { .from = 1, .seq = session.pushed.h.seq, .stored_below = 1000 } };
    if (!session.pushed.h.seq)
        die("the victim sent us no post of its own");
    memcpy(m.ack.author, session.v->pk, KEY_SIZE);
    memcpy(m.ack.hash, session.pushed.hash, HASH_SIZE);
    if (is(w, 1, "bent"))
        m.ack.hash[0] ^= 1;
    if (is(w, 1, "beyond"))
        m.ack.seq += 1000;
    say_message(&m);
}

static void want(const uint8_t *pk, uint64_t from, uint64_t to, uint32_t bytes)
{
    struct message m = { .kind = MESSAGE_WANT, .want = { .from = from, .to = to, .bytes_max = bytes } };
    memcpy(m.want.author, pk, KEY_SIZE);
    say_message(&m);
}

static void do_want(const struct words *w)
{
    want(is(w, 0, "want") ? author->pk : session.v->pk, (uint64_t)number(w, 1), (uint64_t)number(w, 2), (uint32_t)number(w, 3));
}

static void do_flood(const struct words *w)
{
    for (long long i = 0; i < number(w, 1); i++)
        want(author->pk, 1, 0, UINT32_MAX);
}

/* Asks for everything again and again, and reads nothing of it. */
static void do_deaf(const struct words *w)
{
    struct message m = { .kind = MESSAGE_WANT, .want = { .from = 1, .bytes_max = UINT32_MAX } };
    memcpy(m.want.author, author->pk, KEY_SIZE);
    struct span bytes = forge_encode(&m, buf, sizeof buf);
    for (long long i = 0; i < number(w, 1); i++, session.n.sent++) {
        io_zmq_send(life()->z, &(struct link_send){ .to = session.to, .bytes = bytes });
        io_zmq_turn(life()->z, io_os_now().mono_ms);
    }
    usleep((useconds_t)number(w, 2) * 1000);
}

/* Every kind of message, cut at every length. */
static void do_cut(const struct words *w)
{
    static uint8_t whole[4096];
    static struct forged_item items[3];
    uint8_t v[KAD_OWN_VALUE_MAX];
    struct message m[4] = { { .kind = MESSAGE_HELLO }, { .kind = MESSAGE_FOLLOW }, { .kind = MESSAGE_ACK, .ack = { .from = 1, .seq = 2 } },
                            { .kind = MESSAGE_WANT, .want = { .from = 1, .to = 9, .bytes_max = 9 } } };
    forge_connection(life()->me->pk, life()->me, &life()->here, life()->keys.pk, unix_s(), v, &m[0].hello.record);
    uint8_t v2[KAD_SET_VALUE_MAX];
    forge_follow(life()->me->pk, life()->me, session.v->pk, unix_s(), false, v2, &m[1].follow.entry);
    size_t n = run_of(1, 3, items);
    (void)w;
    for (int kind = 0; kind < 7; kind++) {
        struct span all = kind < 4    ? forge_encode(&m[kind], whole, sizeof whole)
                          : kind == 4 ? forge_post(&chain->at[0], &chain->at[0], whole, sizeof whole)
                          : kind == 5 ? forge_have(author->pk, made_header(&chain->at[0]), whole, sizeof whole)
                                      : forge_batch(author->pk, items, n, 0, whole, sizeof whole);
        for (size_t size = 0; size < all.size; size++)
            session_say_forged(span(all.data, size));
    }
}

static void do_junk(const struct words *w)
{
    struct rng_seeded state;
    struct rng rng = rng_seeded(&state, (uint64_t)number(w, 2));
    static const char bencode[] = "0123456789:deilm";
    for (long long i = 0; i < number(w, 1); i++) {
        uint32_t size = rng_below(&rng, i % 100 ? 600 : 100000);
        rng_fill(&rng, buf, size);
        for (uint32_t k = 0; i % 2 && k < size; k++)
            buf[k] = (uint8_t)bencode[buf[k] & 15];
        session_say_forged(span(buf, size));
    }
}

static void do_wait(const struct words *w) { session_pump((uint64_t)number(w, 1)); }
static void do_nothing(const struct words *w) { (void)w; }

static const struct {
    const char *name;
    void (*run)(const struct words *w);
} commands[] = {
    { "hello", do_hello },   { "follow", do_follow },       { "chain", do_chain },           { "post", do_post },
    { "flip", do_flip },     { "flip-have", do_flip_have }, { "flip-batch", do_flip_batch }, { "batch", do_batch },
    { "have", do_have },     { "ack", do_ack },             { "want", do_want },             { "want-victim", do_want },
    { "flood", do_flood },   { "deaf", do_deaf },           { "cut", do_cut },               { "junk", do_junk },
    { "fence", do_nothing }, { "wait", do_wait },           { "lives", do_lives },
};

static void run_line(char *line)
{
    struct words w = { .n = 0 };
    for (char *at = strtok(line, " \n"); at && w.n < WORDS_MAX; at = strtok(NULL, " \n"))
        w.at[w.n++] = at;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (!is(&w, 0, commands[i].name))
            continue;
        session.n = (struct counts){ .sent = 0 };
        commands[i].run(&w);
        bool ok = !session.known || session_fence();
        printf("%s sent=%u pages=%u posts=%u bytes=%zu haves=%u wants=%u pushed=%u acks=%u down=%u\n", ok ? "ok" : "silent",
               session.n.sent, session.n.pages, session.n.posts, session.n.bytes, session.n.haves, session.n.wants, session.n.pushed, session.n.acks, session.n.down);
        return;
    }
    die("an unknown command on stdin");
}

/* ---- the session ----------------------------------------------------------------------------------------- */

int attack_links(struct victim *v, const char *name)
{
    char line[512];
    struct pollfd p = { .fd = 0, .events = POLLIN };
    session_open(v, name);
    author = identity_named("nobody yet");
    setvbuf(stdin, NULL, _IONBF, 0);
    puts("ready");
    for (;;) {
        while (poll(&p, 1, 0) == 0)
            session_turn(10);
        if (!fgets(line, sizeof line, stdin))
            break;
        run_line(line);
    }
    session_close();
    identity_free(author);
    free(chain);
    return 0;
}
