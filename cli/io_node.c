#include "cli/io_node.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "cli/io_api.h"
#include "cli/io_rescue.h"
#include "cli/io_resolve.h"
#include "cli/node.h"
#include "core/err.h"
#include "core/io_os.h"
#include "core/io_sntp.h"
#include "core/io_udp.h"
#include "timeline/io_zmq.h"

#define NODE_SOCKETS 2        /* one for each address family */
#define NODE_WAIT_MAX_MS 5000 /* a laptop that slept: epoll's clock stood still, ours did not */
#define NODE_FAILED_WAIT_MS 250

enum {
    WAIT_UDP = 0, WAIT_LINKS = NODE_SOCKETS, WAIT_API, WAIT_SNTP, WAIT_RESOLVE, WAIT_RESCUE, WAIT_SIGNAL,
    WAIT_KINDS
};

struct io_node {
    const struct io_node_config *config;
    int lock, epoll, signals;
    struct store *store;
    struct transport transport;
    struct io_zmq *links;
    struct io_api_server *api;
    struct io_sntp *sntp;
    struct io_resolve *resolve;
    struct io_rescue *rescue;
    struct io_udp udp[NODE_SOCKETS];
    bool udp_open[NODE_SOCKETS], udp_more[NODE_SOCKETS];
    struct io_udp_batch *batch;
    int batch_count, batch_at;
    struct addr address;
    bool moved, sntp_due, clock_synced, resolve_due, rescue_due, stop, api_watched;
    uint64_t turn_began_us;
    struct rng rng;
    struct node_io io;
    struct node_public_io public_io;
    struct node *node;
};

/* ---- the table of functions for node_turn ----------------------------------------------------------- */

static bool udp_next(void *ctx, struct addr *ret_from, struct span *ret_data)
{
    struct io_node *n = ctx;
    while (n->batch_at == n->batch_count) {
        int i = n->udp_more[0] ? 0 : 1;
        if (!n->udp_more[i])
            return false;
        n->batch_at = 0;
        n->batch_count = io_udp_recv(&n->udp[i], n->batch);
        if (n->batch_count < IO_UDP_BATCH)
            n->udp_more[i] = false;
    }
    const struct io_udp_in *in = &n->batch->in[n->batch_at++];
    *ret_from = in->peer;
    *ret_data = span(in->data, in->size);
    return true;
}

static void udp_send(void *ctx, const struct addr *to, struct span data)
{
    struct io_node *n = ctx;
    for (int i = 0; i < NODE_SOCKETS; i++)
        if (n->udp_open[i] && n->udp[i].addr.family == to->family)
            io_udp_send(&n->udp[i], n->batch, to, data.data, data.size);
}

static bool link_next(void *ctx, struct link_event *ret_event)
{
    struct io_node *n = ctx;
    return io_zmq_next(n->links, ret_event);
}

static void link_send(void *ctx, const struct link_send *send)
{
    struct io_node *n = ctx;
    io_zmq_send(n->links, send);
}

static bool api_next(void *ctx, uint64_t *ret_client, struct span *ret_text)
{
    struct io_node *n = ctx;
    const char *text;
    size_t size;
    if (!n->api || !io_api_next(n->api, ret_client, &text, &size))
        return false;
    *ret_text = span(text, size);
    return true;
}

static int api_send(void *ctx, uint64_t client, struct span text)
{
    struct io_node *n = ctx;
    return io_api_reply(n->api, client, (const char *)text.data, text.size);
}

static bool spent(void *ctx)
{
    const struct io_node *n = ctx;
    return io_os_mono_us() - n->turn_began_us >= NODE_TURN_MS * 1000;
}

static void flush(void *ctx)
{
    struct io_node *n = ctx;
    io_udp_flush(n->batch);
}

static int public_open(void *ctx)
{
    struct io_node *n = ctx;
    const struct conf *conf = n->config->conf;
    return io_rescue_open(n->rescue, &conf->listen, &conf->listen6, conf->rescue_join,
                          conf->rescue_join_count, io_os_now().mono_ms);
}

