/* The sending half: one PUSH for each destination, in a bounded cache. */
#include "timeline/io_zmq_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include "core/now.h"

#define REDIAL_AFTER_MS 50    /* a link younger than this when its peer spoke is still on its first try */
#define ZPUSH_INCOMING_MAX 4096 /* a PUSH receives nothing but libzmq's own commands */

static void event_state(struct io_zmq *z, enum link_event_kind kind, const struct link_dest *dest)
{
    io_zmq_event_push(z, kind, dest, (struct zparcel){ NULL, 0 });
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
        if (link_dest_equal(&z->links[i].dest, dest))
            return &z->links[i];
    return NULL;
}

static void link_touch(struct io_zmq *z, struct zlink *l)
{
    if (l->touched)
        return;
    l->touched = true;
    z->touched[z->touched_count++] = (int)(l - z->links);
}

static void link_wake_at(struct io_zmq *z, uint64_t at_ms)
{
    if (at_ms < z->timer_ms)
        z->timer_ms = at_ms;
}

/* Gives back what is parked, says DOWN and closes. What libzmq still holds vanishes, as links may. */
static void link_close(struct io_zmq *z, struct zlink *l)
{
    int index = (int)(l - z->links), *at = link_slot(z, &l->dest);

    for (int i = 0; i < l->parked_count; i++) {
        z->count.unsent++;
        io_zmq_event_push(z, LINK_UNSENT, &l->dest, l->parked[i]);
    }
    free(l->parked);
    event_state(z, LINK_DOWN, &l->dest);
    epoll_ctl(z->epoll, EPOLL_CTL_DEL, l->fd, NULL);
    zmq_close(l->push);
    while (*at != index)
        at = &z->links[*at].next;
    *at = l->next;
    if (l->touched) {
        int i = 0;
        while (z->touched[i] != index)
            i++;
        z->touched[i] = z->touched[--z->touched_count];
    }
    if (l->state == ZLINK_CONNECTING)
        z->connecting_count--;
    memset(l, 0, sizeof *l);
    l->next = z->free_link;
    z->free_link = index;
    z->open_count--;
}

static void *push_open(struct io_zmq *z, const struct link_dest *dest)
{
    char endpoint[ZMQ_ENDPOINT_SIZE];
    const int64_t incoming_max = ZPUSH_INCOMING_MAX;
    void *s = zmq_socket(z->ctx, ZMQ_PUSH);

    if (!s)
        return NULL; /* out of descriptors, or the reaper is behind */
    io_zmq_endpoint(&dest->addr, endpoint);
    if (io_zmq_set_int(s, ZMQ_LINGER, 0) && io_zmq_set_int(s, ZMQ_IMMEDIATE, 1) &&
        io_zmq_set_int(s, ZMQ_SNDHWM, IO_ZMQ_SEND_QUEUE) && io_zmq_set_int(s, ZMQ_SNDTIMEO, 0) &&
        io_zmq_set_int(s, ZMQ_IPV6, dest->addr.family == 6) &&
        io_zmq_set_int(s, ZMQ_HANDSHAKE_IVL, IO_ZMQ_CONNECT_MS) &&
        io_zmq_set_int(s, ZMQ_CONNECT_TIMEOUT, IO_ZMQ_CONNECT_MS) &&
        io_zmq_set_int(s, ZMQ_RECONNECT_IVL, IO_ZMQ_RECONNECT_MS) &&
        io_zmq_set_int(s, ZMQ_RECONNECT_IVL_MAX, 2 * IO_ZMQ_RECONNECT_MS) &&
        io_zmq_set_int(s, ZMQ_HEARTBEAT_IVL, IO_ZMQ_HEARTBEAT_MS) &&
        io_zmq_set_int(s, ZMQ_HEARTBEAT_TIMEOUT, IO_ZMQ_HEARTBEAT_MS) &&
        io_zmq_set_int(s, ZMQ_HEARTBEAT_TTL, 3 * IO_ZMQ_HEARTBEAT_MS) &&
        zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &incoming_max, sizeof incoming_max) == 0 &&
        zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, dest->key, LINK_KEY_SIZE) == 0 &&
        zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, z->pk, LINK_KEY_SIZE) == 0 &&
        zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, z->sk, LINK_KEY_SIZE) == 0 && zmq_connect(s, endpoint) == 0)
        return s;
    zmq_close(s);
    return NULL;
}

