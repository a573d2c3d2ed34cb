#include "timeline/io_zmq.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/err.h"
#include "timeline/io_zap.h"
#include "timeline/io_zmq_impl.h"

#define ZEPOLL_BATCH 64
#define ZLINGER_MS 200
#define ZBACKLOG 128
#define ZCURVE_OVERHEAD 33 /* MAXMSGSIZE counts the box too: its name, nonce, flags, authenticator (RFC 26) */
/* Closed sockets stay with libzmq's reaper for a moment; the rest is PULL, its monitor, ZAP, the API and the
 * probe's. */
#define ZSOCKETS_MAX (LINK_OPEN_MAX * 2)

static void why_set(char ret[IO_ZMQ_WHY_MAX], const char *what, const char *where, int code)
{
    snprintf(ret, IO_ZMQ_WHY_MAX, "%s%s: %s", what, where, zmq_strerror(code));
}

bool io_zmq_set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

void io_zmq_endpoint(const struct addr *addr, char ret[ZMQ_ENDPOINT_SIZE])
{
    char text[ADDR_TEXT_SIZE];
    snprintf(ret, ZMQ_ENDPOINT_SIZE, "tcp://%s", addr_text(addr, text));
}

/* ---- events for the loop ---------------------------------------------------------------------------- */

/* Takes the parcel. An UNSENT that finds no place is dropped: links may lose without a word. */
void io_zmq_event_push(struct io_zmq *z, enum link_event_kind kind, const struct link_dest *dest,
                       struct zparcel parcel)
{
    if (z->events_count == z->events_cap) {
        size_t cap = z->events_cap ? z->events_cap * 2 : 64;
        struct zevent *bigger = NULL;
        if (kind != LINK_UNSENT || cap <= IO_ZMQ_EVENTS_MAX)
            bigger = malloc(cap * sizeof *bigger);
        if (!bigger) {
            free(parcel.data);
            return;
        }
        for (size_t i = 0; i < z->events_count; i++)
            bigger[i] = z->events[(z->events_at + i) % z->events_cap];
        free(z->events);
        z->events = bigger;
        z->events_cap = cap;
        z->events_at = 0;
    }
    struct zevent *e = &z->events[(z->events_at + z->events_count++) % z->events_cap];
    e->kind = kind;
    e->dest = *dest;
    e->parcel = parcel;
}

void io_zmq_event_unsent(struct io_zmq *z, const struct link_dest *dest, struct span bytes)
{
    struct zparcel parcel = { malloc(bytes.size ? bytes.size : 1), bytes.size };
    z->count.unsent++;
    if (!parcel.data)
        return;
    memcpy(parcel.data, bytes.data, bytes.size);
    io_zmq_event_push(z, LINK_UNSENT, dest, parcel);
}

/* ---- the turn ---------------------------------------------------------------------------------------- */

void io_zmq_turn(struct io_zmq *z, uint64_t mono_ms)
{
    struct epoll_event events[ZEPOLL_BATCH];
    bool zap_waits = false;

    z->mono_ms = mono_ms;
    int n = epoll_wait(z->epoll, events, ZEPOLL_BATCH, 0);
    z->turn_more = n == ZEPOLL_BATCH;
    for (int i = 0; i < n; i++) {
        uint32_t who = events[i].data.u32;
        if (who == ZEPOLL_PULL)
            z->pull_more = true;
        else if (who == ZEPOLL_ZAP)
            zap_waits = true;
        else if (who == ZEPOLL_ACCEPT)
            continue; /* looked at each turn, as its descriptor tells only of the first */
        else
            zlink_wake(z, who);
    }
    if (io_zmq_accept_turn(z))
        z->turn_more = true;
    if (zap_waits && io_zap_turn(z->zap, mono_ms))
        z->turn_more = true;
    zlinks_look(z);
    zlinks_time_passes(z);
}

bool io_zmq_ready(struct io_zmq *z)
{
    if (z->touched_count)
        zlinks_look(z);
    return z->events_count > 0 || z->pull_more || z->turn_more || z->touched_count > 0;
}

uint64_t io_zmq_deadline_ms(const struct io_zmq *z) { return z->timer_ms; }

/* ---- receiving -------------------------------------------------------------------------------------- */

