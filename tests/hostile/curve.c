#include "tests/hostile/curve.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/io_os.h"

#define GREETING_SIZE 64
#define FRAME_LONG 2
#define FRAME_COMMAND 4

void curve_open(struct curve *c, const struct addr *to, const uint8_t server[32], const uint8_t *keys)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(to->port) };
    memset(c, 0, sizeof *c);
    c->wait_ms = ANSWER_MS;
    memcpy(&sa.sin_addr, to->ip, 4);
    memcpy(c->server, server, 32);
    if (keys) {
        memcpy(c->pk, keys, 32);
        memcpy(c->sk, keys + 32, 32);
    } else {
        crypto_box_keypair(c->pk, c->sk);
    }
    crypto_box_keypair(c->short_pk, c->short_sk);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    if (c->fd < 0 || setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on)) /* frames go in two writes */
        die("no TCP socket");
    if (connect(c->fd, (struct sockaddr *)&sa, sizeof sa))
        c->state = CURVE_CLOSED;
}

void curve_close(struct curve *c)
{
    close(c->fd);
    c->fd = -1;
}

bool curve_write(struct curve *c, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (size) {
        ssize_t n = send(c->fd, at, size, MSG_NOSIGNAL);
        if (n <= 0) {
            c->state = CURVE_CLOSED;
            return false;
        }
        at += n;
        size -= (size_t)n;
    }
    return true;
}

