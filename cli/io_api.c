#include "cli/io_api.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>
#include "core/err.h"

#define API_ENDPOINT_SIZE (IO_HOME_PATH_SIZE + 8)
#define API_ALIVE_MS 500      /* how often a waiting client looks at the lock */
#define API_LINGER_MS 500     /* the last answers of a node that ends */
#define API_ROUTE_SIZE 5      /* libzmq's own routing ids: a zero byte and 32 bits */
/* Replies a client may leave unread before it is dropped; a list of all followers may be long. */
#define API_SEND_QUEUE 100000

/* ---- memory ----------------------------------------------------------------------------------------- */

static void free_wiped(void *p)
{
    if (!p)
        return;
    explicit_bzero(p, malloc_usable_size(p));
    free(p);
}

void io_api_wipe_json(void) { json_set_alloc_funcs(malloc, free_wiped); }

static void free_wiped_hint(void *p, void *hint)
{
    (void)hint;
    free_wiped(p);
}

/* What libzmq received lies in its own buffer until the message closes. */
static void message_wipe(zmq_msg_t *m)
{
    if (zmq_msg_size(m))
        explicit_bzero(zmq_msg_data(m), zmq_msg_size(m));
    zmq_msg_close(m);
}

static void endpoint_of(const struct io_home *home, char ret[API_ENDPOINT_SIZE])
{
    snprintf(ret, API_ENDPOINT_SIZE, "ipc://%s", home->socket);
}

static bool set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

static bool set_message_max(void *socket)
{
    const int64_t max = IO_API_MESSAGE_MAX;
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &max, sizeof max) == 0;
}

/* ---- client ----------------------------------------------------------------------------------------- */

struct io_api_client {
    struct io_home home;
    void *ctx, *socket;
};

static uint64_t mono_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int io_api_connect(const struct io_home *home, struct io_api_client **ret)
{
    char endpoint[API_ENDPOINT_SIZE];
    pid_t pid;
    struct io_api_client *c;

    if (home_node(home, &pid))
        return CAM_ENONODE;
    c = calloc(1, sizeof *c);
    if (!c)
        return CAM_ESYS;
    c->home = *home;
    endpoint_of(home, endpoint);
    c->ctx = zmq_ctx_new();
    if (c->ctx)
        c->socket = zmq_socket(c->ctx, ZMQ_DEALER);
    /* The queues are unbounded because a client that sends a long file of posts, or reads a long list, is
     * alone with its node; the node's side has the limits. */
    if (!c->socket || !set_int(c->socket, ZMQ_LINGER, 0) || !set_int(c->socket, ZMQ_SNDHWM, 0) ||
        !set_int(c->socket, ZMQ_RCVHWM, 0) || !set_int(c->socket, ZMQ_RECONNECT_IVL, 20) ||
        !set_message_max(c->socket) || zmq_connect(c->socket, endpoint)) {
        io_api_close(c);
        return CAM_ESYS;
    }
    *ret = c;
    return 0;
}

void io_api_close(struct io_api_client *c)
{
    if (!c)
        return;
    if (c->socket)
        zmq_close(c->socket);
    if (c->ctx)
        while (zmq_ctx_term(c->ctx) && zmq_errno() == EINTR) {}
    free(c);
}

int io_api_send(struct io_api_client *c, json_t *request, uint64_t tag)
{
    char *text = NULL;
    size_t size = 0;
    zmq_msg_t m;
    pid_t pid;
    int err = 0;

    if (request && json_object_set_new(request, "v", json_integer(1)) == 0 &&
        json_object_set_new(request, "tag", json_integer((json_int_t)tag)) == 0)
        text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    if (!text)
        return CAM_EINVAL; /* it was not made: text that is no UTF-8, or no memory */
    size = strlen(text);
    if (size > IO_API_MESSAGE_MAX)
        err = CAM_ETOOBIG;
    else if (home_node(&c->home, &pid))
        err = CAM_ENONODE;
    if (err || zmq_msg_init_data(&m, text, size, free_wiped_hint, NULL)) {
        free_wiped(text);
        return err ? err : CAM_ESYS;
    }
    while (zmq_msg_send(&m, c->socket, 0) < 0) {
        if (zmq_errno() == EINTR)
            continue;
        zmq_msg_close(&m);
        return CAM_ESYS;
    }
    return 0;
}