bool io_zmq_next(struct io_zmq *z, struct link_event *ret)
{
    free(z->given.data);
    z->given.data = NULL;
    if (z->events_count) {
        struct zevent *e = &z->events[z->events_at];
        z->events_at = (z->events_at + 1) % z->events_cap;
        z->events_count--;
        z->given = e->parcel;
        memset(ret, 0, sizeof *ret);
        ret->kind = e->kind;
        ret->dest = e->dest;
        ret->bytes = span(e->parcel.data, e->parcel.size);
        return true;
    }
    while (z->pull_more) {
        zmq_msg_close(&z->in);
        zmq_msg_init(&z->in);
        if (zmq_msg_recv(&z->in, z->pull, ZMQ_DONTWAIT) < 0) {
            z->pull_more = false; /* EAGAIN has looked into the mailbox: ZMQ_FD tells of the next one */
            return false;
        }
        const char *user = zmq_msg_gets(&z->in, "User-Id");
        memset(ret, 0, sizeof *ret);
        if (!user || hex_decode(ret->from_key, LINK_KEY_SIZE, user) || zmq_msg_more(&z->in)) {
            z->count.no_key++;
            continue;
        }
        z->count.received++;
        io_zmq_accept_heard(z, zmq_msg_get(&z->in, ZMQ_SRCFD));
        zlinks_heard(z, ret->from_key);
        ret->kind = LINK_RECEIVED;
        ret->bytes = span(zmq_msg_data(&z->in), zmq_msg_size(&z->in));
        return true;
    }
    return false;
}

/* ---- life ------------------------------------------------------------------------------------------- */

static bool pull_open(struct io_zmq *z)
{
    const int64_t message_max = LINK_MESSAGE_MAX + ZCURVE_OVERHEAD;
    struct epoll_event ev = { .events = EPOLLIN, .data.u32 = ZEPOLL_PULL };
    int fd;
    size_t size = sizeof fd;

    z->pull = zmq_socket(z->ctx, ZMQ_PULL);
    return z->pull && io_zmq_set_int(z->pull, ZMQ_LINGER, 0) &&
           io_zmq_set_int(z->pull, ZMQ_RCVHWM, IO_ZMQ_RECV_QUEUE) &&
           io_zmq_set_int(z->pull, ZMQ_BACKLOG, ZBACKLOG) &&
           io_zmq_set_int(z->pull, ZMQ_HANDSHAKE_IVL, IO_ZMQ_CONNECT_MS) &&
           io_zmq_set_int(z->pull, ZMQ_HEARTBEAT_IVL, IO_ZMQ_HEARTBEAT_MS) &&
           io_zmq_set_int(z->pull, ZMQ_HEARTBEAT_TIMEOUT, IO_ZMQ_HEARTBEAT_MS) &&
           zmq_setsockopt(z->pull, ZMQ_MAXMSGSIZE, &message_max, sizeof message_max) == 0 &&
           io_zmq_set_int(z->pull, ZMQ_CURVE_SERVER, 1) &&
           zmq_setsockopt(z->pull, ZMQ_CURVE_SECRETKEY, z->sk, LINK_KEY_SIZE) == 0 &&
           io_zmq_set_int(z->pull, IO_ZAP_ENFORCE_DOMAIN, 1) &&
           zmq_setsockopt(z->pull, ZMQ_ZAP_DOMAIN, IO_ZAP_DOMAIN, strlen(IO_ZAP_DOMAIN)) == 0 &&
           zmq_getsockopt(z->pull, ZMQ_FD, &fd, &size) == 0 &&
           epoll_ctl(z->epoll, EPOLL_CTL_ADD, fd, &ev) == 0;
}

int io_zmq_new(const uint8_t pk[LINK_KEY_SIZE], const uint8_t sk[LINK_KEY_SIZE], uint64_t mono_ms,
               struct io_zmq **ret, char ret_why[IO_ZMQ_WHY_MAX])
{
    struct io_zmq *z = calloc(1, sizeof *z);
    const char *what = "ZeroMQ";

