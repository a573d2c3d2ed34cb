#include "core/io_resolve.h"
#include "core/err.h"
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define STACK_BYTES (512 * 1024) /* the C library's name services are not small */

struct job {
    struct job *next;
    struct io_resolver *owner;
    struct conf_host host;
    struct io_resolved result;
};

/* Shared with the threads: whoever lets go last frees it. */
struct io_resolver {
    pthread_mutex_t lock;
    int wake_fd;
    int holders;        /* the owner and one for each thread */
    struct job *done;   /* oldest first */
};

static void let_go(struct io_resolver *r) /* with the lock held; gives it up */
{
    bool last = --r->holders == 0;
    pthread_mutex_unlock(&r->lock);
    if (!last)
        return;
    while (r->done) {
        struct job *job = r->done;
        r->done = job->next;
        free(job);
    }
    close(r->wake_fd);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* With the lock held. */
static void finish(struct io_resolver *r, struct job *job)
{
    struct job **end = &r->done;
    uint64_t one = 1;
    while (*end)
        end = &(*end)->next;
    *end = job;
    if (write(r->wake_fd, &one, sizeof one) < 0)
        return; /* the counter is full, so it is readable */
}

static void take_addr(const struct sockaddr *any, uint16_t port, struct io_resolved *ret)
{
    struct addr a = { .port = port };
    union {
        const struct sockaddr *any;
        const struct sockaddr_in *v4;
        const struct sockaddr_in6 *v6;
    } sock = { any };
    if (any->sa_family == AF_INET) {
        a.family = 4;
        memcpy(a.ip, &sock.v4->sin_addr, 4);
    } else if (any->sa_family == AF_INET6) {
        a.family = 6;
        memcpy(a.ip, &sock.v6->sin6_addr, 16);
    } else {
        return;
    }
    for (int i = 0; i < ret->count; i++)
        if (addr_equal(&ret->addrs[i], &a))
            return;
    if (ret->count < IO_RESOLVE_ADDRS_MAX)
        ret->addrs[ret->count++] = a;
}

static void *work(void *arg)
{
    struct job *job = arg;
    struct io_resolver *r = job->owner;
    struct addrinfo hints = { .ai_socktype = SOCK_DGRAM, .ai_flags = AI_ADDRCONFIG }, *list = NULL;
    if (getaddrinfo(job->host.host, NULL, &hints, &list) == 0) {
        for (const struct addrinfo *at = list; at; at = at->ai_next)
            take_addr(at->ai_addr, job->host.port, &job->result);
        freeaddrinfo(list);
    }
    pthread_mutex_lock(&r->lock);
    finish(r, job);
    let_go(r);
    return NULL;
}

/* A detached thread that no signal of the program is given to. */
static int start(struct job *job)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    if (pthread_attr_init(&attr))
        return CAM_ESYS;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread, &attr, work, job);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return failed ? CAM_ESYS : 0;
}

int io_resolver_new(struct io_resolver **ret)
{
    struct io_resolver *r = calloc(1, sizeof *r);
    if (!r)
        return CAM_ESYS;
    r->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r->wake_fd < 0 || pthread_mutex_init(&r->lock, NULL)) {
        if (r->wake_fd >= 0)
            close(r->wake_fd);
        free(r);
        return CAM_ESYS;
    }
    r->holders = 1;
    *ret = r;
    return 0;
}

void io_resolver_free(struct io_resolver *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    let_go(r);
}

int io_resolver_fd(const struct io_resolver *r)
{
    return r->wake_fd;
}

int io_resolve_numeric(const struct conf_host *host, struct addr *ret)
{
    char text[CONF_HOST_MAX + 16];
    int err = conf_host_text(host, text, sizeof text);
    return err ? CAM_EINVAL : addr_parse(text, ret);
}

int io_resolver_ask(struct io_resolver *r, const struct conf_host *host, int tag)
{
    struct job *job = calloc(1, sizeof *job);
    int err = 0;
    if (!job)
        return CAM_ESYS;
    job->owner = r;
    job->host = *host;
    job->result.tag = tag;
    pthread_mutex_lock(&r->lock);
    if (io_resolve_numeric(host, &job->result.addrs[0]) == 0) {
        job->result.count = 1;
        finish(r, job);
        job = NULL;
    } else if (r->holders > IO_RESOLVE_THREADS_MAX) {
        err = CAM_EFULL;
    } else {
        err = start(job); /* it cannot finish before we unlock */
        if (!err) {
            r->holders++;
            job = NULL;
        }
    }
    pthread_mutex_unlock(&r->lock);
    free(job);
    return err;
}

bool io_resolver_next(struct io_resolver *r, struct io_resolved *ret)
{
    uint64_t count;
    pthread_mutex_lock(&r->lock);
    struct job *job = r->done;
    if (job)
        r->done = job->next;
    else if (read(r->wake_fd, &count, sizeof count) < 0)
        count = 0; /* nothing was to be read */
    pthread_mutex_unlock(&r->lock);
    if (!job)
        return false;
    *ret = job->result;
    free(job);
    return true;
}