static void public_close(void *ctx)
{
    struct io_node *n = ctx;
    io_rescue_close(n->rescue);
}

static bool public_next(void *ctx, struct addr *ret_from, struct span *ret_data)
{
    struct io_node *n = ctx;
    return io_rescue_next(n->rescue, ret_from, ret_data);
}

static void public_send(void *ctx, const struct addr *to, struct span data)
{
    struct io_node *n = ctx;
    io_rescue_send(n->rescue, to, data);
}

static void public_flush(void *ctx)
{
    struct io_node *n = ctx;
    io_rescue_flush(n->rescue);
}

static bool admits(void *ctx, const uint8_t key[LINK_KEY_SIZE])
{
    const struct io_node *n = ctx;
    return node_admits(n->node, key);
}

/* ---- sockets ---------------------------------------------------------------------------------------- */

static void sockets_close(struct io_node *n, int tcp_bound)
{
    for (int i = 0; i < NODE_SOCKETS; i++) {
        if (!n->udp_open[i])
            continue;
        if (i < tcp_bound)
            io_zmq_unbind(n->links, &n->udp[i].addr);
        io_udp_close(&n->udp[i]);
        n->udp_open[i] = false;
    }
}

/* UDP and TCP at the same port, for one or two families. The first family may ask for any port (0). */
static int sockets_open(struct io_node *n, uint16_t port, char ret_why[HOME_WHY_MAX])
{
    struct addr want[NODE_SOCKETS] = { n->config->conf->listen, n->config->conf->listen6 };
    char text[ADDR_TEXT_SIZE], why[IO_ZMQ_WHY_MAX];
    int bound = 0;

    for (int i = 0; i < NODE_SOCKETS; i++) {
        if (!want[i].family)
            continue;
        want[i].port = i == 0 ? port : n->udp[0].addr.port;
        errno = 0;
        int err = io_udp_open(&want[i], &n->udp[i]);
        if (err) {
            snprintf(ret_why, HOME_WHY_MAX, "cannot listen at %s (UDP): %s", addr_text(&want[i], text),
                     errno ? strerror(errno) : err_text(err));
        } else {
            n->udp_open[i] = n->udp_more[i] = true;
            err = io_zmq_bind(n->links, &n->udp[i].addr, why);
            if (err)
                snprintf(ret_why, HOME_WHY_MAX, "%s", why);
        }
        if (err) {
            sockets_close(n, bound);
            return CAM_ESYS;
        }
        bound = i + 1;
    }
    n->address = n->udp[0].addr;
    return 0;
}

static int sockets_find(struct io_node *n, char ret_why[HOME_WHY_MAX])
{
    uint16_t port = n->config->conf->listen.port;
    int err = sockets_open(n, port, ret_why);

    if (err && port && !n->config->may_move) {
        size_t used = strlen(ret_why);
        snprintf(ret_why + used, HOME_WHY_MAX - used,
                 "; another port: --listen HOST:PORT, 0 picks a free one");
        return err;
    }
    n->moved = err && port;
    /* A port that is free for UDP may be taken for TCP: the next try gets another. */
    for (int i = 0; err && i < IO_NODE_PORT_TRIES; i++)
        err = sockets_open(n, 0, ret_why);
    return err;
}

static int watch(struct io_node *n, int fd, uint32_t what)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.u32 = what };
    return epoll_ctl(n->epoll, EPOLL_CTL_ADD, fd, &ev) ? CAM_ESYS : 0;
}

static int watch_all(struct io_node *n)
{
    sigset_t set;
    int err = 0;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    n->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (n->signals < 0)
        return CAM_ESYS;
    for (int i = 0; i < NODE_SOCKETS && !err; i++)
        if (n->udp_open[i])
            err = watch(n, n->udp[i].fd, WAIT_UDP + (uint32_t)i);
    if (!err)
        err = watch(n, io_zmq_fd(n->links), WAIT_LINKS);
    if (!err)
        err = watch(n, io_api_server_fd(n->api), WAIT_API);
    n->api_watched = true;
    if (!err && n->sntp)
        err = watch(n, io_sntp_fd(n->sntp), WAIT_SNTP);
    if (!err)
        err = watch(n, io_resolve_fd(n->resolve), WAIT_RESOLVE);
    if (!err)
        err = watch(n, io_rescue_fd(n->rescue), WAIT_RESCUE);
    if (!err)
        err = watch(n, n->signals, WAIT_SIGNAL);
    return err;
}

