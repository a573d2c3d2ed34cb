/* Who has connected to PULL: libzmq takes in whoever comes, long before ZAP is asked, and ends the process
 * where it finds no descriptor for a client of the API. So those that come in are counted, and one too many
 * makes room. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include "timeline/io_zmq_impl.h"

#define ACCEPT_ENDPOINT "inproc://accepted"
#define ACCEPT_TURN_MAX 1024  /* events of the monitor looked at in one turn */
#define ACCEPT_FILES_MAX 65536 /* descriptors that are told apart; one beyond is closed at once */
#define ACCEPT_SILENT_MS 1000 /* a handshake and a first message take less */
#define ACCEPT_CROWD_PART 8   /* an address that holds more than this part is a crowd */
#define ACCEPT_EVENT_SIZE 6   /* event (2) and value (4), as zmq_socket_monitor(3) draws them */

enum { ACCEPT_NONE, ACCEPT_SILENT, ACCEPT_HEARD, ACCEPT_CLOSING };

bool io_zmq_accept_open(struct io_zmq *z)
{
    struct zaccept *a = &z->accept;
    struct rlimit files;
    struct epoll_event ev = { .events = EPOLLIN, .data.u32 = ZEPOLL_ACCEPT };
    int fd;
    size_t size = sizeof fd;
    if (getrlimit(RLIMIT_NOFILE, &files))
        return false;
    a->files = files.rlim_cur < ACCEPT_FILES_MAX ? (int)files.rlim_cur : ACCEPT_FILES_MAX;
    a->max = a->files / 2 < IO_ZMQ_ACCEPTED_MAX ? a->files / 2 : IO_ZMQ_ACCEPTED_MAX;
    a->sockets = calloc((size_t)a->files, sizeof *a->sockets);
    a->monitor = zmq_socket(z->ctx, ZMQ_PAIR);
    /* Without a high water mark: libzmq waits for a monitor that does not read, and its thread is
     * everybody's. */
    return a->sockets && a->monitor && io_zmq_set_int(a->monitor, ZMQ_RCVHWM, 0) &&
           io_zmq_set_int(a->monitor, ZMQ_LINGER, 0) &&
           zmq_socket_monitor(z->pull, ACCEPT_ENDPOINT, ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED) == 0 &&
           zmq_connect(a->monitor, ACCEPT_ENDPOINT) == 0 &&
           zmq_getsockopt(a->monitor, ZMQ_FD, &fd, &size) == 0 &&
           epoll_ctl(z->epoll, EPOLL_CTL_ADD, fd, &ev) == 0;
}

void io_zmq_accept_close(struct io_zmq *z)
{
    struct zaccept *a = &z->accept;
    if (z->pull)
        zmq_socket_monitor(z->pull, NULL, 0);
    if (a->monitor)
        zmq_close(a->monitor);
    free(a->sockets);
}

/* Where it comes from; false when the descriptor is another's by now: events come late. */
static bool peer_of(int fd, uint8_t ip[16])
{
    struct sockaddr_storage from;
    socklen_t size = sizeof from;
    int type;
    socklen_t type_size = sizeof type;
    memset(ip, 0, 16);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) || type != SOCK_STREAM ||
        getpeername(fd, (struct sockaddr *)&from, &size))
        return false;
    if (from.ss_family == AF_INET)
        memcpy(ip, &((struct sockaddr_in *)&from)->sin_addr, 4);
    else if (from.ss_family == AF_INET6)
        memcpy(ip, &((struct sockaddr_in6 *)&from)->sin6_addr, 8); /* one household has a /64 */
    return from.ss_family == AF_INET || from.ss_family == AF_INET6;
}

static uint16_t crowd_of(const uint8_t ip[16])
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (int i = 0; i < 16; i++)
        hash = (hash ^ ip[i]) * 16777619u;
    return (uint16_t)(hash % ZACCEPT_CROWDS);
}

static void leave(struct zaccept *a, struct zaccepted *s)
{
    a->crowds[s->crowd]--;
    a->count--;
}

