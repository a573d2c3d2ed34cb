#include "timeline/io_zmq.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>
#include "core/err.h"
#include "core/now.h"
#include "timeline/io_zap.h"

#define ZMQ_ENDPOINT_SIZE (ADDR_TEXT_SIZE + 8)
#define ZLINK_SLOTS 1024      /* hash slots of the cache; a power of two */
#define ZLINK_NONE (-1)
#define ZEPOLL_BATCH 64
#define ZEPOLL_PULL (UINT32_MAX - 1)
#define ZEPOLL_ZAP UINT32_MAX
#define ZLINGER_MS 200
#define ZBACKLOG 128
#define ZHEARD_MAX 32         /* keys remembered as just heard */
#define REDIAL_AFTER_MS 50    /* a link younger than this when its peer spoke is still on its first try */
#define ZPUSH_INCOMING_MAX 4096 /* a PUSH receives nothing but libzmq's own commands */
#define ZCURVE_OVERHEAD 33 /* MAXMSGSIZE counts the box too: its name, nonce, flags, authenticator (RFC 26) */
/* Closed sockets stay with libzmq's reaper for a moment; the rest is PULL, ZAP, the API and the probe's. */
#define ZSOCKETS_MAX (LINK_OPEN_MAX * 2)

enum zlink_state { ZLINK_FREE, ZLINK_CONNECTING, ZLINK_UP };

struct zparcel { /* owned bytes */
    uint8_t *data;
    size_t size;
};

struct zlink {
    enum zlink_state state;
    struct link_dest dest;
    void *push;
    int fd;
    int next;              /* in its hash slot, or in the free list */
    uint64_t since_ms;     /* CONNECTING: when it began */
    uint64_t last_send_ms;
    uint64_t stalled_ms;   /* UP: not writable since then; 0: writable */
    uint64_t sent;         /* messages given to this connection */
    bool touched;          /* sent to since its events were last looked at */
    bool redialled;        /* CONNECTING: begun anew once, see link_redial */
    int parked_count;
    struct zparcel parked[LINK_PARKED_MAX];
};

struct zevent {
    enum link_event_kind kind;
    struct link_dest dest;
    struct zparcel parcel; /* UNSENT */
};

struct zheard { /* a key that something came from */
    uint8_t key[LINK_KEY_SIZE];
    uint64_t at_ms;
};

struct io_zmq {
    void *ctx;
    void *pull;
    struct io_zap *zap;
    int epoll;
    uint8_t pk[LINK_KEY_SIZE], sk[LINK_KEY_SIZE];
    uint64_t mono_ms;
    uint64_t timer_ms;      /* the earliest moment a link may need attention */
    bool pull_more;         /* the last read from PULL found something */
    bool turn_more;         /* a bounded step of the last turn left something */
    zmq_msg_t in;           /* what the last RECEIVED points to */
    struct zparcel given;   /* what the last UNSENT points to */

    struct zlink links[LINK_OPEN_MAX];
    int slots[ZLINK_SLOTS];
    int free_link, open_count;
    int touched[LINK_OPEN_MAX];
    int touched_count;
    struct zheard heard[ZHEARD_MAX]; /* a ring of the last ones */
    int heard_at;

    struct zevent *events;  /* a ring */
    size_t events_cap, events_at, events_count;
    struct io_zmq_counters count;
};

static void why_set(char ret[IO_ZMQ_WHY_MAX], const char *what, const char *where, int code)
{
    snprintf(ret, IO_ZMQ_WHY_MAX, "%s%s: %s", what, where, zmq_strerror(code));
}

/* ---- events for the loop ---------------------------------------------------------------------------- */