/* ---- opening ---------------------------------------------------------------------------------------- */

static struct now clocks(const struct io_node *n)
{
    struct now now = io_os_now();
    if (n->sntp)
        now.wall_ms = sntp_wall_ms(io_sntp_clock(n->sntp), now);
    return now;
}

static int lock_home(struct io_node *n, char ret_why[HOME_WHY_MAX])
{
    const struct io_home *home = n->config->home;
    pid_t pid = 0;
    int err = io_os_lock(home->lock, &n->lock);

    if (err == CAM_EAGAIN) {
        io_os_lock_holder(home->lock, &pid);
        snprintf(ret_why, HOME_WHY_MAX, "a node runs in %s already (pid %d): camellia status", home->dir,
                 (int)pid);
    } else if (err) {
        snprintf(ret_why, HOME_WHY_MAX, "cannot lock %s: %s", home->lock, strerror(errno));
    }
    return err;
}

static int open_store(struct io_node *n, char ret_why[HOME_WHY_MAX])
{
    char message[STORE_MESSAGE_SIZE];
    int err = store_open(n->config->home->store, &n->store, message);
    if (err)
        snprintf(ret_why, HOME_WHY_MAX, "%s", message);
    return err;
}

static int open_links(struct io_node *n, char ret_why[HOME_WHY_MAX])
{
    char why[IO_ZMQ_WHY_MAX];
    int err = io_zmq_new(n->transport.pk, n->transport.sk, io_os_now().mono_ms, &n->links, why);
    if (err)
        snprintf(ret_why, HOME_WHY_MAX, "%s", why);
    return err;
}

static int open_helpers(struct io_node *n, struct now now)
{
    const struct conf *conf = n->config->conf;
    int err = io_resolve_open(&n->resolve);

    if (!err)
        err = io_rescue_new(&n->rescue);
    if (!err && conf->sntp_count)
        err = io_sntp_new(conf->sntp, conf->sntp_count, NULL, now, &n->sntp);
    for (int i = 0; !err && i < conf->join_count; i++)
        err = io_resolve_add(n->resolve, &conf->join[i], now.mono_ms);
    for (int i = 0; !err && i < n->config->join_count; i++)
        err = io_resolve_add(n->resolve, &n->config->join[i], now.mono_ms);
    return err;
}

static int open_node(struct io_node *n, char ret_why[HOME_WHY_MAX])
{
    const struct conf *conf = n->config->conf;
    struct node_config config = {
        .kad = { .network = conf->network,
                 .read_only = conf->read_only,
                 .k = (uint8_t)conf->k,
                 .alpha = (uint8_t)conf->alpha },
        .timeline = { .listen = n->address,
                      .lifespan_s = conf->lifespan_s,
                      .store_bytes_max = conf->store_max_bytes,
                      .synced_clock_expected = n->sntp != NULL },
        .log = n->config->log,
        .clock = n->sntp ? io_sntp_clock(n->sntp) : NULL,
        .address = n->address,
        .pid = getpid(),
        .stays = n->config->stays,
        .public_io = &n->public_io,
        .rescue_after_ms = conf->rescue ? (uint64_t)conf->rescue_after_s * 1000 : 0,
    };
    for (int i = 0; i < NODE_SOCKETS; i++) {
        if (!n->udp_open[i])
            continue;
        if (n->udp[i].addr.family == 4)
            config.kad.use_v4 = true;
        else
            config.kad.use_v6 = true;
    }
    memcpy(config.timeline.transport_pk, n->transport.pk, LINK_KEY_SIZE);
    n->public_io =
        (struct node_public_io){ n, public_open, public_close, public_next, public_send, public_flush };
    n->io = (struct node_io){ n, udp_next, udp_send, link_next, link_send, api_next, api_send, spent, flush };
    int err = node_new(&config, n->store, &n->io, &n->rng, clocks(n), &n->node);
    if (err)
        snprintf(ret_why, HOME_WHY_MAX, "cannot take up what %s holds: %s", n->config->home->store,
                 err_text(err));
    else
        io_zmq_admit(n->links, admits, n);
    return err;
}

