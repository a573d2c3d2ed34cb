/* Rows 11 to 14, 18, 19 and 21: whole nodes, as processes of their own, driven through the local API.
 *
 *   bench_node OUT [ROW...]      OUT holds camelliad; homes are made in a temporary folder and removed
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "cli/home.h"
#include "cli/io_api.h"
#include "core/err.h"
#include "core/identity.h"
#include "core/io_os.h"
#include "core/io_udp.h"
#include "core/keyfile.h"
#include "tests/bench/bench.h"
#include "timeline/io_zmq.h"
#include "timeline/store.h"

#define NODES_MAX 128
#define CALL_MS 30000
#define ORIGINAL_POSTS_PER_S 60.0 /* the Python original, one author to ten followers */

struct node {
    pid_t pid;
    struct io_home home;
    char dir[256], address[64];
    struct io_api_client *api;
    struct identity *id;
    char name[NAME_SIZE];
};

static const char *out_dir;
static char root[256];
static struct node nodes[NODES_MAX];
static size_t n_nodes;
static struct rng rng;

static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void stop(struct node *n, int sig)
{
    if (n->api) io_api_close(n->api);
    n->api = NULL;
    if (n->pid > 0) {
        kill(n->pid, sig);
        waitpid(n->pid, NULL, 0);
    }
    n->pid = 0;
}

static void remove_tree(const char *dir)
{
    char command[512];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command)) fprintf(stderr, "bench: could not remove %s\n", dir);
}

static void clear(void)
{
    for (size_t i = 0; i < n_nodes; i++) {
        stop(&nodes[i], SIGKILL);
        identity_free(nodes[i].id);
        nodes[i].id = NULL;
    }
    n_nodes = 0;
    if (root[0]) remove_tree(root);
    root[0] = 0;
}

/* A fresh folder for homes: in memory where the row says "without disk", else where builds go. */
static void fresh(bool in_memory)
{
    clear();
    snprintf(root, sizeof root, "%s/camellia-bench-XXXXXX", in_memory ? "/dev/shm" : out_dir);
    if (!mkdtemp(root)) die("cannot make %s: %s", root, strerror(errno));
}

/* ---- requests ---- */

struct rows {
    json_t *list;
};

static bool collect(void *ctx, json_t *row)
{
    struct rows *r = ctx;
    if (r->list) json_array_append(r->list, row);
    return true;
}

/* One request; takes `request`. Rows go to `ret_rows` (owned by the caller) unless NULL. Returns the status. */
static int call(struct node *n, json_t *request, json_t **ret_rows)
{
    struct rows rows = {ret_rows ? json_array() : NULL};
    struct io_api_reply done;
    int err = io_api_call(n->api, request, CALL_MS, collect, &rows, &done);
    int status = err ? err_status(err) : done.status;
    if (!err) io_api_reply_clear(&done);
    if (ret_rows) *ret_rows = rows.list;
    return status;
}

static void connect_api(struct node *n)
{
    for (double end = bench_us() + 10e6; bench_us() < end; usleep(2000)) {
        if (io_api_connect(&n->home, &n->api)) continue;
        if (call(n, json_pack("{s:s}", "do", "hello"), NULL) == 0) return;
        io_api_close(n->api);
        n->api = NULL;
    }
    die("node in %s does not answer; its log is there", n->dir);
}

/* ---- nodes ---- */

static void start(struct node *n, const char *join)
{
    char program[512], log[300];
    snprintf(program, sizeof program, "%s/camelliad", out_dir);
    snprintf(log, sizeof log, "%s/out", n->dir);
    n->pid = fork();
    if (n->pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(fd, 1);
        dup2(fd, 2);
        if (join)
            execl(program, "camelliad", "--home", n->dir, "--listen", "127.0.0.1:0", "--join", join, (char *)NULL);
        else
            execl(program, "camelliad", "--home", n->dir, "--listen", "127.0.0.1:0", (char *)NULL);
        _exit(127);
    }
    connect_api(n);
    json_t *rows;
    call(n, json_pack("{s:s}", "do", "status"), &rows);
    const char *address = json_string_value(json_object_get(json_array_get(rows, 0), "address"));
    snprintf(n->address, sizeof n->address, "%s", address ? address : "");
    json_decref(rows);
}