/* Takes the parcel. An UNSENT that finds no place is dropped: links may lose without a word. */
static void event_push(struct io_zmq *z, enum link_event_kind kind, const struct link_dest *dest,
                       struct zparcel parcel)
{
    if (z->events_count == z->events_cap) {
        size_t cap = z->events_cap ? z->events_cap * 2 : 64;
        struct zevent *bigger = NULL;
        if (kind != LINK_UNSENT || cap <= IO_ZMQ_EVENTS_MAX) bigger = malloc(cap * sizeof *bigger);
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

static void event_state(struct io_zmq *z, enum link_event_kind kind, const struct link_dest *dest)
{
    event_push(z, kind, dest, (struct zparcel){ NULL, 0 });
}

static void event_unsent(struct io_zmq *z, const struct link_dest *dest, struct span bytes)
{
    struct zparcel parcel = { malloc(bytes.size ? bytes.size : 1), bytes.size };
    z->count.unsent++;
    if (!parcel.data) return;
    memcpy(parcel.data, bytes.data, bytes.size);
    event_push(z, LINK_UNSENT, dest, parcel);
}

/* ---- the cache of links ----------------------------------------------------------------------------- */

static int *link_slot(struct io_zmq *z, const struct link_dest *dest)
{
    /* The key is a curve point, as good as random; the port tells a moved node apart. */
    uint32_t hash = be32(dest->key + 4) ^ dest->addr.port * 2654435761u;
    return &z->slots[hash & (ZLINK_SLOTS - 1)];
}

static struct zlink *link_find(struct io_zmq *z, const struct link_dest *dest)
{
    for (int i = *link_slot(z, dest); i != ZLINK_NONE; i = z->links[i].next)
        if (link_dest_equal(&z->links[i].dest, dest)) return &z->links[i];
    return NULL;
}

static void link_touch(struct io_zmq *z, struct zlink *l)
{
    if (l->touched) return;
    l->touched = true;
    z->touched[z->touched_count++] = (int)(l - z->links);
}

static void link_wake_at(struct io_zmq *z, uint64_t at_ms)
{
    if (at_ms < z->timer_ms) z->timer_ms = at_ms;
}

/* Gives back what is parked, says DOWN and closes. What libzmq still holds vanishes, as links may. */
static void link_close(struct io_zmq *z, struct zlink *l)
{
    int index = (int)(l - z->links), *at = link_slot(z, &l->dest);

    for (int i = 0; i < l->parked_count; i++) {
        z->count.unsent++;
        event_push(z, LINK_UNSENT, &l->dest, l->parked[i]);
    }
    event_state(z, LINK_DOWN, &l->dest);
    epoll_ctl(z->epoll, EPOLL_CTL_DEL, l->fd, NULL);
    zmq_close(l->push);
    while (*at != index) at = &z->links[*at].next;
    *at = l->next;
    if (l->touched) {
        int i = 0;
        while (z->touched[i] != index) i++;
        z->touched[i] = z->touched[--z->touched_count];
    }
    memset(l, 0, sizeof *l);
    l->next = z->free_link;
    z->free_link = index;
    z->open_count--;
}

static bool set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

static void endpoint_text(const struct addr *addr, char ret[ZMQ_ENDPOINT_SIZE])
{
    char text[ADDR_TEXT_SIZE];
    snprintf(ret, ZMQ_ENDPOINT_SIZE, "tcp://%s", addr_text(addr, text));
}

static void *push_open(struct io_zmq *z, const struct link_dest *dest)
{
    char endpoint[ZMQ_ENDPOINT_SIZE];
    const int64_t incoming_max = ZPUSH_INCOMING_MAX;
    void *s = zmq_socket(z->ctx, ZMQ_PUSH);

    if (!s) return NULL; /* out of descriptors, or the reaper is behind */
    endpoint_text(&dest->addr, endpoint);
    if (set_int(s, ZMQ_LINGER, 0) && set_int(s, ZMQ_IMMEDIATE, 1) &&
        set_int(s, ZMQ_SNDHWM, IO_ZMQ_SEND_QUEUE) && set_int(s, ZMQ_SNDTIMEO, 0) &&
        set_int(s, ZMQ_IPV6, dest->addr.family == 6) && set_int(s, ZMQ_HANDSHAKE_IVL, IO_ZMQ_CONNECT_MS) &&
        set_int(s, ZMQ_CONNECT_TIMEOUT, IO_ZMQ_CONNECT_MS) &&
        set_int(s, ZMQ_RECONNECT_IVL, IO_ZMQ_RECONNECT_MS) &&
        set_int(s, ZMQ_RECONNECT_IVL_MAX, 2 * IO_ZMQ_RECONNECT_MS) &&
        set_int(s, ZMQ_HEARTBEAT_IVL, IO_ZMQ_HEARTBEAT_MS) &&
        set_int(s, ZMQ_HEARTBEAT_TIMEOUT, IO_ZMQ_HEARTBEAT_MS) &&
        set_int(s, ZMQ_HEARTBEAT_TTL, 3 * IO_ZMQ_HEARTBEAT_MS) &&
        zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &incoming_max, sizeof incoming_max) == 0 &&
        zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, dest->key, LINK_KEY_SIZE) == 0 &&
        zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, z->pk, LINK_KEY_SIZE) == 0 &&
        zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, z->sk, LINK_KEY_SIZE) == 0 && zmq_connect(s, endpoint) == 0)
        return s;
    zmq_close(s);
    return NULL;
}

