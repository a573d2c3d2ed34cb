#include "core/io_sntp.h"
#include "core/err.h"
#include "core/io_os.h"
#include "core/io_resolve.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RESOLVE_AGAIN_MIN_MS 30000
#define RESOLVE_AGAIN_MAX_MS 1024000
#define READ_MAX 8   /* datagrams taken from a socket in one turn: one is ours, the rest is a flood */
#define RESOLVER_TAG SNTP_SERVERS_MAX

struct server {
    struct conf_host host;
    struct addr addrs[IO_RESOLVE_ADDRS_MAX];
    int addr_count, addr_at;
    int unanswered;           /* queries to this address in a row */
    bool resolving;
    uint64_t resolve_ms;      /* when to resolve it again; NOW_NEVER */
    uint64_t resolve_wait_ms; /* how long the next failure makes us wait */
    int fd;                   /* of the query under way; -1 */
};

struct io_sntp {
    struct sntp *clock;
    struct io_resolver *resolver;
    int epoll_fd;
    int stamp_fd;             /* see stamps_on */
    int count;
    struct server server[SNTP_SERVERS_MAX];
};

static int watch(struct io_sntp *t, int fd, int tag)
{
    struct epoll_event event = { .events = EPOLLIN, .data = { .u32 = (uint32_t)tag } };
    return epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? CAM_ESYS : 0;
}

static void query_close(struct server *v)
{
    if (v->fd >= 0)
        close(v->fd);
    v->fd = -1;
}

/* Names */

static void resolve(struct io_sntp *t, int i, struct now now)
{
    struct server *v = &t->server[i];
    if (v->resolving)
        return;
    v->resolving = io_resolver_ask(t->resolver, &v->host, i) == 0;
    v->resolve_ms = v->resolving ? NOW_NEVER : now.mono_ms + RESOLVE_AGAIN_MIN_MS;
}

static void take_resolved(struct io_sntp *t, struct now now)
{
    struct io_resolved got;
    while (io_resolver_next(t->resolver, &got)) {
        struct server *v = &t->server[got.tag];
        v->resolving = false;
        if (got.count) {
            memcpy(v->addrs, got.addrs, sizeof v->addrs);
            v->addr_count = got.count;
            v->addr_at = 0;
            v->unanswered = 0;
            v->resolve_wait_ms = RESOLVE_AGAIN_MIN_MS;
            sntp_set_up(t->clock, got.tag, true, now);
        } else { /* what was known before stays in use */
            v->resolve_ms = now.mono_ms + v->resolve_wait_ms;
            if (v->resolve_wait_ms * 2 <= RESOLVE_AGAIN_MAX_MS)
                v->resolve_wait_ms *= 2;
        }
    }
}

/* The next address of a silent server; after the last, the name is looked up again: pools change. */
static void rotate(struct io_sntp *t, int i, struct now now)
{
    struct server *v = &t->server[i];
    struct addr numeric;
    v->unanswered = 0;
    if (++v->addr_at < v->addr_count)
        return;
    v->addr_at = 0;
    if (io_resolve_numeric(&v->host, &numeric) != 0)
        resolve(t, i, now);
}

/* Queries */

static socklen_t to_sock(const struct addr *a, struct sockaddr_storage *ret)
{
    union { struct sockaddr_storage *any; struct sockaddr_in *v4; struct sockaddr_in6 *v6; } sock = { ret };
    memset(ret, 0, sizeof *ret);
    if (a->family == 4) {
        sock.v4->sin_family = AF_INET;
        sock.v4->sin_port = htons(a->port);
        memcpy(&sock.v4->sin_addr, a->ip, 4);
        return sizeof *sock.v4;
    }
    sock.v6->sin6_family = AF_INET6;
    sock.v6->sin6_port = htons(a->port);
    memcpy(&sock.v6->sin6_addr, a->ip, 16);
    return sizeof *sock.v6;
}

/* The kernel begins to stamp what arrives a moment after the first socket asks for it, and ends with the
 * last; a query's own socket would ask too late. This one asks for as long as we live. */
static int stamps_on(void)
{
    int on = 1, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    return fd; /* without it the time is a little less exact, no more */
}

