#include "timeline/io_zap.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>
#include "core/err.h"

#define ZAP_ENDPOINT "inproc://zeromq.zap.01"
#define ZAP_PROBE_DOMAIN "probe"
#define ZAP_PROBE_MS 2000
#define ZAP_TURN_MAX 256  /* handshakes answered in one turn */
#define ZAP_FRAMES_MAX 16
#define ZAP_WAYS 4        /* places an address may take in the table */

/* Handshakes of one address, as a bucket that fills with time. A stranger who sends from many addresses
 * pushes out the ones that were quiet longest, which by then have a full bucket again. */
struct zap_bucket {
    uint8_t ip[16];
    uint8_t family; /* 0: free */
    uint64_t at_ms;
    uint32_t milli; /* handshakes left, in thousandths */
};

struct io_zap {
    void *socket;
    int fd;
    bool (*admits)(void *ctx, const uint8_t key[LINK_KEY_SIZE]);
    void *ctx;
    uint8_t probe_key[LINK_KEY_SIZE]; /* the one key that the probe's domain admits */
    uint64_t mono_ms;
    struct io_zap_counters count;
    struct zap_bucket buckets[IO_ZAP_ADDRESSES_MAX];
};

int io_zap_open(void *zmq_ctx, struct io_zap **ret)
{
    struct io_zap *zap = calloc(1, sizeof *zap);
    size_t size = sizeof zap->fd;
    const int linger = 0;

    if (!zap)
        return CAM_ESYS;
    zap->socket = zmq_socket(zmq_ctx, ZMQ_ROUTER);
    if (!zap->socket || zmq_setsockopt(zap->socket, ZMQ_LINGER, &linger, sizeof linger) ||
        zmq_bind(zap->socket, ZAP_ENDPOINT) || zmq_getsockopt(zap->socket, ZMQ_FD, &zap->fd, &size)) {
        io_zap_close(zap);
        return CAM_ESYS;
    }
    *ret = zap;
    return 0;
}

void io_zap_close(struct io_zap *zap)
{
    if (!zap)
        return;
    if (zap->socket)
        zmq_close(zap->socket);
    free(zap);
}

void io_zap_admit(struct io_zap *zap, bool (*admits)(void *ctx, const uint8_t key[LINK_KEY_SIZE]), void *ctx)
{
    zap->admits = admits;
    zap->ctx = ctx;
}

int io_zap_fd(const struct io_zap *zap) { return zap->fd; }
void io_zap_counters(const struct io_zap *zap, struct io_zap_counters *ret) { *ret = zap->count; }

/* ---- the rate of handshakes ------------------------------------------------------------------------- */

/* libzmq gives the peer's address as text without a port; IPv4 may come dressed as IPv6. */
static bool zap_address(const char *text, struct addr *ret)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    struct in6_addr v6;

    memset(ret, 0, sizeof *ret);
    if (inet_pton(AF_INET, text, ret->ip) == 1) {
        ret->family = 4;
        return true;
    }
    if (inet_pton(AF_INET6, text, &v6) != 1)
        return false;
    if (memcmp(&v6, mapped, sizeof mapped) == 0) {
        ret->family = 4;
        memcpy(ret->ip, (const uint8_t *)&v6 + 12, 4);
    } else {
        ret->family = 6;
        memcpy(ret->ip, &v6, 16);
    }
    return true;
}

static struct zap_bucket *zap_bucket_of(struct io_zap *zap, const struct addr *who, uint32_t full,
                                        uint64_t mono_ms)
{
    uint32_t hash = 2166136261u; /* FNV-1a; a collision costs only a shared bucket's place */
    for (size_t i = 0; i < sizeof who->ip; i++)
        hash = (hash ^ who->ip[i]) * 16777619u;
    struct zap_bucket *way = &zap->buckets[hash % (IO_ZAP_ADDRESSES_MAX / ZAP_WAYS) * ZAP_WAYS],
                      *oldest = way;
    for (int i = 0; i < ZAP_WAYS; i++) {
        if (way[i].family == who->family && memcmp(way[i].ip, who->ip, sizeof who->ip) == 0)
            return &way[i];
        if (way[i].family == 0 || way[i].at_ms < oldest->at_ms)
            oldest = &way[i];
    }
    memcpy(oldest->ip, who->ip, sizeof who->ip);
    oldest->family = who->family;
    oldest->at_ms = mono_ms;
    oldest->milli = full;
    return oldest;
}