static bool link_evict(struct io_zmq *z)
{
    struct zlink *oldest = NULL;
    for (int i = 0; i < LINK_OPEN_MAX; i++) {
        struct zlink *l = &z->links[i];
        if (l->state == ZLINK_UP && l->parked_count == 0 &&
            (!oldest || l->last_send_ms < oldest->last_send_ms))
            oldest = l;
    }
    if (!oldest) return false;
    z->count.evicted++;
    link_close(z, oldest);
    return true;
}

static struct zlink *link_open(struct io_zmq *z, const struct link_dest *dest)
{
    size_t size = sizeof(int);
    void *push;

    if (!addr_is_usable(&dest->addr)) return NULL;
    if (z->free_link == ZLINK_NONE && !link_evict(z)) return NULL;
    push = push_open(z, dest);
    if (!push) return NULL;
    int index = z->free_link, *slot = link_slot(z, dest);
    struct zlink *l = &z->links[index];
    struct epoll_event ev = { .events = EPOLLIN, .data.u32 = (uint32_t)index };
    if (zmq_getsockopt(push, ZMQ_FD, &l->fd, &size) || epoll_ctl(z->epoll, EPOLL_CTL_ADD, l->fd, &ev)) {
        zmq_close(push);
        return NULL;
    }
    z->free_link = l->next;
    l->state = ZLINK_CONNECTING;
    l->dest = *dest;
    l->push = push;
    l->since_ms = l->last_send_ms = z->mono_ms;
    l->next = *slot;
    *slot = index;
    z->open_count++;
    z->count.opened++;
    link_wake_at(z, z->mono_ms + IO_ZMQ_CONNECT_MS);
    /* ZMQ_FD tells of changes: look once, so that there is something it changes from. */
    link_touch(z, l);
    return l;
}

/* ---- who is there ----------------------------------------------------------------------------------- */

static void heard_note(struct io_zmq *z, const uint8_t key[LINK_KEY_SIZE])
{
    if (memcmp(z->heard[z->heard_at].key, key, LINK_KEY_SIZE) != 0) {
        z->heard_at = (z->heard_at + 1) % ZHEARD_MAX;
        memcpy(z->heard[z->heard_at].key, key, LINK_KEY_SIZE);
    }
    z->heard[z->heard_at].at_ms = z->mono_ms;
}

static bool heard_since(const struct io_zmq *z, const uint8_t key[LINK_KEY_SIZE], uint64_t ms)
{
    for (int i = 0; i < ZHEARD_MAX; i++)
        if (z->heard[i].at_ms >= ms && memcmp(z->heard[i].key, key, LINK_KEY_SIZE) == 0) return true;
    return false;
}

/* Somebody who was away and has just spoken is answered now: libzmq, refused a moment ago, would sit out its
 * reconnect interval first. Once for each link, so that a slow handshake is not begun again and again. */
static void link_redial(struct io_zmq *z, struct zlink *l)
{
    size_t size = sizeof(int);
    struct epoll_event ev = { .events = EPOLLIN, .data.u32 = (uint32_t)(l - z->links) };
    void *push = push_open(z, &l->dest);
    int fd;

    if (!push) return;
    if (zmq_getsockopt(push, ZMQ_FD, &fd, &size) || epoll_ctl(z->epoll, EPOLL_CTL_ADD, fd, &ev)) {
        zmq_close(push);
        return;
    }
    epoll_ctl(z->epoll, EPOLL_CTL_DEL, l->fd, NULL);
    zmq_close(l->push);
    l->push = push;
    l->fd = fd;
    l->redialled = true;
    l->since_ms = z->mono_ms;
    link_touch(z, l);
}

/* ---- sending ---------------------------------------------------------------------------------------- */

static void link_flush(struct io_zmq *z, struct zlink *l)
{
    int done = 0;
    while (done < l->parked_count) {
        if (zmq_send(l->push, l->parked[done].data, l->parked[done].size, ZMQ_DONTWAIT) < 0) break;
        free(l->parked[done++].data);
        l->sent++;
        z->count.sent++;
    }
    if (done == 0) return;
    l->parked_count -= done;
    memmove(l->parked, l->parked + done, (size_t)l->parked_count * sizeof l->parked[0]);
    l->last_send_ms = z->mono_ms;
    link_touch(z, l);
}

static void link_park(struct io_zmq *z, struct zlink *l, struct span bytes)
{
    struct zparcel parcel = { NULL, bytes.size };
    if (l->parked_count < LINK_PARKED_MAX) parcel.data = malloc(bytes.size ? bytes.size : 1);
    if (!parcel.data) {
        event_unsent(z, &l->dest, bytes);
        return;
    }
    memcpy(parcel.data, bytes.data, bytes.size);
    l->parked[l->parked_count++] = parcel;
}

