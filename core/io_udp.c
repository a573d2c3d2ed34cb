#include "core/io_udp.h"
#include "core/err.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union sock_addr {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* One direction: message headers that point at their own slots, set up once. */
struct slots {
    struct mmsghdr msg[IO_UDP_BATCH];
    struct iovec iov[IO_UDP_BATCH];
    union sock_addr addr[IO_UDP_BATCH];
    uint8_t data[IO_UDP_BATCH][IO_UDP_DATAGRAM_MAX];
};

struct io_udp_buffers {
    struct slots in, out;
    int out_fd;              /* whose datagrams wait in `out`; -1 for nobody's */
    int out_first, out_end;  /* slots [first, end) wait */
    int in_used;             /* slots the kernel wrote to at the last receiving */
};

static socklen_t to_sock(const struct addr *a, union sock_addr *ret)
{
    memset(ret, 0, sizeof *ret);
    if (a->family == 4) {
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = htons(a->port);
        memcpy(&ret->v4.sin_addr, a->ip, 4);
        return sizeof ret->v4;
    }
    ret->v6.sin6_family = AF_INET6;
    ret->v6.sin6_port = htons(a->port);
    memcpy(&ret->v6.sin6_addr, a->ip, 16);
    return sizeof ret->v6;
}

static void from_sock(const union sock_addr *s, struct addr *ret)
{
    memset(ret, 0, sizeof *ret);
    if (s->any.sa_family == AF_INET) {
        ret->family = 4;
        ret->port = ntohs(s->v4.sin_port);
        memcpy(ret->ip, &s->v4.sin_addr, 4);
    } else if (s->any.sa_family == AF_INET6) {
        ret->family = 6;
        ret->port = ntohs(s->v6.sin6_port);
        memcpy(ret->ip, &s->v6.sin6_addr, 16);
    }
}

static void slots_init(struct slots *s)
{
    for (int i = 0; i < IO_UDP_BATCH; i++) {
        s->iov[i] = (struct iovec){ s->data[i], IO_UDP_DATAGRAM_MAX };
        s->msg[i].msg_hdr = (struct msghdr){ .msg_name = &s->addr[i], .msg_namelen = sizeof s->addr[i],
                                             .msg_iov = &s->iov[i], .msg_iovlen = 1 };
    }
}

struct io_udp_batch *io_udp_batch_new(void)
{
    struct io_udp_batch *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->buffers = calloc(1, sizeof *b->buffers);
    if (!b->buffers) {
        free(b);
        return NULL;
    }
    slots_init(&b->buffers->in);
    slots_init(&b->buffers->out);
    b->buffers->out_fd = -1;
    return b;
}

void io_udp_batch_free(struct io_udp_batch *b)
{
    if (b)
        free(b->buffers);
    free(b);
}

/* The forced form passes the system's limit where we may; the other takes what the limit allows. */
static void set_buffer(int fd, int forced, int plain)
{
    int bytes = IO_UDP_BUFFER_BYTES;
    if (setsockopt(fd, SOL_SOCKET, forced, &bytes, sizeof bytes) < 0)
        setsockopt(fd, SOL_SOCKET, plain, &bytes, sizeof bytes);
}

int io_udp_open(const struct addr *listen, struct io_udp *ret)
{
    union sock_addr sock;
    struct io_udp u;
    int on = 1, fragment = IP_PMTUDISC_DONT;
    if (listen->family != 4 && listen->family != 6)
        return CAM_EINVAL;
    socklen_t size = to_sock(listen, &sock);
    u.fd = socket(sock.any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (u.fd < 0)
        return CAM_ESYS;
    if (listen->family == 6 && setsockopt(u.fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0)
        goto fail;
    /* On a path narrower than our 1,232 bytes a datagram in pieces is better than none. */
    if (listen->family == 4)
        setsockopt(u.fd, IPPROTO_IP, IP_MTU_DISCOVER, &fragment, sizeof fragment);
    set_buffer(u.fd, SO_RCVBUFFORCE, SO_RCVBUF);
    set_buffer(u.fd, SO_SNDBUFFORCE, SO_SNDBUF);
    if (bind(u.fd, &sock.any, size) < 0)
        goto fail;
    size = sizeof sock;
    if (getsockname(u.fd, &sock.any, &size) < 0)
        goto fail;
    from_sock(&sock, &u.addr);
    *ret = u;
    return 0;
fail:;
    int saved = errno;
    close(u.fd);
    errno = saved;
    return CAM_ESYS;
}

void io_udp_close(struct io_udp *u)
{
    if (u->fd >= 0)
        close(u->fd);
    u->fd = -1;
}

int io_udp_recv(const struct io_udp *u, struct io_udp_batch *b)
{
    struct slots *s = &b->buffers->in;
    int got, count = 0, tries = 0;
    for (int i = 0; i < b->buffers->in_used; i++)
        s->msg[i].msg_hdr.msg_namelen = sizeof s->addr[i]; /* the kernel wrote the last one's size there */
    do
        got = recvmmsg(u->fd, s->msg, IO_UDP_BATCH, MSG_DONTWAIT, NULL);
    while (got < 0 && errno != EAGAIN && ++tries < 4); /* an ICMP error of an earlier send comes out here */
    b->buffers->in_used = got > 0 ? got : 0;
    for (int i = 0; i < got; i++) {
        if (s->msg[i].msg_hdr.msg_flags & MSG_TRUNC) {
            b->count.oversize++;
            continue;
        }
        struct io_udp_in *in = &b->in[count++];
        from_sock(&s->addr[i], &in->peer);
        in->data = s->data[i];
        in->size = s->msg[i].msg_len;
    }
    b->count.received += (uint64_t)count;
    return count;
}

void io_udp_flush(struct io_udp_batch *b)
{
    struct io_udp_buffers *q = b->buffers;
    while (q->out_first < q->out_end) {
        int sent = sendmmsg(q->out_fd, q->out.msg + q->out_first, (unsigned)(q->out_end - q->out_first),
                            MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            b->count.sent += (uint64_t)sent;
            q->out_first += sent;
        } else if (errno == EAGAIN || errno == ENOBUFS) {
            return; /* they wait for the next flush */
        } else if (errno != EINTR && errno != ECONNREFUSED) {
            b->count.refused++; /* this one cannot go; the others may */
            q->out_first++;
        }
    }
    q->out_first = q->out_end = 0;
    q->out_fd = -1;
}

int io_udp_pending(const struct io_udp_batch *b)
{
    return b->buffers->out_end - b->buffers->out_first;
}

int io_udp_send(const struct io_udp *u, struct io_udp_batch *b, const struct addr *to, const void *data,
                size_t size)
{
    struct io_udp_buffers *q = b->buffers;
    if (to->family != u->addr.family || size > IO_UDP_DATAGRAM_MAX)
        return CAM_EINVAL;
    if (q->out_end == IO_UDP_BATCH || (q->out_fd >= 0 && q->out_fd != u->fd)) {
        io_udp_flush(b);
        if (io_udp_pending(b)) { /* the kernel takes no more, and waiting is not ours to do */
            b->count.dropped++;
            return CAM_EFULL;
        }
    }
    int slot = q->out_end++;
    q->out_fd = u->fd;
    q->out.msg[slot].msg_hdr.msg_namelen = to_sock(to, &q->out.addr[slot]);
    q->out.iov[slot].iov_len = size;
    memcpy(q->out.data[slot], data, size);
    return 0;
}