static bool link_evict(struct io_zmq *z, struct zlink *oldest)
{
    if (!oldest)
        return false;
    z->count.evicted++;
    link_close(z, oldest);
    return true;
}

/* Of all that are up and owe nothing, the one used longest ago. */
static struct zlink *link_quiet(struct io_zmq *z)
{
    struct zlink *oldest = NULL;
    for (int i = 0; i < LINK_OPEN_MAX; i++) {
        struct zlink *l = &z->links[i];
        if (l->state == ZLINK_UP && l->parked_count == 0 &&
            (!oldest || l->last_send_ms < oldest->last_send_ms))
            oldest = l;
    }
    return oldest;
}

/* Of all that are still connecting and had the time for it, the one that began first. */
static struct zlink *link_doubtful(struct io_zmq *z)
{
    struct zlink *oldest = NULL;
    for (int i = 0; i < LINK_OPEN_MAX; i++) {
        struct zlink *l = &z->links[i];
        if (l->state == ZLINK_CONNECTING && l->since_ms + IO_ZMQ_DOUBT_MS <= z->mono_ms &&
            (!oldest || l->since_ms < oldest->since_ms))
            oldest = l;
    }
    return oldest;
}

static struct zlink *link_open(struct io_zmq *z, const struct link_dest *dest)
{
    size_t size = sizeof(int);
    void *push;

    if (!addr_is_usable(&dest->addr))
        return NULL;
    if (z->connecting_count >= IO_ZMQ_CONNECTING_MAX && !link_evict(z, link_doubtful(z)))
        return NULL;
    if (z->free_link == ZLINK_NONE && !link_evict(z, link_quiet(z)))
        return NULL;
    push = push_open(z, dest);
    if (!push)
        return NULL;
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
    z->connecting_count++;
    z->count.opened++;
    link_wake_at(z, z->mono_ms + IO_ZMQ_CONNECT_MS);
    /* ZMQ_FD tells of changes: look once, so that there is something it changes from. */
    link_touch(z, l);
    return l;
}

/* ---- who is there ----------------------------------------------------------------------------------- */

void zlinks_heard(struct io_zmq *z, const uint8_t key[LINK_KEY_SIZE])
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
        if (z->heard[i].at_ms >= ms && memcmp(z->heard[i].key, key, LINK_KEY_SIZE) == 0)
            return true;
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

    if (!push)
        return;
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
        if (zmq_send(l->push, l->parked[done].data, l->parked[done].size, ZMQ_DONTWAIT) < 0)
            break;
        l->parked_bytes -= l->parked[done].size;
        free(l->parked[done++].data);
        l->sent++;
        z->count.sent++;
    }
    if (done == 0)
        return;
    l->parked_count -= done;
    memmove(l->parked, l->parked + done, (size_t)l->parked_count * sizeof l->parked[0]);
    l->last_send_ms = z->mono_ms;
    link_touch(z, l);
}

static bool link_room(struct zlink *l, size_t bytes)
{
    int max = l->state == ZLINK_UP ? IO_ZMQ_WAITING_MAX : LINK_PARKED_MAX;

    if (l->parked_count >= max || (l->parked_count && l->parked_bytes + bytes > IO_ZMQ_WAITING_BYTES_MAX))
        return false;
    if (l->parked_count == l->parked_cap) {
        int cap = l->parked_cap ? l->parked_cap * 2 : LINK_PARKED_MAX;
        struct zparcel *more = realloc(l->parked, (size_t)cap * sizeof *more);
        if (!more)
            return false;
        l->parked = more;
        l->parked_cap = cap;
    }
    return true;
}

