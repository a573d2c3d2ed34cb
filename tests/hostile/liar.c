/* Nodes that stand next to a user's records and lie about them: to every question there is an answer, and none is
 * true. Forged and old values, other people's values, holders and contacts that are not there, entries of people
 * who never wrote them; and what is put there is thanked for and thrown away. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/hash.h"
#include "core/io_os.h"
#include "kad/item.h"
#include "kad/set.h"
#include "tests/hostile/forge.h"
#include "timeline/record.h"

#define LIARS_MAX 32
#define GREET_EVERY_MS 1000

struct liar {
    int fd;
    uint8_t id[KAD_ID_SIZE];
    unsigned asked; /* which lie is next */
};

static struct liar liars[LIARS_MAX];
static struct identity *mallory;
static struct victim *the_victim;
static struct rng rng;

static void reply(struct liar *l, const struct sockaddr_in *to, const struct krpc_msg *q, struct krpc_msg *r)
{
    uint8_t out_buf[1400], ip[6];
    struct bytes_out out = bytes_out(out_buf, sizeof out_buf);
    memcpy(ip, &to->sin_addr, 4);
    memcpy(ip + 4, &to->sin_port, 2);
    r->kind = KRPC_REPLY;
    r->t = q->t;
    r->id = l->id;
    r->network = network_word;
    r->ip = span(ip, sizeof ip);
    krpc_encode(&out, r);
    if (!out.err)
        sendto(l->fd, out.buf, out.size, 0, (const struct sockaddr *)to, sizeof *to);
}

/* Contacts right beside what is looked for, at ports where nobody is. */
static struct span made_up_nodes(const uint8_t *target, uint8_t nodes[8 * KRPC_NODE4_SIZE])
{
    for (int i = 0; i < 8; i++) {
        uint8_t *at = nodes + i * KRPC_NODE4_SIZE;
        memcpy(at, target, KAD_ID_SIZE);
        rng_fill(&rng, at + 12, 8);
        memcpy(at + KAD_ID_SIZE, "\x7f\0\0\1", 4);
        put_be16(at + KAD_ID_SIZE + 4, (uint16_t)(1 + rng_below(&rng, 900)));
    }
    return span(nodes, 8 * KRPC_NODE4_SIZE);
}

static void answer_get(struct liar *l, const struct krpc_msg *q, struct krpc_msg *r)
{
    static uint8_t v_buf[KAD_OWN_VALUE_MAX];
    static struct kad_item item;
    struct record_profile p = { .name = "mallory", .posts = 1000000, .expires_s = unix_s() + RECORD_DAY_S };
    struct bytes_out out = bytes_out(v_buf, sizeof v_buf);
    record_put_profile(&out, &p);
    item = (struct kad_item){ .is_mutable = true, .salt = span_str("public"), .seq = unix_s() + FAR_S, .v = span(v_buf, out.size) };
    if (kad_item_sign(&item, mallory))
        die("a profile that cannot be made");
    if (l->asked % 3 == 0) /* signed by the wrong key, in the victim's name */
        memcpy(item.pk, the_victim->pk, KEY_SIZE);
    else if (l->asked % 3 == 1) /* noise for a signature */
        rng_fill(&rng, item.sig, SIG_SIZE);
    /* else: well signed, by somebody else, for another place */
    (void)q;
    r->k = item.pk;
    r->sig = item.sig;
    r->has_seq = true;
    r->seq = item.seq;
    r->v = (struct ben){ item.v.data, item.v.size };
}

static void answer_sget(struct liar *l, const struct krpc_msg *q, struct krpc_msg *r)
{
    static uint8_t list_buf[1000], digest[KAD_ID_SIZE], v_buf[KAD_SET_VALUE_MAX];
    struct bytes_out list = bytes_out(list_buf, sizeof list_buf);
    (void)q;
    ben_put_list(&list);
    for (int i = 0; i < 3; i++) {
        struct kad_entry e;
        struct identity *ghost = identity_named(i == 0 ? "ghost 0" : i == 1 ? "ghost 1" : "ghost 2");
        forge_follow(ghost->pk, i ? mallory : ghost, mallory->pk, unix_s(), false, v_buf, &e); /* 0: of another set */
        e.since_s = INT32_MAX;
        kad_entry_put(&list, &e);
        identity_free(ghost);
    }
    ben_put_end(&list);
    rng_fill(&rng, digest, sizeof digest);
    r->entries = (struct ben){ list_buf, list.size };
    r->digest = digest;
    r->has_held = true;
    r->held = 1000000;
    r->more = l->asked % 2;
    r->split = true; /* so that whoever reads or writes goes down, to sixteen shards more each time */
}