    if (!z) {
        why_set(ret_why, what, "", ENOMEM);
        return CAM_ESYS;
    }
    memcpy(z->pk, pk, LINK_KEY_SIZE);
    memcpy(z->sk, sk, LINK_KEY_SIZE);
    z->mono_ms = mono_ms;
    z->pull_more = true; /* so that the first read arms ZMQ_FD */
    zmq_msg_init(&z->in);
    zlinks_init(z);
    z->epoll = epoll_create1(EPOLL_CLOEXEC);
    z->ctx = zmq_ctx_new();
    if (z->epoll < 0 || !z->ctx || zmq_ctx_set(z->ctx, ZMQ_IO_THREADS, 1) ||
        zmq_ctx_set(z->ctx, ZMQ_MAX_SOCKETS, ZSOCKETS_MAX))
        goto fail;
    what = "ZeroMQ's admission (ZAP)";
    if (io_zap_open(z->ctx, &z->zap))
        goto fail;
    if (io_zap_probe(z->zap, z->ctx)) {
        errno = EPERM; /* the handler was not asked or not obeyed: better no node than one open to all */
        goto fail;
    }
    struct epoll_event ev = { .events = EPOLLIN, .data.u32 = ZEPOLL_ZAP };
    if (epoll_ctl(z->epoll, EPOLL_CTL_ADD, io_zap_fd(z->zap), &ev))
        goto fail;
    what = "ZeroMQ's PULL";
    if (!pull_open(z) || !io_zmq_accept_open(z))
        goto fail;
    *ret = z;
    return 0;
fail:
    why_set(ret_why, what, "", zmq_errno());
    io_zmq_free(z);
    return CAM_ESYS;
}

void io_zmq_free(struct io_zmq *z)
{
    if (!z)
        return;
    zlinks_free(z, ZLINGER_MS);
    for (; z->events_count; z->events_count--, z->events_at = (z->events_at + 1) % z->events_cap)
        free(z->events[z->events_at].parcel.data);
    free(z->events);
    free(z->given.data);
    zmq_msg_close(&z->in);
    io_zmq_accept_close(z);
    if (z->pull)
        zmq_close(z->pull);
    /* The handler goes last: until then libzmq may ask it, and no answer would be a yes. */
    io_zap_close(z->zap);
    if (z->ctx)
        while (zmq_ctx_term(z->ctx) && zmq_errno() == EINTR) {}
    if (z->epoll >= 0)
        close(z->epoll);
    explicit_bzero(z, sizeof *z);
    free(z);
}

/* libzmq's own IPv6 listener takes IPv4 as well, so it cannot stand beside one for IPv4 at the same port: it
 * is given a socket that does not. -1 when there is none, with errno. */
static int listener_v6(const struct addr *addr)
{
    const int on = 1;
    struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_port = htons(addr->port) };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(&at.sin6_addr, addr->ip, sizeof addr->ip);
    if (fd >= 0 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, (const struct sockaddr *)&at, sizeof at) == 0 && listen(fd, ZBACKLOG) == 0)
        return fd;
    int code = errno;
    if (fd >= 0)
        close(fd);
    errno = code;
    return -1;
}

int io_zmq_bind(struct io_zmq *z, const struct addr *addr, char ret_why[IO_ZMQ_WHY_MAX])
{
    char endpoint[ZMQ_ENDPOINT_SIZE];
    int fd = -1;

    io_zmq_endpoint(addr, endpoint);
    bool bound = io_zmq_set_int(z->pull, ZMQ_IPV6, addr->family == 6) &&
                 (addr->family != 6 || (fd = listener_v6(addr)) >= 0) &&
                 io_zmq_set_int(z->pull, ZMQ_USE_FD, fd) &&
                 zmq_bind(z->pull, endpoint) == 0; /* from here on the descriptor is libzmq's */
    if (bound)
        return 0;
    why_set(ret_why, "cannot listen at ", endpoint, zmq_errno());
    if (fd >= 0)
        close(fd);
    return CAM_ESYS;
}

void io_zmq_unbind(struct io_zmq *z, const struct addr *addr)
{
    char endpoint[ZMQ_ENDPOINT_SIZE];
    io_zmq_endpoint(addr, endpoint);
    zmq_unbind(z->pull, endpoint);
}

void io_zmq_admit(struct io_zmq *z, bool (*admits)(void *ctx, const uint8_t key[LINK_KEY_SIZE]), void *ctx)
{
    io_zap_admit(z->zap, admits, ctx);
}

int io_zmq_fd(const struct io_zmq *z) { return z->epoll; }
void *io_zmq_context(struct io_zmq *z) { return z->ctx; }
void io_zmq_counters(const struct io_zmq *z, struct io_zmq_counters *ret) { *ret = z->count; }
int io_zmq_open_count(const struct io_zmq *z) { return z->open_count; }
