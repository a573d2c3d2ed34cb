/* A network of unmodified `kad/` objects under virtual time: it carries their datagrams, with latency and faults,
 * and gives each node its turn when one of its times has come. Nothing else: who lives when is scale_life.h, what
 * nodes are asked to do scale_work.h.
 *
 * - A node is a slot; whoever lives in it now has an address made of the slot and the generation, so a newcomer in
 *   the slot of a dead node is a stranger at an address never seen before. Addresses are public ones, hardly two in
 *   one /24: BEP 42 and the limits by subnet hold as they do outside.
 * - Latency: each address has coordinates, a hash of it, on a torus; a pair's is its distance and both access lines.
 * - One seed is one run: `hash` rolls over time, sender, receiver and bytes of each datagram delivered.
 * - Events and datagrams are pooled: the simulator itself allocates nothing on the way of a datagram.
 *
 *     struct scale_net *net = scale_net_new(&config);
 *     scale_net_start(net, 0);  scale_net_start(net, 1);
 *     kad_join(scale_net_kad(net, 1), scale_net_now(net), &addr_of_0);  scale_net_turn(net, 1);
 *     scale_net_run(net, net->wheel.now_ms + 60000);
 */
#ifndef TESTS_SCALE_NET_H
#define TESTS_SCALE_NET_H
#include "kad/kad.h"
#include "tests/scale_ids.h"
#include "tests/scale_rand.h"
#include "tests/scale_wheel.h"

#define SCALE_START_MS 10000000u                 /* of the clock that never steps: some hours after its start */
#define SCALE_WALL_MS UINT64_C(1750000000000)    /* the wall clock then */
#define SCALE_RTT_MS 90                          /* the median round trip of a pair */
#define SCALE_NONE UINT32_MAX

enum scale_event_kind { SCALE_EVENT_DATAGRAM, SCALE_EVENT_TIMER, SCALE_EVENT_LIFE, SCALE_EVENT_WORK };

struct scale_life;
struct scale_work;

struct scale_config {
    uint32_t slots;
    uint64_t seed;
    uint8_t k, alpha;                  /* 0: the defaults of kad/ */
    uint32_t rtt_ms;                   /* 0: SCALE_RTT_MS */
    double loss, duplicate, reorder;   /* shares of datagrams */
};

struct scale_node {
    struct wheel_event timer;          /* its kad_deadline_ms, or earlier */
    struct wheel_event life;           /* what fate has planned: scale_life.h */
    struct kad *kad;                   /* NULL: down */
    struct scale_rand rand;            /* what it draws from */
    uint32_t generation;
    bool listed;                       /* in `ids` */
};

struct scale_counts {
    uint64_t sent, delivered, bytes, lost, duplicated, reordered, cut, swallowed, unreachable, turns, ticks;
};

struct scale_net {
    struct scale_config config;
    struct wheel wheel;
    struct scale_node *nodes;
    struct scale_ids ids;              /* the truth about who is where */
    uint32_t up;
    uint64_t hash;
    struct scale_rand fate_loss, fate_duplicate, fate_reorder, fate_cut;
    struct scale_counts counts;

    bool cut;                          /* a partition: the two halves (by a hash of the address) hear nothing of each other */
    uint64_t cut_salt;

    /* The layers above; hooks may be NULL. */
    struct scale_life *life;
    void (*on_dirty)(struct scale_life *life, uint32_t slot, const struct kad_dirty *d);
    void (*on_life)(struct scale_life *life, uint32_t slot);
    struct scale_work *work;
    void (*on_event)(struct scale_work *work, uint32_t slot, const struct kad_event *e);
    void (*on_work)(struct scale_work *work, struct wheel_event *e);
    bool (*swallow)(const uint8_t *data, size_t size); /* true: this query is answered without reaching anybody */

    struct scale_datagram *free[4];
    void **slabs;
    size_t n_slabs;
};

struct scale_net *scale_net_new(const struct scale_config *config);
void scale_net_free(struct scale_net *net);

/* A new node in a slot that is down, knowing nobody; with `again` the same address as whoever was there last. */
void scale_net_start(struct scale_net *net, uint32_t slot, bool again);
void scale_net_stop(struct scale_net *net, uint32_t slot); /* at once and without a word */
struct addr scale_net_addr(const struct scale_net *net, uint32_t slot);
uint32_t scale_net_slot(const struct scale_net *net, const struct addr *addr); /* who lives there now, or SCALE_NONE */
uint32_t scale_net_home(const struct scale_net *net, const struct addr *addr); /* whose it is, up or down */
struct now scale_net_now(const struct scale_net *net);
uint32_t scale_net_latency_ms(const struct scale_net *net, uint32_t from_number, uint32_t to_number);
uint32_t scale_net_number(const struct scale_net *net, uint32_t slot); /* that of its address, among all there are */
struct addr scale_net_number_addr(uint32_t number);
/* Its id is final (it has learned its address, or was told): the truth takes note. */
void scale_net_list(struct scale_net *net, uint32_t slot);

/* After calling into a node's kad: carries away what it has to say. */
void scale_net_turn(struct scale_net *net, uint32_t slot);
/* Cuts the network in two, along another line each time, or makes it whole again. */
void scale_net_cut(struct scale_net *net, bool cut);
/* Lives until then. */
void scale_net_run(struct scale_net *net, uint64_t until_ms);

#endif