static int reply_parse(zmq_msg_t *m, struct io_api_reply *ret)
{
    json_t *json = json_loadb(zmq_msg_data(m), zmq_msg_size(m), JSON_REJECT_DUPLICATES, NULL), *tag;

    if (!json_is_object(json) || !json_is_integer(tag = json_object_get(json, "tag"))) {
        json_decref(json);
        return CAM_EFORMAT;
    }
    const char *message = json_string_value(json_object_get(json, "message"));
    json_t *row = json_object_get(json, "row");
    ret->json = json;
    ret->tag = (uint64_t)json_integer_value(tag);
    ret->row = json_is_object(row) ? row : NULL;
    ret->done = json_is_true(json_object_get(json, "done"));
    ret->status = (int)json_integer_value(json_object_get(json, "status"));
    ret->error = json_string_value(json_object_get(json, "error"));
    ret->message = message ? message : "";
    return 0;
}

int io_api_recv(struct io_api_client *c, int timeout_ms, struct io_api_reply *ret)
{
    uint64_t start = mono_ms();
    zmq_msg_t m;
    pid_t pid;

    for (bool last_look = false;;) {
        zmq_msg_init(&m);
        if (zmq_msg_recv(&m, c->socket, ZMQ_DONTWAIT) >= 0) {
            int err = reply_parse(&m, ret);
            message_wipe(&m);
            return err;
        }
        zmq_msg_close(&m);
        if (last_look)
            return CAM_ENONODE;
        uint64_t spent = mono_ms() - start, wait = API_ALIVE_MS;
        if (timeout_ms >= 0) {
            if (spent >= (uint64_t)timeout_ms)
                return CAM_ETIMEOUT;
            if ((uint64_t)timeout_ms - spent < wait)
                wait = (uint64_t)timeout_ms - spent;
        }
        zmq_pollitem_t item = { c->socket, 0, ZMQ_POLLIN, 0 };
        int n = zmq_poll(&item, 1, (long)wait);
        if (n < 0)
            return zmq_errno() == EINTR ? CAM_EINTR : CAM_ESYS;
        /* A node that ended may have answered first: one more look at what arrived. */
        if (n == 0 && wait == API_ALIVE_MS && home_node(&c->home, &pid))
            last_look = true;
    }
}

void io_api_reply_clear(struct io_api_reply *reply)
{
    json_decref(reply->json);
    memset(reply, 0, sizeof *reply);
}

int io_api_fd(const struct io_api_client *c)
{
    int fd = -1;
    size_t size = sizeof fd;
    return zmq_getsockopt(c->socket, ZMQ_FD, &fd, &size) ? -1 : fd;
}

int io_api_call(struct io_api_client *c, json_t *request, int timeout_ms,
                bool (*row)(void *ctx, json_t *row), void *ctx, struct io_api_reply *ret_done)
{
    static uint64_t last_tag = UINT32_MAX; /* apart from what callers of io_api_send choose */
    uint64_t tag = ++last_tag;
    struct io_api_reply reply;
    int err = io_api_send(c, request, tag);

    while (!err && !(err = io_api_recv(c, timeout_ms, &reply))) {
        if (reply.tag == tag && reply.done) {
            *ret_done = reply;
            return 0;
        }
        if (reply.tag == tag && reply.row && row && !row(ctx, reply.row)) {
            io_api_send(c, json_pack("{s:s, s:I}", "do", "cancel", "cancel", (json_int_t)tag), ++last_tag);
            err = CAM_EINTR;
        }
        io_api_reply_clear(&reply);
    }
    return err;
}

/* ---- node ------------------------------------------------------------------------------------------- */

struct io_api_server {
    void *socket;
    int fd;
    zmq_msg_t in; /* what the last request points to */
    bool more;
    char path[IO_HOME_PATH_SIZE];
};