int io_node_open(const struct io_node_config *config, struct io_node **ret, char ret_why[HOME_WHY_MAX])
{
    struct io_node *n = calloc(1, sizeof *n);

    snprintf(ret_why, HOME_WHY_MAX, "%s", err_text(CAM_ESYS));
    if (!n)
        return CAM_ESYS;
    n->config = config;
    n->lock = n->signals = -1;
    n->rng = io_os_rng();
    n->epoll = epoll_create1(EPOLL_CLOEXEC);
    n->batch = io_udp_batch_new();
    int err = n->epoll < 0 || !n->batch ? CAM_ESYS : 0;
    if (!err)
        err = lock_home(n, ret_why);
    if (!err)
        err = open_store(n, ret_why);
    if (!err)
        err = home_transport(config->home, &n->rng, &n->transport, ret_why);
    if (!err)
        err = open_links(n, ret_why);
    if (!err)
        err = sockets_find(n, ret_why);
    if (!err)
        err = open_helpers(n, io_os_now());
    if (!err)
        err = open_node(n, ret_why);
    if (!err)
        err = io_api_bind(config->home, io_zmq_context(n->links), &n->api, ret_why);
    if (!err)
        err = watch_all(n);
    if (err) {
        io_node_close(n);
        return err;
    }
    if (home_set_address(config->home, &n->address)) {
        char text[ADDR_TEXT_SIZE];
        log_write(config->log, LOG_WARN, io_os_now().wall_ms, "node",
                  "%s is not remembered for the next start", addr_text(&n->address, text));
    }
    *ret = n;
    return 0;
}

struct addr io_node_address(const struct io_node *n) { return n->address; }
bool io_node_moved(const struct io_node *n) { return n->moved; }

void io_node_close(struct io_node *n)
{
    if (!n)
        return;
    if (n->node && n->api && node_close(n->node, clocks(n)))
        log_write(n->config->log, LOG_ERROR, io_os_now().wall_ms, "store",
                  "the last turn could not be written");
    if (n->links)
        io_zmq_admit(n->links, NULL, NULL);
    io_api_unbind(n->api);
    node_free(n->node);
    io_resolve_close(n->resolve);
    io_rescue_free(n->rescue);
    io_sntp_free(n->sntp);
    for (int i = 0; i < NODE_SOCKETS; i++)
        if (n->udp_open[i])
            io_udp_close(&n->udp[i]);
    io_udp_batch_free(n->batch);
    io_zmq_free(n->links);
    transport_clear(&n->transport);
    store_close(n->store);
    if (n->signals >= 0)
        close(n->signals);
    if (n->epoll >= 0)
        close(n->epoll);
    io_os_unlock(n->lock); /* last: whoever gets it finds everything free */
    free(n);
}

/* ---- running ---------------------------------------------------------------------------------------- */

/* Without room for requests they wait in their sockets, and their descriptor must not keep us awake. */
static void watch_api(struct io_node *n, bool wanted)
{
    struct epoll_event ev = { .events = wanted ? EPOLLIN : 0, .data.u32 = WAIT_API };
    if (wanted == n->api_watched)
        return;
    epoll_ctl(n->epoll, EPOLL_CTL_MOD, io_api_server_fd(n->api), &ev);
    n->api_watched = wanted;
}