static void link_park(struct io_zmq *z, struct zlink *l, struct span bytes)
{
    struct zparcel parcel = { NULL, bytes.size };
    if (link_room(l, bytes.size))
        parcel.data = malloc(bytes.size ? bytes.size : 1);
    if (!parcel.data) {
        io_zmq_event_unsent(z, &l->dest, bytes);
        return;
    }
    memcpy(parcel.data, bytes.data, bytes.size);
    l->parked[l->parked_count++] = parcel;
    l->parked_bytes += bytes.size;
}

void io_zmq_send(struct io_zmq *z, const struct link_send *send)
{
    struct zlink *l = link_find(z, &send->to);

    assert(send->bytes.size <= LINK_MESSAGE_MAX);
    if (!l)
        l = link_open(z, &send->to);
    if (!l) {
        io_zmq_event_unsent(z, &send->to, send->bytes);
        event_state(z, LINK_DOWN, &send->to);
        return;
    }
    /* After a pause the queue is empty, but libzmq hears of what was read only every half a queue (its low
     * water mark), so up to that much may still count. */
    if (l->parked_count == 0 && l->sent > IO_ZMQ_SEND_QUEUE / 2 &&
        l->last_send_ms + IO_ZMQ_STALL_MS < z->mono_ms)
        l->sent = IO_ZMQ_SEND_QUEUE / 2;
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
        if (!writable)
            return;
        l->state = ZLINK_UP;
        z->connecting_count--;
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

void zlinks_look(struct io_zmq *z)
{
    /* Looking may flush, which touches again: only what is in the list now, the rest next time. */
    int list[LINK_OPEN_MAX], count = z->touched_count;
    memcpy(list, z->touched, (size_t)count * sizeof list[0]);
    z->touched_count = 0;
    for (int i = 0; i < count; i++)
        z->links[list[i]].touched = false;
    for (int i = 0; i < count; i++)
        if (z->links[list[i]].state != ZLINK_FREE)
            link_look(z, &z->links[list[i]]);
}

static uint64_t link_deadline_ms(const struct zlink *l)
{
    if (l->state == ZLINK_CONNECTING)
        return l->since_ms + IO_ZMQ_CONNECT_MS;
    return l->stalled_ms ? l->stalled_ms + IO_ZMQ_STALL_MS : l->last_send_ms + IO_ZMQ_IDLE_MS;
}

void zlinks_time_passes(struct io_zmq *z)
{
    if (z->mono_ms < z->timer_ms)
        return;
    z->timer_ms = NOW_NEVER;
    for (int i = 0; i < LINK_OPEN_MAX; i++) {
        struct zlink *l = &z->links[i];
        if (l->state == ZLINK_FREE)
            continue;
        uint64_t at = link_deadline_ms(l);
        if (at > z->mono_ms) {
            link_wake_at(z, at);
            continue;
        }
        if (l->state == ZLINK_CONNECTING || l->stalled_ms)
            z->count.lost++;
        link_close(z, l);
    }
}

void zlink_wake(struct io_zmq *z, uint32_t index) { link_touch(z, &z->links[index]); }

/* ---- life ------------------------------------------------------------------------------------------- */

void zlinks_init(struct io_zmq *z)
{
    for (int i = 0; i < ZLINK_SLOTS; i++)
        z->slots[i] = ZLINK_NONE;
    for (int i = 0; i < LINK_OPEN_MAX; i++)
        z->links[i].next = i + 1 < LINK_OPEN_MAX ? i + 1 : ZLINK_NONE;
    z->timer_ms = NOW_NEVER;
}

void zlinks_free(struct io_zmq *z, int linger_ms)
{
    for (int i = 0; i < LINK_OPEN_MAX; i++) {
        struct zlink *l = &z->links[i];
        if (l->state == ZLINK_FREE)
            continue;
        if (l->state == ZLINK_UP)
            io_zmq_set_int(l->push, ZMQ_LINGER, linger_ms);
        link_close(z, l);
    }
}