static bool zap_within_rate(struct io_zap *zap, const char *address)
{
    struct addr who;

    if (!zap_address(address, &who))
        return false;
    uint32_t factor = addr_is_local(&who) ? IO_ZAP_LOCAL_FACTOR : 1;
    if (who.family == 6)
        memset(who.ip + 8, 0, 8); /* one household has a /64 */
    uint32_t full = IO_ZAP_BURST * factor * 1000;
    struct zap_bucket *b = zap_bucket_of(zap, &who, full, zap->mono_ms);
    uint64_t gained = (zap->mono_ms - b->at_ms) * IO_ZAP_PER_S * factor;
    b->milli = gained > full - b->milli ? full : b->milli + (uint32_t)gained;
    b->at_ms = zap->mono_ms;
    if (b->milli < 1000)
        return false;
    b->milli -= 1000;
    return true;
}

/* ---- requests --------------------------------------------------------------------------------------- */

/* RFC 27, one frame each, as the ROUTER sees them.
 *     request: routing id | "" | "1.0" | request id | domain | address | identity | mechanism | the key (32)
 *     reply:   routing id | "" | "1.0" | request id | "200" or "400" or "300" | text | user id | metadata
 */
enum { ZAP_ROUTE, ZAP_EMPTY, ZAP_VERSION, ZAP_REQUEST, ZAP_DOMAIN, ZAP_ADDRESS, ZAP_IDENTITY, ZAP_MECHANISM,
       ZAP_KEY, ZAP_FRAMES };

struct zap_request {
    zmq_msg_t frame[ZAP_FRAMES];
    int count; /* frames that came, also beyond ZAP_FRAMES */
};