void io_zmq_send(struct io_zmq *z, const struct link_send *send)
{
    struct zlink *l = link_find(z, &send->to);

    assert(send->bytes.size <= LINK_MESSAGE_MAX);
    if (!l) l = link_open(z, &send->to);
    if (!l) {
        event_unsent(z, &send->to, send->bytes);
        event_state(z, LINK_DOWN, &send->to);
        return;
    }
    l->last_send_ms = z->mono_ms;
    if (l->state == ZLINK_CONNECTING && !l->redialled &&
        heard_since(z, l->dest.key, l->since_ms + REDIAL_AFTER_MS))
        link_redial(z, l);
    if (l->state == ZLINK_UP && l->parked_count == 0 &&
        zmq_send(l->push, send->bytes.data, send->bytes.size, ZMQ_DONTWAIT) >= 0) {
        l->sent++;
        z->count.sent++;
    } else {
        link_park(z, l, send->bytes);
    }
    /* zmq_send may have taken the news of a lost connection from ZMQ_FD: look at the events afterwards. */
    link_touch(z, l);
}

/* ---- up, down, and the passing of time -------------------------------------------------------------- */

static void link_look(struct io_zmq *z, struct zlink *l)
{
    int events = 0;
    size_t size = sizeof events;
    bool writable = zmq_getsockopt(l->push, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLOUT);

    if (l->state == ZLINK_CONNECTING) {
        if (!writable) return;
        l->state = ZLINK_UP;
        event_state(z, LINK_UP, &l->dest);
        link_flush(z, l);
    } else if (writable) {
        l->stalled_ms = 0;
        link_flush(z, l);
    } else if (l->sent < IO_ZMQ_SEND_QUEUE) { /* its queue cannot be full: the connection is gone */
        z->count.lost++;
        link_close(z, l);
    } else if (l->stalled_ms == 0) {
        l->stalled_ms = z->mono_ms;
        link_wake_at(z, z->mono_ms + IO_ZMQ_STALL_MS);
    }
}

static void links_look_at_touched(struct io_zmq *z)
{
    /* Looking may flush, which touches again: only what is in the list now, the rest next time. */
    int list[LINK_OPEN_MAX], count = z->touched_count;
    memcpy(list, z->touched, (size_t)count * sizeof list[0]);
    z->touched_count = 0;
    for (int i = 0; i < count; i++) z->links[list[i]].touched = false;
    for (int i = 0; i < count; i++)
        if (z->links[list[i]].state != ZLINK_FREE) link_look(z, &z->links[list[i]]);
}

static uint64_t link_deadline_ms(const struct zlink *l)
{
    if (l->state == ZLINK_CONNECTING) return l->since_ms + IO_ZMQ_CONNECT_MS;
    return l->stalled_ms ? l->stalled_ms + IO_ZMQ_STALL_MS : l->last_send_ms + IO_ZMQ_IDLE_MS;
}

static void links_time_passes(struct io_zmq *z)
{
    if (z->mono_ms < z->timer_ms) return;
    z->timer_ms = NOW_NEVER;
    for (int i = 0; i < LINK_OPEN_MAX; i++) {
        struct zlink *l = &z->links[i];
        if (l->state == ZLINK_FREE) continue;
        uint64_t at = link_deadline_ms(l);
        if (at > z->mono_ms) {
            link_wake_at(z, at);
            continue;
        }
        if (l->state == ZLINK_CONNECTING || l->stalled_ms) z->count.lost++;
        link_close(z, l);
    }
}

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
        else
            link_touch(z, &z->links[who]);
    }
    if (zap_waits && io_zap_turn(z->zap, mono_ms)) z->turn_more = true;
    links_look_at_touched(z);
    links_time_passes(z);
}

