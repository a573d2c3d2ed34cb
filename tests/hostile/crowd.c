/* Strangers who ask and cannot be answered: each has a key of its own, a good HELLO that names a place where somebody
 * listens and says nothing, and a question every second. A node that dials back to all of them has no link left
 * for its friends. */
#include <arpa/inet.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/io_os.h"
#include "tests/hostile/curve.h"
#include "tests/hostile/forge.h"

#define ASK_EVERY_MS 1000

static int silent_listener(struct addr *ret)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, size) || listen(fd, 4096) ||
        getsockname(fd, (struct sockaddr *)&sa, &size))
        die("no listener");
    *ret = (struct addr){ .family = 4, .ip = { 127, 0, 0, 1 }, .port = ntohs(sa.sin_port) };
    return fd;
}

static void introduce(struct curve *c, const struct addr *where, unsigned i)
{
    uint8_t v[KAD_OWN_VALUE_MAX], out[1024];
    char name[32];
    struct message m = { .kind = MESSAGE_HELLO };
    snprintf(name, sizeof name, "stranger %u", i);
    struct identity *me = identity_named(name);
    forge_connection(me->pk, me, where, c->pk, unix_s(), v, &m.hello.record);
    struct span bytes = forge_encode(&m, out, sizeof out);
    curve_send(c, bytes.data, bytes.size);
    identity_free(me);
}

static void ask(struct curve *c, const struct victim *v)
{
    uint8_t out[256];
    struct message m = { .kind = MESSAGE_WANT, .want = { .from = 1, .bytes_max = 1 } };
    memcpy(m.want.author, v->pk, KEY_SIZE);
    struct span bytes = forge_encode(&m, out, sizeof out);
    curve_send(c, bytes.data, bytes.size);
}

int attack_crowd(struct victim *v, int count)
{
    struct curve *crowd = calloc((size_t)count, sizeof *crowd);
    struct pollfd in = { .fd = 0, .events = POLLIN };
    struct addr where;
    int listener = silent_listener(&where), inside = 0;
    if (!crowd)
        die("no memory");
    for (int i = 0; i < count; i++) {
        curve_open(&crowd[i], &v->addr, v->key, NULL);
        curve_handshake(&crowd[i]);
        if (crowd[i].state == CURVE_READY)
            introduce(&crowd[i], &where, (unsigned)i);
        inside += crowd[i].state == CURVE_READY;
        if (i > 150 && i % 20 == 0) /* HELLOs of strangers have a budget: not faster than it lets them in */
            usleep(200 * 1000);
    }
    printf("inside %d\n", inside);
    do
        for (int i = 0; i < count; i++)
            if (crowd[i].state == CURVE_READY)
                ask(&crowd[i], v);
    while (poll(&in, 1, ASK_EVERY_MS) == 0);
    for (int i = 0; i < count; i++)
        curve_close(&crowd[i]);
    close(listener);
    free(crowd);
    return 0;
}
