#include "tests/hostile/session.h"
#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/err.h"
#include "core/io_os.h"
#include "timeline/io_zmq.h"

#define FENCE_TRY_MS 300
#define FENCE_TRIES 20
#define UNFENCED_MAX 100     /* messages that fit into our own sending queue by far */
#define CREDIT_MAX 150.0     /* forged messages of one life: a follower's budget pays for 200 (LINKS_FINE) ... */
#define CREDIT_PER_S 80.0    /* ... and for 100 a second more */
#define BUDGET_FULL_MS 2200  /* a follower's budget starts where the stranger's was, and fills in two seconds */

struct session session;

/* ---- receiving ------------------------------------------------------------------------------------------- */

static void remember(struct span header)
{
    struct post_header h;
    if (post_header_decode(header, &h) || memcmp(h.author, session.v->pk, KEY_SIZE) != 0 || h.seq < session.pushed.h.seq)
        return;
    session.pushed.h = h;
    memcpy(session.pushed.header, header.data, POST_HEADER_SIZE);
    post_hash(header.data, session.pushed.hash);
}

static void take(struct span bytes)
{
    struct message m;
    struct message_item item;
    if (message_decode(bytes, &m))
        die("the victim sends what cannot be read");
    session.n.bytes += bytes.size;
    switch (m.kind) {
    case MESSAGE_BATCH:
        if (memcmp(m.batch.author, session.fence, KEY_SIZE) == 0) {
            session.is_fenced = true;
            session.n.bytes -= bytes.size;
            return;
        }
        session.n.pages++;
        struct ben_iter it = message_items(&m.batch);
        while (message_item_next(&it, &item)) {
            session.n.posts++;
            remember(item.header);
        }
        break;
    case MESSAGE_POST:
        session.n.pushed++;
        remember(m.post.header);
        break;
    case MESSAGE_HAVE: session.n.haves++; break;
    case MESSAGE_WANT: session.n.wants++; break;
    case MESSAGE_ACK: session.n.acks++; break;
    case MESSAGE_HELLO:
    case MESSAGE_FOLLOW:
    case MESSAGE_NONE:
    case MESSAGE_KINDS: break;
    }
}

void session_turn(int wait_ms)
{
    struct pollfd p = { .fd = io_zmq_fd(life()->z), .events = POLLIN };
    struct link_event e;
    if (wait_ms && !io_zmq_ready(life()->z))
        poll(&p, 1, wait_ms);
    io_zmq_turn(life()->z, io_os_now().mono_ms);
    while (io_zmq_next(life()->z, &e)) {
        if (e.kind == LINK_RECEIVED)
            take(e.bytes);
        session.n.down += e.kind == LINK_DOWN;
    }
}

void session_pump(uint64_t ms)
{
    for (uint64_t end = io_os_now().mono_ms + ms; io_os_now().mono_ms < end;)
        session_turn(5);
}

static void put(struct span bytes)
{
    struct link_send send = { .to = session.to, .bytes = bytes };
    io_zmq_send(life()->z, &send);
}

/* What we ask about nobody's posts is answered with an empty page of them, and everything before it was dealt with. */
bool session_fence(void)
{
    uint8_t small[256];
    struct message m = { .kind = MESSAGE_WANT, .want = { .from = 1, .bytes_max = 1 } };
    session.unfenced = 0;
    session.is_fenced = false;
    rng_fill(&session.rng, session.fence, sizeof session.fence);
    memcpy(m.want.author, session.fence, KEY_SIZE);
    struct span bytes = forge_encode(&m, small, sizeof small);
    for (int tries = 0; tries < FENCE_TRIES && !session.is_fenced; tries++) {
        put(bytes);
        for (uint64_t end = io_os_now().mono_ms + FENCE_TRY_MS; !session.is_fenced && io_os_now().mono_ms < end;)
            session_turn(5);
    }
    return session.is_fenced;
}

void session_say(struct span bytes)
{
    put(bytes);
    session.n.sent++;
    if (++session.unfenced >= UNFENCED_MAX && session.known)
        session_fence();
    session_turn(0);
}