static bool zap_recv(struct io_zap *zap, struct zap_request *r)
{
    r->count = 0;
    for (;;) {
        zmq_msg_t extra, *frame = r->count < ZAP_FRAMES ? &r->frame[r->count] : &extra;
        zmq_msg_init(frame);
        if (zmq_msg_recv(frame, zap->socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(frame);
            for (int i = 0; i < r->count && i < ZAP_FRAMES; i++)
                zmq_msg_close(&r->frame[i]);
            return false;
        }
        bool more = zmq_msg_more(frame);
        r->count++;
        if (frame == &extra)
            zmq_msg_close(&extra);
        if (!more)
            return true;
    }
}

static bool zap_frame_is(struct zap_request *r, int i, const char *text)
{
    size_t size = strlen(text);
    return zmq_msg_size(&r->frame[i]) == size && memcmp(zmq_msg_data(&r->frame[i]), text, size) == 0;
}

static const char *zap_judge(struct io_zap *zap, struct zap_request *r)
{
    char address[64];
    size_t size = zmq_msg_size(&r->frame[ZAP_ADDRESS]);

    if (!zap_frame_is(r, ZAP_VERSION, "1.0") || !zap_frame_is(r, ZAP_MECHANISM, "CURVE") ||
        zmq_msg_size(&r->frame[ZAP_KEY]) != LINK_KEY_SIZE || size >= sizeof address) {
        zap->count.malformed++;
        return "400";
    }
    const uint8_t *key = zmq_msg_data(&r->frame[ZAP_KEY]);
    if (zap_frame_is(r, ZAP_DOMAIN, ZAP_PROBE_DOMAIN))
        return memcmp(key, zap->probe_key, LINK_KEY_SIZE) == 0 ? "200" : "400";
    memcpy(address, zmq_msg_data(&r->frame[ZAP_ADDRESS]), size);
    address[size] = '\0';
    if (!zap_within_rate(zap, address)) {
        zap->count.limited++;
        return "300"; /* hung up on without a word: may try again */
    }
    if (!zap_frame_is(r, ZAP_DOMAIN, IO_ZAP_DOMAIN) || !zap->admits || !zap->admits(zap->ctx, key)) {
        zap->count.refused++;
        return "400";
    }
    zap->count.admitted++;
    return "200";
}

static void zap_reply(struct io_zap *zap, struct zap_request *r, const char *status)
{
    char user[IO_ZAP_USER_ID_CHARS + 1] = "";
    bool good = status[0] == '2';

    if (good)
        hex_encode(user, zmq_msg_data(&r->frame[ZAP_KEY]), LINK_KEY_SIZE);
    /* A session that is gone meanwhile makes these fail; there is nobody left to tell. */
    zmq_msg_send(&r->frame[ZAP_ROUTE], zap->socket, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send(zap->socket, "", 0, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send(zap->socket, "1.0", 3, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_msg_send(&r->frame[ZAP_REQUEST], zap->socket, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send(zap->socket, status, 3, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send(zap->socket, good ? "OK" : "No", 2, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send(zap->socket, user, strlen(user), ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send(zap->socket, "", 0, ZMQ_DONTWAIT);
}

static int zap_serve(struct io_zap *zap, int max)
{
    struct zap_request r;
    int served = 0;

    while (served < max && zap_recv(zap, &r)) {
        served++;
        if (r.count == ZAP_FRAMES)
            zap_reply(zap, &r, zap_judge(zap, &r));
        else
            zap->count.malformed++; /* not libzmq's: it waits for its handshake's time-out */
        for (int i = 0; i < r.count && i < ZAP_FRAMES; i++)
            zmq_msg_close(&r.frame[i]);
    }
    return served;
}

/* The last thing zap_serve does is a read that finds nothing, which is what re-arms ZMQ_FD. */
bool io_zap_turn(struct io_zap *zap, uint64_t mono_ms)
{
    zap->mono_ms = mono_ms;
    return zap_serve(zap, ZAP_TURN_MAX) == ZAP_TURN_MAX;
}

/* ---- the probe -------------------------------------------------------------------------------------- */

struct zap_pair { char pk[41], sk[41]; };

static void *zap_probe_client(void *zmq_ctx, const char *endpoint, const char *server_pk,
                              const struct zap_pair *keys)
{
    const int zero = 0, one = 1;
    void *s = zmq_socket(zmq_ctx, ZMQ_PUSH);
    if (s && (zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero) ||
              zmq_setsockopt(s, ZMQ_IMMEDIATE, &one, sizeof one) ||
              zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, server_pk, 41) ||
              zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, keys->pk, 41) ||
              zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, keys->sk, 41) || zmq_connect(s, endpoint))) {
        zmq_close(s);
        s = NULL;
    }
    return s;
}

/* libzmq lets everybody in when it finds no handler; a wrong build or option would not be noticed until a
 * stranger is inside. So try it: first a key that must be refused, and when the handler has said so, one that
 * must get in. By the time the second is in, the first has had its chance. */
int io_zap_probe(struct io_zap *zap, void *zmq_ctx)
{
    const int zero = 0, one = 1;
    struct zap_pair server, good, bad;
    char endpoint[128];
    size_t size = sizeof endpoint;
    void *pull = NULL, *push_good = NULL, *push_bad = NULL;
    int err = CAM_ESYS, asked = 0;

    if (zmq_curve_keypair(server.pk, server.sk) || zmq_curve_keypair(good.pk, good.sk) ||
        zmq_curve_keypair(bad.pk, bad.sk) || !zmq_z85_decode(zap->probe_key, good.pk))
        return CAM_ESYS;
    pull = zmq_socket(zmq_ctx, ZMQ_PULL);
    if (!pull || zmq_setsockopt(pull, ZMQ_LINGER, &zero, sizeof zero) ||
        zmq_setsockopt(pull, ZMQ_CURVE_SERVER, &one, sizeof one) ||
        zmq_setsockopt(pull, ZMQ_CURVE_SECRETKEY, server.sk, 41) ||
        zmq_setsockopt(pull, IO_ZAP_ENFORCE_DOMAIN, &one, sizeof one) ||
        zmq_setsockopt(pull, ZMQ_ZAP_DOMAIN, ZAP_PROBE_DOMAIN, strlen(ZAP_PROBE_DOMAIN)) ||
        zmq_bind(pull, "tcp://127.0.0.1:*") || zmq_getsockopt(pull, ZMQ_LAST_ENDPOINT, endpoint, &size))
        goto out;
    push_bad = zap_probe_client(zmq_ctx, endpoint, server.pk, &bad);
    if (!push_bad)
        goto out;
    for (int waited = 0; waited < ZAP_PROBE_MS && err; waited += 10) {
        zmq_pollitem_t items[3] = { { zap->socket, 0, ZMQ_POLLIN, 0 }, { push_bad, 0, ZMQ_POLLOUT, 0 },
                                    { push_good, 0, ZMQ_POLLOUT, 0 } };
        if (zmq_poll(items, push_good ? 3 : 2, 10) < 0)
            continue;
        if (items[1].revents)
            break; /* it came in: the handler is not obeyed */
        asked += zap_serve(zap, 1);
        if (asked && !push_good) {
            push_good = zap_probe_client(zmq_ctx, endpoint, server.pk, &good);
            if (!push_good)
                break;
        } else if (push_good && items[2].revents && asked >= 2) {
            err = 0;
        }
    }
out:
    if (push_good)
        zmq_close(push_good);
    if (push_bad)
        zmq_close(push_bad);
    if (pull)
        zmq_close(pull);
    explicit_bzero(&server, sizeof server);
    explicit_bzero(&good, sizeof good);
    explicit_bzero(&bad, sizeof bad);
    return err;
}