static void answer(struct liar *l, const struct sockaddr_in *from, const struct krpc_msg *q)
{
    struct krpc_msg r = { .kind = KRPC_REPLY };
    uint8_t nodes[8 * KRPC_NODE4_SIZE];
    l->asked++;
    if (q->target && q->method != KRPC_PUT && q->method != KRPC_SPUT)
        r.nodes = made_up_nodes(q->target, nodes);
    if (q->method == KRPC_GET || q->method == KRPC_SGET || q->method == KRPC_GET_PEERS)
        r.token = span("whatever", 8);
    if (q->method == KRPC_GET)
        answer_get(l, q, &r);
    else if (q->method == KRPC_SGET)
        answer_sget(l, q, &r);
    reply(l, from, q, &r);
}

/* "Here I am": whoever asks gets a ping, and who answers that becomes a contact. */
static void greet(struct liar *l)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(the_victim->addr.port) };
    uint8_t out_buf[200];
    struct bytes_out out = bytes_out(out_buf, sizeof out_buf);
    struct krpc_msg q = { .kind = KRPC_QUERY, .method = KRPC_PING, .t = span("hi", 2), .id = l->id, .network = network_word };
    memcpy(&to.sin_addr, the_victim->addr.ip, 4);
    krpc_encode(&out, &q);
    sendto(l->fd, out.buf, out.size, 0, (struct sockaddr *)&to, sizeof to);
}

static void hear(struct liar *l, uint64_t *ret_asked)
{
    uint8_t in[2048];
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    struct krpc_msg q;
    ssize_t n = recvfrom(l->fd, in, sizeof in, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
    if (n < 0 || krpc_decode(in, (size_t)n, &q) || q.kind != KRPC_QUERY)
        return;
    if (q.method == KRPC_GET || q.method == KRPC_SGET)
        (*ret_asked)++;
    answer(l, &from, &q);
}

int attack_liar(struct victim *v, int count)
{
    struct pollfd p[LIARS_MAX + 1] = { { .fd = 0, .events = POLLIN } };
    uint8_t places[3][KAD_ID_SIZE];
    uint64_t greet_ms = 0, asked = 0;
    if (count < 1 || count > LIARS_MAX)
        die("so many liars are not to be had");
    the_victim = v;
    rng = io_os_rng();
    mallory = identity_named("mallory");
    kad_mutable_target(v->pk, span_str("public"), places[0]);
    kad_mutable_target(v->pk, span_str("connections/0"), places[1]);
    record_followers_root(v->pk, places[2]);
    for (int i = 0; i < count; i++) {
        liars[i].fd = dht_socket(&v->addr);
        memcpy(liars[i].id, places[i % 3], KAD_ID_SIZE); /* closer than any honest node: 15 bytes are the same */
        rng_fill(&rng, liars[i].id + 15, 5);
        p[i + 1] = (struct pollfd){ .fd = liars[i].fd, .events = POLLIN };
    }
    puts("ready");
    for (;;) {
        if (io_os_now().mono_ms >= greet_ms) {
            for (int i = 0; i < count; i++)
                greet(&liars[i]);
            greet_ms = io_os_now().mono_ms + GREET_EVERY_MS;
        }
        poll(p, (nfds_t)count + 1, 100);
        for (int i = 0; i < count; i++)
            if (p[i + 1].revents)
                hear(&liars[i], &asked);
        if (p[0].revents)
            break;
    }
    printf("asked %llu\n", (unsigned long long)asked);
    for (int i = 0; i < count; i++)
        close(liars[i].fd);
    identity_free(mallory);
    return 0;
}