static struct node *make_node(void)
{
    if (n_nodes == NODES_MAX) die("too many nodes");
    struct node *n = &nodes[n_nodes];
    char why[HOME_WHY_MAX], config[300];
    memset(n, 0, sizeof *n);
    snprintf(n->dir, sizeof n->dir, "%.200s/%zu", root, n_nodes);
    snprintf(n->name, sizeof n->name, "user%zu", n_nodes);
    mkdir(n->dir, 0700);
    /* No clock servers: the bench must not depend on what is outside. */
    snprintf(config, sizeof config, "%s/config.ini", n->dir);
    FILE *f = fopen(config, "w");
    fputs("[SNTP]\nACTIVE = 0\n", f);
    fclose(f);
    if (home_open(n->dir, &n->home, why)) die("%s", why);
    start(n, n_nodes ? nodes[0].address : NULL);
    n_nodes++;
    return n;
}

static int unlock(struct node *n, const char *verb)
{
    char secret[2 * SECRET_SIZE + 1];
    hex_encode(secret, n->id->sk, SECRET_SIZE);
    return call(n, json_pack("{s:s, s:s, s:s, s:i}", "do", verb, "name", n->name, "secret", secret, "device", 0), NULL);
}

static void make_user(struct node *n)
{
    n->id = identity_new(&rng);
    int status = unlock(n, "register");
    if (status && status != 75) die("register of %s ended with %d", n->name, status);
}

static long long number(struct node *n, const char *verb, const char *key)
{
    json_t *rows;
    call(n, json_pack("{s:s}", "do", verb), &rows);
    long long v = json_integer_value(json_object_get(json_array_get(rows, 0), key));
    json_decref(rows);
    return v;
}

static void follow_all(struct node *author, struct node *first, size_t count)
{
    char id[USER_ID_SIZE];
    user_id_text(author->id->pk, id);
    for (size_t i = 0; i < count; i++) call(&first[i], json_pack("{s:s, s:s}", "do", "follow", "who", id), NULL);
    for (double end = bench_us() + 20e6; bench_us() < end; usleep(20000))
        if (number(author, "profile", "followers") >= (long long)count) return;
    die("the author counts %lld of %zu followers", number(author, "profile", "followers"), count);
}

static void settle(void) { usleep(1500000); }

/* ---- rows 11, 12: a post to 100 connected followers ---- */

#define HOPS 100
#define HOP_BYTES 400 /* a POST message of usual length */
#define ACK_BYTES 60

/* The same hops twice, each receiver a process of its own that pushes a short acknowledgement back: on bare ZeroMQ
 * with CURVE, and on our links (timeline/io_zmq.h) with their ZAP handler, admission and crediting. */
struct hops {
    bool ours;
    uint8_t pk[LINK_KEY_SIZE], sk[LINK_KEY_SIZE];
    struct addr addr;
    void *ctx, *pull, *push[HOPS];
    struct io_zmq *links;
    struct link_dest to[HOPS];
    pid_t pid[HOPS];
};

struct hello { /* what a child tells its parent, through a pipe */
    uint8_t pk[LINK_KEY_SIZE];
    struct addr addr;
};

static uint64_t mono_ms(void) { return (uint64_t)(bench_us() / 1000); }

static void new_keys(uint8_t pk[LINK_KEY_SIZE], uint8_t sk[LINK_KEY_SIZE])
{
    struct transport t;
    transport_new(&rng, &t);
    memcpy(pk, t.pk, LINK_KEY_SIZE);
    memcpy(sk, t.sk, LINK_KEY_SIZE);
}