bool io_zmq_ready(struct io_zmq *z)
{
    if (z->touched_count) links_look_at_touched(z);
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
        heard_note(z, ret->from_key);
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
    return z->pull && set_int(z->pull, ZMQ_LINGER, 0) && set_int(z->pull, ZMQ_RCVHWM, IO_ZMQ_RECV_QUEUE) &&
           set_int(z->pull, ZMQ_BACKLOG, ZBACKLOG) && set_int(z->pull, ZMQ_HANDSHAKE_IVL, IO_ZMQ_CONNECT_MS) &&
           set_int(z->pull, ZMQ_HEARTBEAT_IVL, IO_ZMQ_HEARTBEAT_MS) &&
           set_int(z->pull, ZMQ_HEARTBEAT_TIMEOUT, IO_ZMQ_HEARTBEAT_MS) &&
           zmq_setsockopt(z->pull, ZMQ_MAXMSGSIZE, &message_max, sizeof message_max) == 0 &&
           set_int(z->pull, ZMQ_CURVE_SERVER, 1) &&
           zmq_setsockopt(z->pull, ZMQ_CURVE_SECRETKEY, z->sk, LINK_KEY_SIZE) == 0 &&
           set_int(z->pull, IO_ZAP_ENFORCE_DOMAIN, 1) &&
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
    z->timer_ms = NOW_NEVER;
    z->pull_more = true; /* so that the first read arms ZMQ_FD */
    zmq_msg_init(&z->in);
    for (int i = 0; i < ZLINK_SLOTS; i++) z->slots[i] = ZLINK_NONE;
    for (int i = 0; i < LINK_OPEN_MAX; i++) z->links[i].next = i + 1 < LINK_OPEN_MAX ? i + 1 : ZLINK_NONE;
    z->epoll = epoll_create1(EPOLL_CLOEXEC);
    z->ctx = zmq_ctx_new();
    if (z->epoll < 0 || !z->ctx || zmq_ctx_set(z->ctx, ZMQ_IO_THREADS, 1) ||
        zmq_ctx_set(z->ctx, ZMQ_MAX_SOCKETS, ZSOCKETS_MAX))
        goto fail;
    what = "ZeroMQ's admission (ZAP)";
    if (io_zap_open(z->ctx, &z->zap)) goto fail;
    if (io_zap_probe(z->zap, z->ctx)) {
        errno = EPERM; /* the handler was not asked or not obeyed: better no node than one open to all */
        goto fail;
    }
    struct epoll_event ev = { .events = EPOLLIN, .data.u32 = ZEPOLL_ZAP };
    if (epoll_ctl(z->epoll, EPOLL_CTL_ADD, io_zap_fd(z->zap), &ev)) goto fail;
    what = "ZeroMQ's PULL";
    if (!pull_open(z)) goto fail;
    *ret = z;
    return 0;
fail:
    why_set(ret_why, what, "", zmq_errno());
    io_zmq_free(z);
    return CAM_ESYS;
}

void io_zmq_free(struct io_zmq *z)
{
    if (!z) return;
    for (int i = 0; i < LINK_OPEN_MAX; i++) {
        struct zlink *l = &z->links[i];
        if (l->state == ZLINK_FREE) continue;
        if (l->state == ZLINK_UP) set_int(l->push, ZMQ_LINGER, ZLINGER_MS);
        link_close(z, l);
    }
    for (; z->events_count; z->events_count--, z->events_at = (z->events_at + 1) % z->events_cap)
        free(z->events[z->events_at].parcel.data);
    free(z->events);
    free(z->given.data);
    zmq_msg_close(&z->in);
    if (z->pull) zmq_close(z->pull);
    /* The handler goes last: until then libzmq may ask it, and no answer would be a yes. */
    io_zap_close(z->zap);
    if (z->ctx) while (zmq_ctx_term(z->ctx) && zmq_errno() == EINTR) {}
    if (z->epoll >= 0) close(z->epoll);
    explicit_bzero(z, sizeof *z);
    free(z);
}

/* libzmq's own IPv6 listener takes IPv4 as well, so it cannot stand beside one for IPv4 at the same port: it is
 * given a socket that does not. -1 when there is none, with errno. */
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
    if (fd >= 0) close(fd);
    errno = code;
    return -1;
}

int io_zmq_bind(struct io_zmq *z, const struct addr *addr, char ret_why[IO_ZMQ_WHY_MAX])
{
    char endpoint[ZMQ_ENDPOINT_SIZE];
    int fd = -1;

    endpoint_text(addr, endpoint);
    bool bound = set_int(z->pull, ZMQ_IPV6, addr->family == 6) &&
                 (addr->family != 6 || (fd = listener_v6(addr)) >= 0) && set_int(z->pull, ZMQ_USE_FD, fd) &&
                 zmq_bind(z->pull, endpoint) == 0; /* from here on the descriptor is libzmq's */
    if (bound) return 0;
    why_set(ret_why, "cannot listen at ", endpoint, zmq_errno());
    if (fd >= 0) close(fd);
    return CAM_ESYS;
}

void io_zmq_unbind(struct io_zmq *z, const struct addr *addr)
{
    char endpoint[ZMQ_ENDPOINT_SIZE];
    endpoint_text(addr, endpoint);
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
