/* Kademlia by hand: one question, one answer. */
#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/err.h"
#include "core/hash.h"
#include "core/io_os.h"
#include "kad/set.h"
#include "tests/hostile/hostile.h"
#include "timeline/record.h"

uint8_t network_word[KRPC_NETWORK_SIZE];

int dht_socket(const struct addr *to)
{
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    uint8_t word[SHA1_SIZE];
    if (to->family != 4)
        die("an IPv4 address is expected");
    hash_sha1(word, "camellia", strlen("camellia"));
    memcpy(network_word, word, sizeof network_word);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof here))
        die("no UDP socket");
    return fd;
}

void dht_open(struct dht *d, const struct addr *to)
{
    struct rng rng = io_os_rng();
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(to->port) };
    memset(d, 0, sizeof *d);
    d->to = *to;
    d->wait_ms = ANSWER_MS;
    d->fd = dht_socket(to);
    memcpy(&sa.sin_addr, to->ip, 4);
    if (connect(d->fd, (struct sockaddr *)&sa, sizeof sa))
        die("no UDP socket");
    rng_fill(&rng, d->id, sizeof d->id);
}

void dht_close(struct dht *d) { close(d->fd); }

void dht_send(struct dht *d, struct krpc_msg *q)
{
    uint8_t out_buf[2048];
    struct bytes_out out = bytes_out(out_buf, sizeof out_buf);
    q->kind = KRPC_QUERY;
    q->id = d->id;
    q->network = network_word;
    q->t = span("hi", 2);
    q->ro = true; /* it wants no pings */
    krpc_encode(&out, q);
    if (out.err || send(d->fd, out.buf, out.size, 0) < 0)
        die("a datagram cannot be sent");
}

int dht_ask(struct dht *d, struct krpc_msg *q)
{
    struct pollfd p = { .fd = d->fd, .events = POLLIN };
    dht_send(d, q);
    uint64_t end = io_os_now().mono_ms + (uint64_t)d->wait_ms;
    for (;;) {
        uint64_t now = io_os_now().mono_ms;
        if (now >= end || poll(&p, 1, (int)(end - now)) <= 0)
            return -1;
        ssize_t n = recv(d->fd, d->buf, sizeof d->buf, 0);
        if (n < 0 || krpc_decode(d->buf, (size_t)n, &d->reply) || d->reply.kind == KRPC_QUERY)
            continue;
        if (d->reply.kind == KRPC_ERROR)
            return d->reply.code ? d->reply.code : -1;
        if (d->reply.token.size && d->reply.token.size <= sizeof d->token) {
            memcpy(d->token, d->reply.token.data, d->reply.token.size);
            d->token_size = d->reply.token.size;
        }
        return 0;
    }
}

int dht_get(struct dht *d, const uint8_t pk[KEY_SIZE], const char *salt, struct kad_item *ret)
{
    uint8_t target[KAD_ID_SIZE];
    kad_mutable_target(pk, span_str(salt), target);
    struct krpc_msg q = { .method = KRPC_GET, .target = target };
    int code = dht_ask(d, &q);
    if (code)
        return code;
    if (!d->reply.v.data || !d->reply.sig || !d->reply.k || memcmp(d->reply.k, pk, KEY_SIZE) != 0)
        return -1;
    *ret = (struct kad_item){ .is_mutable = true, .salt = span_str(salt), .seq = d->reply.seq,
                              .v = { d->reply.v.data, d->reply.v.size } };
    memcpy(ret->pk, d->reply.k, KEY_SIZE);
    memcpy(ret->sig, d->reply.sig, SIG_SIZE);
    return kad_item_verify(ret) ? -1 : 0;
}

int dht_entry(struct dht *d, const uint8_t owner[KEY_SIZE], const uint8_t who[KEY_SIZE], struct kad_entry *ret)
{
    uint8_t root[KAD_ID_SIZE];
    struct ben one;
    record_followers_root(owner, root);
    struct krpc_msg q = { .method = KRPC_SGET, .target = root, .has_depth = true, .prefix = span("", 0) };
    int code = dht_ask(d, &q);
    if (code)
        return code;
    struct ben_iter it = ben_iter(d->reply.entries);
    while (d->reply.entries.data && ben_next(&it, NULL, &one))
        if (kad_entry_get(one, ret) == 0 && memcmp(ret->pk, who, KEY_SIZE) == 0)
            return kad_entry_verify(ret, root) ? -1 : 0;
    return -1;
}

/* A token for what is put next, unless there is one. */
static void take_token(struct dht *d)
{
    struct krpc_msg q = { .method = KRPC_GET, .target = d->id };
    if (!d->token_size && dht_ask(d, &q))
        die("the node gives no token");
}

int dht_put(struct dht *d, const struct kad_item *item, const int64_t *cas)
{
    take_token(d);
    struct krpc_msg q = { .method = KRPC_PUT, .v = { item->v.data, item->v.size }, .token = span(d->token, d->token_size) };
    if (item->is_mutable) {
        q.k = item->pk;
        q.sig = item->sig;
        q.salt = item->salt;
        q.has_seq = true;
        q.seq = item->seq;
    }
    if (cas) {
        q.has_cas = true;
        q.cas = *cas;
    }
    return dht_ask(d, &q);
}

int dht_sput(struct dht *d, const uint8_t root[KAD_ID_SIZE], const struct kad_entry *entry)
{
    take_token(d);
    struct krpc_msg q = { .method = KRPC_SPUT, .target = root, .has_depth = true, .k = entry->pk, .sig = entry->sig,
                          .has_seq = true, .seq = entry->seq, .v = { entry->v.data, entry->v.size },
                          .token = span(d->token, d->token_size) };
    return dht_ask(d, &q);
}

void victim_find(struct victim *v, const char *address, const char *user)
{
    struct dht d;
    struct record_connection c;
    memset(v, 0, sizeof *v);
    if (addr_parse(address, &v->addr) || user_id_parse(user, v->pk))
        die("an address and a user id are expected");
    dht_open(&d, &v->addr);
    if (dht_get(&d, v->pk, "connections/0", &v->item) || v->item.v.size > sizeof v->bytes)
        die("the victim's connection record is not there");
    memcpy(v->bytes, v->item.v.data, v->item.v.size);
    v->item.v.data = v->bytes;
    v->record = v->item.v;
    if (record_get_connection(v->record, &c))
        die("the victim's connection record does not read");
    memcpy(v->key, c.transport_key, LINK_KEY_SIZE);
    dht_close(&d);
}