/* ---- lives ----------------------------------------------------------------------------------------------- */

void session_hello(void)
{
    uint8_t v[KAD_OWN_VALUE_MAX], out[1024];
    struct message m = { .kind = MESSAGE_HELLO };
    forge_connection(life()->me->pk, life()->me, &life()->here, life()->keys.pk, unix_s(), v, &m.hello.record);
    session_say(forge_encode(&m, out, sizeof out));
    session.known = true;
}

void session_follow(int64_t seq, bool deleted)
{
    uint8_t v[KAD_SET_VALUE_MAX], out[1024];
    struct message m = { .kind = MESSAGE_FOLLOW };
    forge_follow(life()->me->pk, life()->me, session.v->pk, seq, deleted, v, &m.follow.entry);
    session_say(forge_encode(&m, out, sizeof out));
}

static uint16_t free_port(void)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, size) || getsockname(fd, (struct sockaddr *)&sa, &size))
        die("no free port");
    close(fd);
    return ntohs(sa.sin_port);
}

static bool admit_all(void *ctx, const uint8_t key[LINK_KEY_SIZE])
{
    (void)ctx;
    (void)key;
    return true;
}

static void life_begin(const char *name)
{
    char why[IO_ZMQ_WHY_MAX];
    struct life *l = &session.lives[session.n_lives];
    if (session.n_lives == LIVES_MAX)
        die("so many lives nobody has");
    l->me = identity_named(name);
    transport_new(&session.rng, &l->keys);
    if (io_zmq_new(l->keys.pk, l->keys.sk, io_os_now().mono_ms, &l->z, why))
        die(why);
    l->here = (struct addr){ .family = 4, .ip = { 127, 0, 0, 1 } };
    for (int i = 0;; i++) {
        l->here.port = free_port();
        if (io_zmq_bind(l->z, &l->here, why) == 0)
            break;
        if (i == 10)
            die(why);
    }
    io_zmq_admit(l->z, admit_all, NULL);
    session.at = session.n_lives++;
}

void session_open(struct victim *v, const char *name)
{
    session.v = v;
    session.rng = io_os_rng();
    session.to.addr = v->addr;
    memcpy(session.to.key, v->key, LINK_KEY_SIZE);
    life_begin(name);
}

void session_close(void)
{
    for (unsigned i = 0; i < session.n_lives; i++) {
        io_zmq_free(session.lives[i].z);
        identity_free(session.lives[i].me);
    }
}

void session_more_lives(unsigned n, const char *name)
{
    char text[64];
    struct counts counts = session.n;
    for (unsigned i = 0; i < n; i++) {
        snprintf(text, sizeof text, "%s %u", name, i);
        life_begin(text);
        session_hello();
        session_follow(unix_s(), false);
        if (!session_fence())
            die("the victim does not answer a newcomer");
    }
    session_pump(BUDGET_FULL_MS);
    for (unsigned i = 0; i < session.n_lives; i++) {
        session.lives[i].credit = CREDIT_MAX;
        session.lives[i].credit_ms = io_os_now().mono_ms;
    }
    session.at = 0;
    session.n = counts;
}

static double credit_now(struct life *l)
{
    uint64_t now = io_os_now().mono_ms;
    l->credit += (double)(now - l->credit_ms) * CREDIT_PER_S / 1000;
    l->credit = l->credit < CREDIT_MAX ? l->credit : CREDIT_MAX;
    l->credit_ms = now;
    return l->credit;
}

void session_say_forged(struct span bytes)
{
    while (session.n_lives > 1 && credit_now(life()) < 1) {
        struct counts counts = session.n;
        if (!session_fence())
            die("the victim does not answer any more");
        for (unsigned i = 0; i < session.n_lives; i++)
            if (credit_now(&session.lives[i]) > life()->credit)
                session.at = i;
        if (life()->credit < CREDIT_MAX / 4)
            session_pump(200);
        session.n = counts;
    }
    life()->credit--;
    session_say(bytes);
}
