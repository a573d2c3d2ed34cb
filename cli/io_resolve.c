#include "cli/io_resolve.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/err.h"
#include "core/now.h"

#define RESOLVE_STACK_BYTES (256 * 1024)
#define RESOLVE_QUEUE_MAX (IO_RESOLVE_HOSTS_MAX * IO_RESOLVE_ADDRS_MAX)

struct answer { /* what a thread writes: smaller than PIPE_BUF, so it arrives whole */
    int host, count;
    struct addr addrs[IO_RESOLVE_ADDRS_MAX];
};

struct job { /* owned by its thread */
    struct conf_host name;
    int host, fd;
};

struct host {
    struct conf_host name;
    bool asking;
    uint64_t next_ms; /* NOW_NEVER: known */
    uint64_t wait_ms;
};

struct io_resolve {
    int pipe[2];
    struct host hosts[IO_RESOLVE_HOSTS_MAX];
    int host_count;
    struct addr found[RESOLVE_QUEUE_MAX];
    int found_count;
};

int io_resolve_open(struct io_resolve **ret)
{
    struct io_resolve *r = calloc(1, sizeof *r);
    if (!r || pipe2(r->pipe, O_CLOEXEC | O_NONBLOCK)) {
        free(r);
        return CAM_ESYS;
    }
    *ret = r;
    return 0;
}

void io_resolve_close(struct io_resolve *r)
{
    if (!r)
        return;
    close(r->pipe[0]);
    close(r->pipe[1]); /* each thread has a descriptor of its own */
    free(r);
}

static void found_push(struct io_resolve *r, const struct addr *addr)
{
    if (r->found_count < RESOLVE_QUEUE_MAX)
        r->found[r->found_count++] = *addr;
}

int io_resolve_add(struct io_resolve *r, const struct conf_host *host, uint64_t mono_ms)
{
    char text[CONF_HOST_MAX + 16];
    struct addr addr;

    if (conf_host_text(host, text, sizeof text) == 0 && addr_parse(text, &addr) == 0) {
        found_push(r, &addr);
        return 0;
    }
    if (r->host_count == IO_RESOLVE_HOSTS_MAX)
        return CAM_EFULL;
    r->hosts[r->host_count++] = (struct host){ *host, false, mono_ms, IO_RESOLVE_AGAIN_MS };
    return 0;
}

static void answer_fill(struct answer *a, const struct addrinfo *list, uint16_t port)
{
    for (; list && a->count < IO_RESOLVE_ADDRS_MAX; list = list->ai_next) {
        struct addr *addr = &a->addrs[a->count];
        memset(addr, 0, sizeof *addr);
        if (list->ai_family == AF_INET) {
            addr->family = 4;
            memcpy(addr->ip, &((const struct sockaddr_in *)(const void *)list->ai_addr)->sin_addr, 4);
        } else if (list->ai_family == AF_INET6) {
            addr->family = 6;
            memcpy(addr->ip, &((const struct sockaddr_in6 *)(const void *)list->ai_addr)->sin6_addr, 16);
        } else {
            continue;
        }
        addr->port = port;
        a->count++;
    }
}

static void answer_find(struct answer *a, const struct conf_host *name)
{
    struct addrinfo hints = { .ai_socktype = SOCK_DGRAM, .ai_family = AF_UNSPEC }, *list = NULL;

    memset(a, 0, sizeof *a);
    if (getaddrinfo(name->host, NULL, &hints, &list) == 0)
        answer_fill(a, list, name->port);
    if (list)
        freeaddrinfo(list);
}

int io_resolve_now(const struct conf_host *host, struct addr *ret)
{
    struct answer a;
    answer_find(&a, host);
    if (a.count == 0)
        return CAM_EINVAL;
    *ret = a.addrs[0];
    return 0;
}

static void *resolve_thread(void *arg)
{
    struct job *job = arg;
    struct answer a;

    answer_find(&a, &job->name);
    a.host = job->host;
    /* Nobody reads it when the node ends meanwhile; SIGPIPE is ignored. */
    ssize_t n = write(job->fd, &a, sizeof a);
    (void)n;
    close(job->fd);
    free(job);
    return NULL;
}

static bool resolve_start(struct io_resolve *r, int host)
{
    struct job *job = malloc(sizeof *job);
    pthread_attr_t attr;
    pthread_t thread;

    if (!job)
        return false;
    *job = (struct job){ r->hosts[host].name, host, fcntl(r->pipe[1], F_DUPFD_CLOEXEC, 0) };
    bool started = false;
    if (job->fd >= 0 && pthread_attr_init(&attr) == 0) {
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attr, RESOLVE_STACK_BYTES);
        started = pthread_create(&thread, &attr, resolve_thread, job) == 0;
        pthread_attr_destroy(&attr);
    }
    if (!started) {
        if (job->fd >= 0)
            close(job->fd);
        free(job);
    }
    return started;
}

static void host_try_later(struct host *h, uint64_t mono_ms)
{
    h->next_ms = mono_ms + h->wait_ms;
    h->wait_ms = h->wait_ms * 2 > IO_RESOLVE_AGAIN_MAX_MS ? IO_RESOLVE_AGAIN_MAX_MS : h->wait_ms * 2;
}

void io_resolve_turn(struct io_resolve *r, uint64_t mono_ms)
{
    struct answer a;

    while (read(r->pipe[0], &a, sizeof a) == (ssize_t)sizeof a) {
        struct host *h = &r->hosts[a.host];
        h->asking = false;
        h->next_ms = NOW_NEVER;
        for (int i = 0; i < a.count; i++)
            found_push(r, &a.addrs[i]);
        if (a.count == 0)
            host_try_later(h, mono_ms);
    }
    for (int i = 0; i < r->host_count; i++) {
        struct host *h = &r->hosts[i];
        if (h->asking || mono_ms < h->next_ms)
            continue;
        h->asking = resolve_start(r, i);
        if (!h->asking)
            host_try_later(h, mono_ms);
    }
}

bool io_resolve_next(struct io_resolve *r, struct addr *ret)
{
    if (!r->found_count)
        return false;
    *ret = r->found[0];
    memmove(r->found, r->found + 1, (size_t)--r->found_count * sizeof r->found[0]);
    return true;
}

int io_resolve_fd(const struct io_resolve *r) { return r->pipe[0]; }

uint64_t io_resolve_deadline_ms(const struct io_resolve *r)
{
    uint64_t at = r->found_count ? 0 : NOW_NEVER;
    for (int i = 0; i < r->host_count; i++)
        if (!r->hosts[i].asking && r->hosts[i].next_ms < at)
            at = r->hosts[i].next_ms;
    return at;
}