static void *bare_push(void *ctx, const struct addr *to, const uint8_t *server)
{
    uint8_t pk[LINK_KEY_SIZE], sk[LINK_KEY_SIZE];
    char endpoint[ADDR_TEXT_SIZE + 8], text[ADDR_TEXT_SIZE];
    void *push = zmq_socket(ctx, ZMQ_PUSH);
    int linger = 0;
    new_keys(pk, sk);
    zmq_setsockopt(push, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt(push, ZMQ_CURVE_SERVERKEY, server, LINK_KEY_SIZE);
    zmq_setsockopt(push, ZMQ_CURVE_PUBLICKEY, pk, LINK_KEY_SIZE);
    zmq_setsockopt(push, ZMQ_CURVE_SECRETKEY, sk, LINK_KEY_SIZE);
    snprintf(endpoint, sizeof endpoint, "tcp://%s", addr_text(to, text));
    if (zmq_connect(push, endpoint)) die("bare connect");
    return push;
}

static bool admit_all(void *ctx, const uint8_t key[LINK_KEY_SIZE])
{
    (void)ctx, (void)key;
    return true;
}

/* A port that is free now; somebody else may take it before it is bound. */
static void free_port(struct addr *ret)
{
    struct io_udp probe;
    addr_parse("127.0.0.1:0", ret);
    if (io_udp_open(ret, &probe)) die("no free port");
    *ret = probe.addr;
    io_udp_close(&probe);
}

/* Keys, and a listening end. */
static void hops_listen(struct hops *h)
{
    char endpoint[ADDR_TEXT_SIZE + 8], text[ADDR_TEXT_SIZE], why[IO_ZMQ_WHY_MAX];
    int one = 1, tries = 50;
    new_keys(h->pk, h->sk);
    if (h->ours) {
        if (io_zmq_new(h->pk, h->sk, mono_ms(), &h->links, why)) die("%s", why);
        do free_port(&h->addr);
        while (io_zmq_bind(h->links, &h->addr, why) && --tries);
        io_zmq_admit(h->links, admit_all, NULL);
    } else {
        h->ctx = zmq_ctx_new();
        h->pull = zmq_socket(h->ctx, ZMQ_PULL);
        zmq_setsockopt(h->pull, ZMQ_CURVE_SERVER, &one, sizeof one);
        zmq_setsockopt(h->pull, ZMQ_CURVE_SECRETKEY, h->sk, LINK_KEY_SIZE);
        do {
            free_port(&h->addr);
            snprintf(endpoint, sizeof endpoint, "tcp://%s", addr_text(&h->addr, text));
        } while (zmq_bind(h->pull, endpoint) && --tries);
    }
    if (!tries) die("no port to listen at");
}

static void links_wait(struct io_zmq *links)
{
    struct pollfd p = {.fd = io_zmq_fd(links), .events = POLLIN};
    if (!io_zmq_ready(links)) poll(&p, 1, 1000);
    io_zmq_turn(links, mono_ms());
}

static void hops_child(struct hops *h, int tell, const struct hello *author)
{
    uint8_t buf[4096] = {0};
    hops_listen(h);
    struct hello me = {.addr = h->addr};
    memcpy(me.pk, h->pk, LINK_KEY_SIZE);
    if (write(tell, &me, sizeof me) != sizeof me) _exit(1);
    if (h->ours) {
        struct link_send ack = {.to.addr = author->addr, .bytes = span(buf, ACK_BYTES)};
        memcpy(ack.to.key, author->pk, LINK_KEY_SIZE);
        struct link_event e;
        for (;; links_wait(h->links))
            while (io_zmq_next(h->links, &e))
                if (e.kind == LINK_RECEIVED) io_zmq_send(h->links, &ack);
    }
    void *push = bare_push(h->ctx, &author->addr, author->pk);
    while (zmq_recv(h->pull, buf, sizeof buf, 0) >= 0) zmq_send(push, buf, ACK_BYTES, 0);
    _exit(0);
}

static void hops_open(struct hops *h, bool ours)
{
    int to_child[2], from_child[2];
    struct hello author, child;
    memset(h, 0, sizeof *h);
    h->ours = ours;
    if (pipe(to_child) || pipe(from_child)) die("pipe");
    for (size_t i = 0; i < HOPS; i++) /* forked before this process has ZeroMQ's threads */
        if ((h->pid[i] = fork()) == 0) {
            close(to_child[1]);
            if (read(to_child[0], &author, sizeof author) != sizeof author) _exit(1);
            hops_child(h, from_child[1], &author);
        }
    hops_listen(h);
    memset(&author, 0, sizeof author);
    author.addr = h->addr;
    memcpy(author.pk, h->pk, LINK_KEY_SIZE);
    for (size_t i = 0; i < HOPS; i++)
        if (write(to_child[1], &author, sizeof author) != sizeof author) die("pipe");
    for (size_t i = 0; i < HOPS; i++) {
        if (read(from_child[0], &child, sizeof child) != sizeof child) die("a child ended");
        h->to[i].addr = child.addr;
        memcpy(h->to[i].key, child.pk, LINK_KEY_SIZE);
        if (!ours) h->push[i] = bare_push(h->ctx, &child.addr, child.pk);
    }
    close(to_child[0]), close(to_child[1]), close(from_child[0]), close(from_child[1]);
}

/* Microseconds until every receiver has acknowledged. */
static double hops_round(struct hops *h)
{
    uint8_t buf[4096] = {0};
    double start_us = bench_us();
    if (!h->ours) {
        for (size_t i = 0; i < HOPS; i++) zmq_send(h->push[i], buf, HOP_BYTES, 0);
        for (size_t i = 0; i < HOPS; i++)
            if (zmq_recv(h->pull, buf, sizeof buf, 0) < 0) die("bare recv");
        return bench_us() - start_us;
    }
    for (size_t i = 0; i < HOPS; i++)
        io_zmq_send(h->links, &(struct link_send){.to = h->to[i], .bytes = span(buf, HOP_BYTES)});
    struct link_event e;
    for (size_t got = 0; got < HOPS;) {
        links_wait(h->links);
        while (io_zmq_next(h->links, &e)) got += e.kind == LINK_RECEIVED;
        if (bench_us() > start_us + 20e6) die("links: %zu of %d acknowledged", got, HOPS);
    }
    return bench_us() - start_us;
}

static void hops_close(struct hops *h)
{
    for (size_t i = 0; i < HOPS; i++) {
        if (h->push[i]) zmq_close(h->push[i]);
        kill(h->pid[i], SIGKILL);
        waitpid(h->pid[i], NULL, 0);
    }
    if (h->ours) io_zmq_free(h->links);
    else {
        zmq_close(h->pull);
        zmq_ctx_term(h->ctx);
    }
}

static void row_11(void)
{
    enum { ROUNDS = 60, WARM = 3 };
    static struct series ours, bare;
    static struct hops a, b;
    hops_open(&a, true);
    hops_open(&b, false);
    for (size_t r = 0; r < ROUNDS + WARM; r++) {
        double x = hops_round(&a), y = hops_round(&b);
        if (r < WARM) continue;
        series_add(&ours, x / 1e3);
        series_add(&bare, y / 1e3);
    }
    hops_close(&a);
    hops_close(&b);
    bench_row("11", "links: a post to 100 followers and back", "ms", &ours, &bare, "<= 1.5 x bare ZeroMQ",
              series_median(&ours) <= 1.5 * series_median(&bare));
}

static double verify_us(void);

/* One durable commit of one post into a store of its own, on this disk. */
static double commit_us(void)
{
    static struct store *store;
    static int64_t n;
    char path[300], why[STORE_MESSAGE_SIZE];
    snprintf(path, sizeof path, "%s/commit.db", root);
    if (!store && store_open(path, &store, why)) die("%s", why);
    double start_us = bench_us();
    store_meta_put_int(store, "n", ++n);
    if (store_commit(store)) die("commit");
    return bench_us() - start_us;
}

static void row_12(void)
{
    enum { ROUNDS = 40, WARM = 3 };
    static struct series ours, beside;
    static struct hops b;
    hops_open(&b, false);
    fresh(false);
    for (size_t i = 0; i <= HOPS; i++) make_user(make_node());
    follow_all(&nodes[0], &nodes[1], HOPS);
    settle();
    for (size_t r = 0; r < ROUNDS + WARM; r++) {
        double start_us = bench_us();
        int status = call(&nodes[0], json_pack("{s:s, s:s, s:i}", "do", "post", "text",
                          "A post of a usual length, as people write them: about a hundred bytes of text, no more.",
                          "wait_ms", 10000), NULL);
        double took = bench_us() - start_us;
        if (status) die("row 12: post ended with %d", status);
        double least = hops_round(&b) + HOPS * verify_us() / 2;
        for (size_t i = 0; i < HOPS; i++) least += commit_us();
        if (r < WARM) continue; /* links go up with the first */
        series_add(&ours, took / 1e3);
        series_add(&beside, least / 1e3);
    }
    hops_close(&b);
    bench_row("12", "a post verified and on disk at 100 followers", "ms", &ours, &beside, "<= 1.3 x hops + work",
              series_median(&ours) <= 1.3 * series_median(&beside));
}

/* ---- rows 13, 14: flat out ---- */

static double verifies_per_s(void)
{
    struct identity *id = identity_new(&rng);
    uint8_t msg[140] = {0}, sig[SIG_SIZE];
    identity_sign(id, msg, sizeof msg, sig);
    size_t n = 0;
    double start_us = bench_us(), end = start_us + 300e3;
    for (; bench_us() < end; n++)
        if (identity_verify(id->pk, msg, sizeof msg, sig)) die("verify");
    double rate = (double)n / ((bench_us() - start_us) / 1e6);
    identity_free(id);
    return rate;
}

/* Posts a second from the first request to the last acknowledgement by every follower. */
static double flat_out(size_t posts)
{
    struct node *author = &nodes[0];
    enum { WINDOW = 1024 };
    size_t sent = 0, answered = 0;
    double start_us = bench_us();
    while (answered < posts) {
        while (sent < posts && sent - answered < WINDOW) {
            char text[64];
            snprintf(text, sizeof text, "flat out, post number %zu", sent);
            if (io_api_send(author->api, json_pack("{s:s, s:s}", "do", "post", "text", text), sent + 10)) die("send");
            sent++;
        }
        struct io_api_reply reply;
        int err = io_api_recv(author->api, CALL_MS, &reply);
        if (err) die("flat out: %s", err_text(err));
        if (reply.done) {
            answered++;
            if (reply.status) die("flat out: a post ended with %d: %s", reply.status, reply.message);
        }
        io_api_reply_clear(&reply);
    }
    for (double end = bench_us() + 60e6; number(author, "status", "outbox") > 0 && bench_us() < end;) usleep(2000);
    if (number(author, "status", "outbox") > 0) die("flat out: %lld posts still wait", number(author, "status", "outbox"));
    return (double)posts / ((bench_us() - start_us) / 1e6);
}

/* Every follower holds every post of the author, without a gap. */
static bool complete(size_t followers, long long posts)
{
    char id[USER_ID_SIZE];
    user_id_text(nodes[0].id->pk, id);
    for (size_t i = 1; i <= followers; i++) {
        json_t *rows;
        call(&nodes[i], json_pack("{s:s, s:s}", "do", "profile", "who", id), &rows);
        json_t *row = json_array_get(rows, 0);
        long long have = json_integer_value(json_object_get(row, "complete_to"));
        long long gaps = json_integer_value(json_object_get(row, "gaps"));
        json_decref(rows);
        if (have < posts || gaps) return false;
    }
    return true;
}

static double verify_us(void)
{
    static double rate;
    if (rate == 0) rate = verifies_per_s();
    return 1e6 / rate;
}

static void row_flat(const char *row, size_t followers, size_t posts)
{
    enum { ROUNDS = 3 };
    static struct series rate[2], beside[2];
    struct series *r = &rate[followers > 1], *b = &beside[followers > 1];
    bool whole = true;
    fresh(false);
    for (size_t i = 0; i <= followers; i++) make_user(make_node());
    follow_all(&nodes[0], &nodes[1], followers);
    settle();
    for (size_t i = 0; i < ROUNDS; i++) {
        series_add(b, followers > 1 ? ORIGINAL_POSTS_PER_S : verifies_per_s());
        series_add(r, flat_out(posts));
        whole = whole && complete(followers, (long long)((i + 1) * posts));
    }
    if (followers == 1)
        bench_row(row, "one author to one follower, flat out", "/s", r, b, ">= 0.75 x verifies",
                  whole && series_median(r) >= 0.75 * series_median(b));
    else
        bench_row(row, "one author to 10 followers, flat out", "/s", r, b, ">= 100 x the original",
                  whole && series_median(r) >= 100 * series_median(b));
    if (!whole) printf("     posts are missing at a follower\n");
}

/* ---- row 18: the dead delay nobody ---- */

static double post_until_read(size_t readers)
{
    json_t *rows;
    char want[32];
    for (size_t i = 1; i <= readers; i++)
        if (io_api_send(nodes[i].api, json_pack("{s:s, s:b, s:i}", "do", "timeline", "follow", 1, "n", 1), 5)) die("live");
    usleep(200000);
    double start_us = bench_us();
    if (call(&nodes[0], json_pack("{s:s, s:s}", "do", "post", "text", "is anybody dead?"), &rows)) die("row 18: post");
    snprintf(want, sizeof want, "%s", json_string_value(json_object_get(json_array_get(rows, 0), "id")));
    json_decref(rows);
    for (size_t i = 1; i <= readers; i++)
        for (bool seen = false; !seen;) {
            struct io_api_reply reply;
            if (io_api_recv(nodes[i].api, 10000, &reply)) die("row 18: reader %zu did not get it", i);
            const char *id = reply.row ? json_string_value(json_object_get(reply.row, "id")) : NULL;
            seen = id && strcmp(id, want) == 0;
            io_api_reply_clear(&reply);
        }
    double took = bench_us() - start_us;
    for (size_t i = 1; i <= readers; i++) {
        call(&nodes[i], json_pack("{s:s, s:i}", "do", "cancel", "cancel", 5), NULL);
    }
    return took;
}

static void row_18(void)
{
    enum { LIVING = 8, DEAD = 8, ROUNDS = 30 };
    static struct series with, without;
    fresh(true);
    for (size_t i = 0; i <= LIVING; i++) make_user(make_node());
    follow_all(&nodes[0], &nodes[1], LIVING);
    settle();
    for (size_t r = 0; r < ROUNDS + 2; r++) {
        double us = post_until_read(LIVING);
        if (r >= 2) series_add(&without, us / 1e3);
    }
    for (size_t i = 0; i < DEAD; i++) make_user(make_node());
    follow_all(&nodes[0], &nodes[1 + LIVING], DEAD);
    for (size_t i = 0; i < DEAD; i++) stop(&nodes[1 + LIVING + i], SIGKILL);
    for (size_t r = 0; r < ROUNDS; r++) series_add(&with, post_until_read(LIVING) / 1e3);
    bench_row("18", "8 living followers, 8 dead beside them", "ms", &with, &without, "<= 1.1 x without dead",
              series_median(&with) <= 1.1 * series_median(&without));
}

/* ---- row 19: coming back ---- */

static void row_19(void)
{
    enum { ROUNDS = 5, MISSED = 5 };
    static struct series took;
    for (size_t r = 0; r < ROUNDS; r++) {
        fresh(false);
        for (size_t i = 0; i < 4; i++) make_user(make_node());
        follow_all(&nodes[0], &nodes[1], 3);
        settle();
        stop(&nodes[1], SIGTERM);
        for (size_t i = 0; i < MISSED; i++)
            call(&nodes[0], json_pack("{s:s, s:s}", "do", "post", "text", "while you were away"), NULL);
        usleep(500000);
        stop(&nodes[0], SIGKILL); /* the author, who is also everybody's bootstrap */
        stop(&nodes[3], SIGKILL); /* and one of the two others */
        double start_us = bench_us();
        start(&nodes[1], NULL);
        long long have = 0;
        while (have < MISSED && bench_us() < start_us + 20e6) {
            json_t *rows;
            call(&nodes[1], json_pack("{s:s, s:i}", "do", "timeline", "n", MISSED), &rows);
            have = (long long)json_array_size(rows);
            json_decref(rows);
            usleep(2000);
        }
        if (have < MISSED) die("row 19: %lld of %d posts came", have, MISSED);
        series_add(&took, (bench_us() - start_us) / 1e3);
    }
    bench_row("19", "return after 5 missed posts, author away", "ms", &took, NULL, "<= 1500 ms",
              series_median(&took) <= 1500);
}

/* ---- row 21: the node at rest ---- */

static double rss_mib(pid_t pid)
{
    char path[64], line[256];
    double kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "VmRSS:", 6) == 0) kib = strtod(line + 6, NULL);
    if (f) fclose(f);
    return kib / 1024;
}