/* Closed with a word to libzmq, whose descriptor it is. */
static void close_one(struct io_zmq *z, int fd)
{
    struct zaccepted *s = &z->accept.sockets[fd];
    uint8_t ip[16];
    leave(&z->accept, s);
    s->state = ACCEPT_CLOSING;
    z->count.turned_away++;
    if (peer_of(fd, ip) && crowd_of(ip) == s->crowd)
        shutdown(fd, SHUT_RDWR);
}

/* Who goes first: of one address's crowd those that have said nothing; of a crowd from everywhere those that
 * have said nothing for a while, then those that have had their say, not whoever is shaking hands. */
static int rank_of(const struct zaccepted *s, uint32_t now_ms, bool is_crowd)
{
    if (s->state == ACCEPT_HEARD)
        return 1;
    return is_crowd || now_ms - s->since_ms > ACCEPT_SILENT_MS ? 0 : 2;
}

/* One connection too many: where an address holds a good part of them it gives one up, else anybody. Of
 * equals the one that came first. */
static int victim(const struct zaccept *a, uint32_t now_ms)
{
    int most = 0, best = -1, best_rank = 0;
    for (int i = 1; i < ZACCEPT_CROWDS; i++)
        if (a->crowds[i] > a->crowds[most])
            most = i;
    bool is_crowd = a->crowds[most] > a->max / ACCEPT_CROWD_PART;
    for (int fd = 0; fd <= a->top; fd++) {
        const struct zaccepted *s = &a->sockets[fd];
        if ((is_crowd && s->crowd != most) || (s->state != ACCEPT_SILENT && s->state != ACCEPT_HEARD))
            continue;
        int rank = rank_of(s, now_ms, is_crowd);
        if (best < 0 || rank < best_rank ||
            (rank == best_rank && (int32_t)(s->since_ms - a->sockets[best].since_ms) < 0)) {
            best = fd;
            best_rank = rank;
        }
    }
    return best;
}

static void came(struct io_zmq *z, int fd)
{
    struct zaccept *a = &z->accept;
    uint8_t ip[16];
    if (!peer_of(fd, ip))
        return; /* gone already */
    if (fd >= a->files) {
        z->count.turned_away++;
        shutdown(fd, SHUT_RDWR);
        return;
    }
    a->sockets[fd] = (struct zaccepted){
        .state = ACCEPT_SILENT, .crowd = crowd_of(ip), .since_ms = (uint32_t)z->mono_ms
    };
    a->crowds[a->sockets[fd].crowd]++;
    a->count++;
    if (fd > a->top)
        a->top = fd;
    int out = a->count > a->max ? victim(a, (uint32_t)z->mono_ms) : -1;
    if (out >= 0)
        close_one(z, out);
}

static void went(struct zaccept *a, int fd)
{
    if (fd >= a->files)
        return;
    struct zaccepted *s = &a->sockets[fd];
    if (s->state == ACCEPT_SILENT || s->state == ACCEPT_HEARD)
        leave(a, s);
    s->state = ACCEPT_NONE;
}

void io_zmq_accept_heard(struct io_zmq *z, int fd)
{
    if (fd >= 0 && fd < z->accept.files && z->accept.sockets[fd].state == ACCEPT_SILENT)
        z->accept.sockets[fd].state = ACCEPT_HEARD;
}

bool io_zmq_accept_turn(struct io_zmq *z)
{
    uint8_t event[64], endpoint[256];
    for (int n = 0; n < ACCEPT_TURN_MAX; n++) {
        int size = zmq_recv(z->accept.monitor, event, sizeof event, ZMQ_DONTWAIT);
        if (size < 0)
            return false;
        zmq_recv(z->accept.monitor, endpoint, sizeof endpoint, ZMQ_DONTWAIT);
        uint16_t kind;
        int32_t fd;
        if (size < ACCEPT_EVENT_SIZE)
            continue;
        memcpy(&kind, event, sizeof kind);
        memcpy(&fd, event + 2, sizeof fd);
        if (fd >= 0 && kind == ZMQ_EVENT_ACCEPTED)
            came(z, fd);
        else if (fd >= 0)
            went(&z->accept, fd);
    }
    return true;
}