static int wait_ms(struct io_node *n)
{
    bool room = node_has_room(n->node);
    watch_api(n, room);
    if (io_zmq_ready(n->links) || node_busy(n->node) || n->udp_more[0] || n->udp_more[1] ||
        io_rescue_ready(n->rescue) || (room && io_api_ready(n->api)))
        return 0;
    uint64_t at = node_deadline_ms(n->node), other = io_zmq_deadline_ms(n->links), now = io_os_now().mono_ms;
    if (other < at)
        at = other;
    other = io_resolve_deadline_ms(n->resolve);
    if (other < at)
        at = other;
    other = io_rescue_deadline_ms(n->rescue);
    if (other < at)
        at = other;
    other = n->sntp ? io_sntp_deadline_ms(n->sntp) : at;
    if (other < at)
        at = other;
    if (at <= now)
        return 0;
    if (io_udp_pending(n->batch))
        return 1;
    return at - now < NODE_WAIT_MAX_MS ? (int)(at - now) : NODE_WAIT_MAX_MS;
}

static void wait_for_something(struct io_node *n)
{
    struct epoll_event events[WAIT_KINDS];
    struct signalfd_siginfo signal;
    int count = epoll_wait(n->epoll, events, WAIT_KINDS, wait_ms(n));

    for (int i = 0; i < count; i++) {
        uint32_t what = events[i].data.u32;
        if (what < WAIT_UDP + NODE_SOCKETS)
            n->udp_more[what - WAIT_UDP] = true;
        else if (what == WAIT_SNTP)
            n->sntp_due = true;
        else if (what == WAIT_RESOLVE)
            n->resolve_due = true;
        else if (what == WAIT_RESCUE)
            n->rescue_due = true;
        else if (what == WAIT_SIGNAL && read(n->signals, &signal, sizeof signal) == (ssize_t)sizeof signal)
            n->stop = true;
    }
}

static void helpers_turn(struct io_node *n, struct now now)
{
    struct addr addr;

    if (n->sntp && (n->sntp_due || now.mono_ms >= io_sntp_deadline_ms(n->sntp)))
        io_sntp_turn(n->sntp, now);
    n->sntp_due = false;
    if (n->sntp && !n->clock_synced) { /* posts that waited for the clock get their ids from it */
        struct sntp_status clock;
        sntp_status(io_sntp_clock(n->sntp), now, &clock);
        n->clock_synced = clock.synced;
        now.wall_ms = sntp_wall_ms(io_sntp_clock(n->sntp), now);
        if (clock.synced)
            timeline_clock_synced(node_timeline(n->node), now);
    }
    if (n->rescue_due || now.mono_ms >= io_rescue_deadline_ms(n->rescue))
        io_rescue_turn(n->rescue, now.mono_ms);
    n->rescue_due = false;
    while (io_rescue_router(n->rescue, &addr))
        node_rescue_join(n->node, now, &addr);
    if (!n->resolve_due && now.mono_ms < io_resolve_deadline_ms(n->resolve))
        return;
    n->resolve_due = false;
    io_resolve_turn(n->resolve, now.mono_ms);
    while (io_resolve_next(n->resolve, &addr)) {
        char text[ADDR_TEXT_SIZE];
        int err = kad_join(node_kad(n->node), now, &addr);
        if (err)
            log_write(n->config->log, LOG_WARN, now.wall_ms, "kad", "cannot join %s: %s",
                      addr_text(&addr, text), err_text(err));
    }
}

/* A full disk heals when someone makes room, and the store has rolled back cleanly; anything else it cannot
 * be trusted with, and only a new process gets a clean view of the file (after a failed fsync the kernel may
 * hold pages as clean that never reached the disk). */
static bool disk_is_full(const struct io_node *n)
{
    struct statvfs fs;
    return statvfs(n->config->home->dir, &fs) == 0 &&
           (uint64_t)fs.f_bavail * fs.f_frsize < IO_NODE_DISK_MIN_BYTES;
}

int io_node_run(struct io_node *n)
{
    for (;;) {
        struct now now = clocks(n);
        n->turn_began_us = io_os_mono_us();
        io_zmq_turn(n->links, now.mono_ms);
        helpers_turn(n, now);
        int err = node_turn(n->node, now);
        if (err && !disk_is_full(n))
            return err;
        if (err)
            poll(NULL, 0, NODE_FAILED_WAIT_MS); /* not to write the same in vain a thousand times a second */
        if (n->stop || node_stopping(n->node))
            return 0;
        wait_for_something(n);
    }
}