static double cpu_s(pid_t pid)
{
    char path[64], line[1024];
    unsigned long user = 0, sys = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (f && fgets(line, sizeof line, f)) {
        char *after = strrchr(line, ')');
        if (after) sscanf(after + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys);
    }
    if (f) fclose(f);
    return (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
}

static void row_21(void)
{
    enum { ROUNDS = 7, IDLE_S = 10 };
    static struct series ready, memory, idle;
    fresh(false);
    for (size_t r = 0; r < ROUNDS; r++) {
        double start_us = bench_us();
        make_node();
        series_add(&ready, (bench_us() - start_us) / 1e3);
    }
    usleep(3000000);
    double before[ROUNDS], at = bench_us();
    for (size_t r = 0; r < ROUNDS; r++) before[r] = cpu_s(nodes[r].pid);
    usleep(IDLE_S * 1000000);
    for (size_t r = 0; r < ROUNDS; r++) {
        series_add(&idle, 100 * (cpu_s(nodes[r].pid) - before[r]) / ((bench_us() - at) / 1e6));
        series_add(&memory, rss_mib(nodes[r].pid));
    }
    bench_row("21", "the node, start to ready", "ms", &ready, NULL, "<= 150 ms", series_median(&ready) <= 150);
    bench_row("21", "the node, resident memory", "MiB", &memory, NULL, "<= 12 MiB", series_median(&memory) <= 12);
    bench_row("21", "the node, idle CPU", "%", &idle, NULL, "<= 0.1 %", series_median(&idle) <= 0.1);
}

static bool wanted(int argc, char **argv, const char *row)
{
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], row) == 0) return true;
    return argc <= 2;
}

int main(int argc, char **argv)
{
    if (argc < 2) die("usage: bench_node OUT [ROW...]");
    out_dir = argv[1];
    rng = io_os_rng();
    signal(SIGPIPE, SIG_IGN);
    atexit(clear);
    if (wanted(argc, argv, "11")) row_11();
    if (wanted(argc, argv, "12")) row_12();
    if (wanted(argc, argv, "13")) row_flat("13", 1, 20000);
    if (wanted(argc, argv, "14")) row_flat("14", 10, 5000);
    if (wanted(argc, argv, "18")) row_18();
    if (wanted(argc, argv, "19")) row_19();
    if (wanted(argc, argv, "21")) row_21();
    return 0;
}