int io_api_bind(const struct io_home *home, void *zmq_ctx, struct io_api_server **ret,
                char ret_why[HOME_WHY_MAX])
{
    char endpoint[API_ENDPOINT_SIZE];
    struct io_api_server *s = calloc(1, sizeof *s);
    size_t size = sizeof s->fd;

    endpoint_of(home, endpoint);
    if (!s) {
        snprintf(ret_why, HOME_WHY_MAX, "%s: out of memory", endpoint);
        return CAM_ESYS;
    }
    zmq_msg_init(&s->in);
    snprintf(s->path, sizeof s->path, "%s", home->socket);
    s->more = true; /* the first read arms ZMQ_FD */
    s->socket = zmq_socket(zmq_ctx, ZMQ_ROUTER);
    mode_t mask = umask(0077); /* the folder is 0700 too */
    bool bound = s->socket && set_int(s->socket, ZMQ_LINGER, API_LINGER_MS) &&
                 set_int(s->socket, ZMQ_ROUTER_MANDATORY, 1) &&
                 set_int(s->socket, ZMQ_SNDHWM, API_SEND_QUEUE) && set_message_max(s->socket) &&
                 zmq_bind(s->socket, endpoint) == 0 && zmq_getsockopt(s->socket, ZMQ_FD, &s->fd, &size) == 0;
    int code = zmq_errno();
    umask(mask);
    if (!bound) {
        snprintf(ret_why, HOME_WHY_MAX, "cannot listen at %s: %s", endpoint, zmq_strerror(code));
        io_api_unbind(s);
        return CAM_ESYS;
    }
    *ret = s;
    return 0;
}

void io_api_unbind(struct io_api_server *s)
{
    if (!s)
        return;
    message_wipe(&s->in);
    if (s->socket)
        zmq_close(s->socket);
    unlink(s->path); /* libzmq leaves it; the lock says that nobody else's can be there yet */
    free(s);
}

int io_api_server_fd(const struct io_api_server *s) { return s->fd; }

/* A message is the routing id, perhaps an empty delimiter (from a REQ), and one frame of JSON; anything else,
 * and whoever chose a routing id of his own, is skipped. */
bool io_api_next(struct io_api_server *s, uint64_t *ret_client, const char **ret_text, size_t *ret_size)
{
    for (;;) {
        uint8_t route[API_ROUTE_SIZE] = { 0 };
        zmq_msg_t m;

        message_wipe(&s->in);
        zmq_msg_init(&s->in);
        zmq_msg_init(&m);
        if (zmq_msg_recv(&m, s->socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&m);
            s->more = false;
            return false;
        }
        s->more = true;
        bool good = zmq_msg_size(&m) == API_ROUTE_SIZE && zmq_msg_more(&m);
        if (good)
            memcpy(route, zmq_msg_data(&m), sizeof route);
        bool rest = zmq_msg_more(&m);
        zmq_msg_close(&m);
        for (int frames = 0; rest; frames++) {
            message_wipe(&s->in);
            zmq_msg_init(&s->in);
            if (zmq_msg_recv(&s->in, s->socket, ZMQ_DONTWAIT) < 0) {
                good = false; /* cannot be: the frames of one message arrive together */
                break;
            }
            rest = zmq_msg_more(&s->in);
            if (rest && (frames > 0 || zmq_msg_size(&s->in) > 0))
                good = false;
        }
        if (!good || route[0] != 0)
            continue;
        *ret_client = be32(route + 1);
        *ret_text = zmq_msg_data(&s->in);
        *ret_size = zmq_msg_size(&s->in);
        return true;
    }
}

bool io_api_ready(struct io_api_server *s)
{
    int events = 0;
    size_t size = sizeof events;
    return s->more || (zmq_getsockopt(s->socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN));
}

int io_api_reply(struct io_api_server *s, uint64_t client, const char *text, size_t size)
{
    uint8_t route[API_ROUTE_SIZE] = { 0 };

    put_be32(route + 1, (uint32_t)client);
    if (zmq_send(s->socket, route, sizeof route, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
        zmq_send(s->socket, text, size, ZMQ_DONTWAIT) < 0)
        return zmq_errno() == EAGAIN ? CAM_EAGAIN : CAM_ENOENT;
    return 0;
}
