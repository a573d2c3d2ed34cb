#include "cli/io_rescue.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "cli/io_resolve.h"
#include "core/err.h"
#include "core/io_udp.h"
#include "core/now.h"

#define SOCKETS 2 /* one for each address family */

struct io_rescue {
    int epoll;
    struct io_udp udp[SOCKETS];
    bool open[SOCKETS], more[SOCKETS];
    struct io_udp_batch *batch; /* NULL while closed */
    int batch_count, batch_at;
    struct io_resolve *resolve;
};

int io_rescue_new(struct io_rescue **ret)
{
    struct io_rescue *r = calloc(1, sizeof *r);

    if (!r)
        return CAM_ESYS;
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (r->epoll < 0) {
        free(r);
        return CAM_ESYS;
    }
    *ret = r;
    return 0;
}

void io_rescue_close(struct io_rescue *r)
{
    for (int i = 0; i < SOCKETS; i++) {
        if (r->open[i])
            io_udp_close(&r->udp[i]); /* a closed descriptor leaves the epoll set by itself */
        r->open[i] = r->more[i] = false;
    }
    io_udp_batch_free(r->batch);
    r->batch = NULL;
    r->batch_count = r->batch_at = 0;
    io_resolve_close(r->resolve);
    r->resolve = NULL;
}

void io_rescue_free(struct io_rescue *r)
{
    if (!r)
        return;
    io_rescue_close(r);
    close(r->epoll);
    free(r);
}

static int watch(struct io_rescue *r, int fd)
{
    struct epoll_event ev = { .events = EPOLLIN };
    return epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &ev) ? CAM_ESYS : 0;
}

static void open_socket(struct io_rescue *r, int i, const struct addr *listen)
{
    struct addr at = *listen;

    at.port = 0;
    if (!at.family || io_udp_open(&at, &r->udp[i]))
        return;
    if (watch(r, r->udp[i].fd)) {
        io_udp_close(&r->udp[i]);
        return;
    }
    r->open[i] = r->more[i] = true;
}

int io_rescue_open(struct io_rescue *r, const struct addr *listen, const struct addr *listen6,
                   const struct conf_host *routers, int count, uint64_t mono_ms)
{
    r->batch = io_udp_batch_new();
    open_socket(r, 0, listen);
    open_socket(r, 1, listen6);
    int err = !r->batch || (!r->open[0] && !r->open[1]) ? CAM_ESYS : io_resolve_open(&r->resolve);
    if (!err)
        err = watch(r, io_resolve_fd(r->resolve));
    for (int i = 0; i < count && !err; i++)
        err = io_resolve_add(r->resolve, &routers[i], mono_ms);
    if (err)
        io_rescue_close(r);
    return err;
}

int io_rescue_fd(const struct io_rescue *r) { return r->epoll; }
bool io_rescue_ready(const struct io_rescue *r) { return r->more[0] || r->more[1]; }

uint64_t io_rescue_deadline_ms(const struct io_rescue *r)
{
    return r->resolve ? io_resolve_deadline_ms(r->resolve) : NOW_NEVER;
}

void io_rescue_turn(struct io_rescue *r, uint64_t mono_ms)
{
    if (r->resolve)
        io_resolve_turn(r->resolve, mono_ms);
    for (int i = 0; i < SOCKETS; i++)
        r->more[i] = r->open[i];
}

bool io_rescue_router(struct io_rescue *r, struct addr *ret)
{
    return r->resolve && io_resolve_next(r->resolve, ret);
}

bool io_rescue_next(struct io_rescue *r, struct addr *ret_from, struct span *ret_data)
{
    while (r->batch_at == r->batch_count) {
        int i = r->more[0] ? 0 : 1;
        if (!r->more[i])
            return false;
        r->batch_at = 0;
        r->batch_count = io_udp_recv(&r->udp[i], r->batch);
        if (r->batch_count < IO_UDP_BATCH)
            r->more[i] = false;
    }
    const struct io_udp_in *in = &r->batch->in[r->batch_at++];
    *ret_from = in->peer;
    *ret_data = span(in->data, in->size);
    return true;
}

void io_rescue_send(struct io_rescue *r, const struct addr *to, struct span data)
{
    for (int i = 0; i < SOCKETS; i++)
        if (r->open[i] && r->udp[i].addr.family == to->family)
            io_udp_send(&r->udp[i], r->batch, to, data.data, data.size);
}

void io_rescue_flush(struct io_rescue *r)
{
    if (r->batch)
        io_udp_flush(r->batch);
}