/* A fresh socket: the kernel picks a port that nobody can know beforehand (RFC 9109). */
static int query_open(struct io_sntp *t, int i)
{
    struct server *v = &t->server[i];
    struct sockaddr_storage to;
    socklen_t size = to_sock(&v->addrs[v->addr_at], &to);
    int on = 1;
    query_close(v);
    v->fd = socket(to.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (v->fd < 0)
        return CAM_ESYS;
    union { const struct sockaddr_storage *any; const struct sockaddr *sock; } name = { &to };
    setsockopt(v->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    if (connect(v->fd, name.sock, size) < 0 || watch(t, v->fd, i)) {
        query_close(v);
        return CAM_ENET;
    }
    return 0;
}

static void query_send(struct io_sntp *t, const struct sntp_query *q, struct now now)
{
    struct server *v = &t->server[q->server];
    if (v->unanswered >= SNTP_SAMPLES)
        rotate(t, q->server, now);
    v->unanswered++;
    for (int tries = v->addr_count; tries > 0; tries--) { /* IPv6 without a route is known at once */
        if (query_open(t, q->server) == 0) {
            uint64_t t1_us = io_os_mono_us();
            if (send(v->fd, q->packet, sizeof q->packet, MSG_NOSIGNAL) == sizeof q->packet) {
                sntp_sent(t->clock, q->server, t1_us);
                return;
            }
        }
        rotate(t, q->server, now);
    }
    query_close(v);
    sntp_failed(t->clock, now, q->server);
}

/* When the datagram reached the machine, on the monotonic clock: the kernel's stamp is of the wall clock, so
 * what counts is how long ago that was. The loop may have been busy meanwhile. */
static uint64_t arrival_us(struct msghdr *msg)
{
    uint64_t mono_us = io_os_mono_us(), wall_ns = io_os_wall_ns();
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        struct timespec ts;
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
            continue;
        memcpy(&ts, CMSG_DATA(c), sizeof ts);
        uint64_t stamp_ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
        if (stamp_ns <= wall_ns && wall_ns - stamp_ns < 1000000000)
            return mono_us - (wall_ns - stamp_ns) / 1000;
    }
    return mono_us;
}

static void query_read(struct io_sntp *t, int i, struct now now)
{
    struct server *v = &t->server[i];
    uint8_t buf[SNTP_PACKET_SIZE + 1]; /* one more, so that a longer one is seen to be longer */
    char control[CMSG_SPACE(sizeof(struct timespec)) + 64];
    for (int n = 0; v->fd >= 0 && n < READ_MAX; n++) {
        struct iovec iov = { buf, sizeof buf };
        struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
                              .msg_controllen = sizeof control };
        ssize_t size = recvmsg(v->fd, &msg, MSG_DONTWAIT);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (size < 0) { /* nobody listens there */
            query_close(v);
            if (sntp_is_waiting(t->clock, i))
                sntp_failed(t->clock, now, i);
            return;
        }
        if (sntp_recv(t->clock, now, i, buf, (size_t)size, arrival_us(&msg)) == 0)
            v->unanswered = 0;
        if (!sntp_is_waiting(t->clock, i))
            query_close(v);
    }
}

/* The whole */

int io_sntp_new(const struct conf_host *servers, int count, const struct sntp_timing *timing, struct now now,
                struct io_sntp **ret)
{
    struct rng rng = io_os_rng();
    if (count < 1 || count > SNTP_SERVERS_MAX)
        return CAM_EINVAL;
    struct io_sntp *t = calloc(1, sizeof *t);
    if (!t)
        return CAM_ESYS;
    t->count = count;
    for (int i = 0; i < count; i++)
        t->server[i] = (struct server){ .host = servers[i], .fd = -1, .resolve_ms = NOW_NEVER,
                                        .resolve_wait_ms = RESOLVE_AGAIN_MIN_MS };
    t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    t->stamp_fd = stamps_on();
    t->clock = sntp_new(count, &rng, timing, now);
    if (t->epoll_fd < 0 || !t->clock || io_resolver_new(&t->resolver) ||
        watch(t, io_resolver_fd(t->resolver), RESOLVER_TAG)) {
        io_sntp_free(t);
        return CAM_ESYS;
    }
    for (int i = 0; i < count; i++)
        resolve(t, i, now);
    *ret = t;
    return 0;
}

void io_sntp_free(struct io_sntp *t)
{
    if (!t)
        return;
    for (int i = 0; i < t->count; i++)
        query_close(&t->server[i]);
    io_resolver_free(t->resolver);
    sntp_free(t->clock);
    if (t->stamp_fd >= 0)
        close(t->stamp_fd);
    if (t->epoll_fd >= 0)
        close(t->epoll_fd);
    free(t);
}

int io_sntp_fd(const struct io_sntp *t)
{
    return t->epoll_fd;
}

uint64_t io_sntp_deadline_ms(const struct io_sntp *t)
{
    uint64_t at = sntp_deadline_ms(t->clock);
    for (int i = 0; i < t->count; i++)
        at = t->server[i].resolve_ms < at ? t->server[i].resolve_ms : at;
    return at;
}

void io_sntp_turn(struct io_sntp *t, struct now now)
{
    struct epoll_event events[SNTP_SERVERS_MAX + 1];
    struct sntp_query q;
    int n = epoll_wait(t->epoll_fd, events, SNTP_SERVERS_MAX + 1, 0);
    for (int i = 0; i < n; i++) {
        if (events[i].data.u32 == RESOLVER_TAG)
            take_resolved(t, now);
        else
            query_read(t, (int)events[i].data.u32, now);
    }
    for (int i = 0; i < t->count; i++)
        if (now.mono_ms >= t->server[i].resolve_ms)
            resolve(t, i, now);
    sntp_tick(t->clock, now);
    while (sntp_next_out(t->clock, &q))
        query_send(t, &q, now);
    for (int i = 0; i < t->count; i++)
        if (!sntp_is_waiting(t->clock, i))
            query_close(&t->server[i]);
}

const struct sntp *io_sntp_clock(const struct io_sntp *t)
{
    return t->clock;
}