/* Exactly size bytes; false: closed or silent, and state says which. */
static bool read_all(struct curve *c, void *buf, size_t size)
{
    uint8_t *at = buf;
    struct pollfd p = { .fd = c->fd, .events = POLLIN };
    uint64_t end = io_os_now().mono_ms + (uint64_t)c->wait_ms;
    while (size) {
        uint64_t now = io_os_now().mono_ms;
        if (now >= end || poll(&p, 1, (int)(end - now)) <= 0) {
            c->state = CURVE_SILENT;
            return false;
        }
        ssize_t n = recv(c->fd, at, size, 0);
        if (n <= 0) {
            c->state = CURVE_CLOSED;
            return false;
        }
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static bool read_frame(struct curve *c, uint8_t *buf, size_t cap, size_t *ret_size)
{
    uint8_t head[9];
    if (!read_all(c, head, 2))
        return false;
    uint64_t size = head[1];
    if (head[0] & FRAME_LONG) {
        if (!read_all(c, head + 2, 7))
            return false;
        size = be64(head + 1);
    }
    if (size > cap)
        die("a node sends a frame that is too long");
    *ret_size = (size_t)size;
    return read_all(c, buf, (size_t)size);
}

static bool write_frame(struct curve *c, uint8_t flags, const void *data, size_t size)
{
    uint8_t head[9] = { flags };
    if (size < 256) {
        head[1] = (uint8_t)size;
        return curve_write(c, head, 2) && curve_write(c, data, size);
    }
    head[0] |= FRAME_LONG;
    put_be64(head + 1, size);
    return curve_write(c, head, 9) && curve_write(c, data, size);
}

/*  offset size
 *     0    10  ff 00*8 7f                 32     1  as-server: 0
 *    10     2  version 3.0                33    31  zero
 *    12    20  mechanism, zero-filled */
void curve_greet(struct curve *c, const char *mechanism)
{
    uint8_t g[GREETING_SIZE] = { 0xff, [9] = 0x7f, [10] = 3 }, theirs[GREETING_SIZE];
    if (c->state != CURVE_TCP)
        return;
    memcpy(g + 12, mechanism, strlen(mechanism));
    if (curve_write(c, g, sizeof g) && read_all(c, theirs, sizeof theirs))
        c->state = CURVE_GREETED;
}

static void nonce_text(uint8_t ret[24], const char *prefix, uint64_t n)
{
    memcpy(ret, prefix, 16);
    put_be64(ret + 16, n);
}

/* A command in place of the one we wait for: "\5ERROR" and a reason. */
static void take_error(struct curve *c, const uint8_t *frame, size_t size)
{
    c->state = CURVE_REFUSED;
    if (size > 7 && memcmp(frame, "\5ERROR", 6) == 0 && frame[6] < sizeof c->error && size == 7u + frame[6])
        memcpy(c->error, frame + 7, frame[6]);
}

/*  offset size
 *     0     6  "\5HELLO"                  80    32  our short-term key
 *     6     2  version 1.0               112     8  nonce
 *     8    72  zero                      120    80  box of 64 zeros, from it to the server's long-term key */
void curve_hello(struct curve *c)
{
    uint8_t h[200] = "\5HELLO\1", zero[64] = { 0 }, nonce[24], frame[600], plain[128];
    size_t size;
    if (c->state != CURVE_GREETED)
        return;
    memcpy(h + 80, c->short_pk, 32);
    put_be64(h + 112, ++c->nonce);
    nonce_text(nonce, "CurveZMQHELLO---", c->nonce);
    if (crypto_box_easy(h + 120, zero, sizeof zero, nonce, c->server, c->short_sk))
        die("crypto_box");
    if (!write_frame(c, FRAME_COMMAND, h, sizeof h) || !read_frame(c, frame, sizeof frame, &size))
        return;
    if (size != 168 || memcmp(frame, "\7WELCOME", 8) != 0) {
        take_error(c, frame, size);
        return;
    }
    memcpy(nonce, "WELCOME-", 8);
    memcpy(nonce + 8, frame + 8, 16);
    if (crypto_box_open_easy(plain, frame + 24, 144, nonce, c->server, c->short_sk))
        die("a WELCOME that does not open");
    memcpy(c->server_short, plain, 32);
    memcpy(c->cookie, plain + 32, 96);
    c->state = CURVE_WELCOME;
}

static size_t put_property(uint8_t *at, const char *name, const char *value)
{
    size_t n = strlen(name), v = strlen(value);
    at[0] = (uint8_t)n;
    memcpy(at + 1, name, n);
    put_be32(at + 1 + n, (uint32_t)v);
    memcpy(at + 5 + n, value, v);
    return 5 + n + v;
}

/*  offset size                            in the box, from our short-term key to the server's
 *     0     9  "\10INITIATE"                0    32  our long-term key
 *     9    96  cookie                      32    16  nonce of the vouch
 *   105     8  nonce                       48    80  vouch: box of our short-term and the server's long-term key,
 *   113     -  box                                   from our long-term key to the server's short-term one
 *                                         128     -  metadata */
void curve_initiate(struct curve *c)
{
    uint8_t i[1024] = "\10INITIATE", plain[512], keys[64], nonce[24], frame[600];
    size_t size, n = 128;
    if (c->state != CURVE_WELCOME)
        return;
    memcpy(i + 9, c->cookie, 96);
    i[9 + 50] ^= c->bad_cookie;
    memcpy(plain, c->pk, 32);
    randombytes_buf(plain + 32, 16);
    memcpy(nonce, "VOUCH---", 8);
    memcpy(nonce + 8, plain + 32, 16);
    memcpy(keys, c->short_pk, 32);
    memcpy(keys + 32, c->server, 32);
    if (crypto_box_easy(plain + 48, keys, sizeof keys, nonce, c->server_short, c->sk))
        die("crypto_box");
    plain[60] ^= c->bad_vouch;
    n += put_property(plain + n, "Socket-Type", "PUSH");
    n += put_property(plain + n, "Identity", "");
    if (c->user_id)
        n += put_property(plain + n, "User-Id", c->user_id);
    put_be64(i + 105, ++c->nonce);
    nonce_text(nonce, "CurveZMQINITIATE", c->nonce);
    if (crypto_box_easy(i + 113, plain, n, nonce, c->server_short, c->short_sk))
        die("crypto_box");
    if (!write_frame(c, FRAME_COMMAND, i, 113 + n + crypto_box_MACBYTES) || !read_frame(c, frame, sizeof frame, &size))
        return;
    if (size > 14 && memcmp(frame, "\5READY", 6) == 0)
        c->state = CURVE_READY;
    else
        take_error(c, frame, size);
}

void curve_handshake(struct curve *c)
{
    curve_greet(c, "CURVE");
    curve_hello(c);
    curve_initiate(c);
}

/*  offset size
 *     0     1  flags: 2, long
 *     1     8  bytes that follow
 *     9     8  "\7MESSAGE"
 *    17     8  nonce
 *    25     -  box of flags (1) and data, between the short-term keys */
size_t curve_seal(struct curve *c, const void *data, size_t size, uint8_t *ret, size_t cap)
{
    uint8_t nonce[24], *plain = malloc(size + 1);
    size_t total = 25 + size + 1 + crypto_box_MACBYTES;
    if (!plain || total > cap)
        die("no memory");
    plain[0] = 0;
    memcpy(plain + 1, data, size);
    ret[0] = FRAME_LONG;
    put_be64(ret + 1, total - 9);
    memcpy(ret + 9, "\7MESSAGE", 8);
    put_be64(ret + 17, ++c->nonce);
    nonce_text(nonce, "CurveZMQMESSAGEC", c->nonce);
    if (crypto_box_easy(ret + 25, plain, size + 1, nonce, c->server_short, c->short_sk))
        die("crypto_box");
    free(plain);
    return total;
}

bool curve_send(struct curve *c, const void *data, size_t size)
{
    size_t cap = size + 64;
    uint8_t *buf = malloc(cap);
    if (!buf)
        die("no memory");
    size_t n = curve_seal(c, data, size, buf, cap);
    bool sent = curve_write(c, buf, n);
    free(buf);
    return sent;
}

bool curve_is_closed(struct curve *c, int within_ms)
{
    uint8_t skipped[512];
    struct pollfd p = { .fd = c->fd, .events = POLLIN };
    uint64_t end = io_os_now().mono_ms + (uint64_t)within_ms;
    for (;;) { /* heartbeats may come */
        uint64_t now = io_os_now().mono_ms;
        if (now >= end || poll(&p, 1, (int)(end - now)) <= 0)
            return false;
        if (recv(c->fd, skipped, sizeof skipped, 0) <= 0)
            return true;
    }
}

const char *curve_answer(const struct curve *c)
{
    static char text[24];
    switch (c->state) {
    case CURVE_TCP: return "connected";
    case CURVE_GREETED: return "greeting";
    case CURVE_WELCOME: return "welcome";
    case CURVE_READY: return "ready";
    case CURVE_CLOSED: return "closed";
    case CURVE_SILENT: return "silent";
    case CURVE_REFUSED: break;
    }
    snprintf(text, sizeof text, "error %s", c->error);
    return text;
}
