/* The legs of a request: which lookups it runs, whom each of them may ask, and what they found together. */
#include <stdlib.h>
#include <string.h>

#include "kad/request_impl.h"

#define SEEDS_MAX (LOOKUP_MAX / 2)

void request_free_legs(struct request *r)
{
    for (unsigned i = 0; i < r->n_legs; i++)
        free(r->legs[i]);
    r->n_legs = 0;
}

struct lookup *request_add_leg(struct kad *k, struct request *r, uint8_t family, uint8_t wanted,
                               uint8_t alpha)
{
    if (r->n_legs == REQUEST_LEGS_MAX)
        return NULL;
    struct lookup *l = malloc(sizeof *l);
    if (!l)
        return NULL;
    /* Before the first lookup has ended we know too little to call anything dense. */
    bool judge = k->booted && !r->fixed && !(k->without & KAD_WITHOUT_DENSITY);
    lookup_init(l, r->target, wanted, alpha, judge ? node_estimate(k) : 0);
    l->trusting = k->without & KAD_WITHOUT_DOUBT;
    l->least = judge && wanted == k->k ? node_estimate_least(k) : 0;
    /* All holders but one may serve what once was: somebody beside them names the one. */
    l->witnesses = judge && r->kind == REQUEST_GET && r->has_pk ? REQUEST_WITNESSES : 0;
    r->leg_family[r->n_legs] = family;
    r->legs[r->n_legs++] = l;
    return l;
}

/* No two paths of a request share a node. */
static bool in_other_leg(const struct request *r, uint8_t family, const struct lookup *leg, const uint8_t *id)
{
    for (unsigned i = 0; i < r->n_legs; i++)
        if (r->leg_family[i] == family && r->legs[i] != leg && lookup_find(r->legs[i], id) >= 0)
            return true;
    return false;
}

int request_offer(struct kad *k, struct request *r, unsigned leg, int by, const uint8_t *id,
                  const struct addr *addr)
{
    struct lookup *l = r->legs[leg];

    if (r->n_legs > 1 && in_other_leg(r, r->leg_family[leg], l, id))
        return -1;
    return lookup_named(l, by, id, addr, node_is_suspect(k, id, addr));
}

/* Spreads what the table knows over `paths` new legs of one family. */
static void seed_legs(struct kad *k, struct request *r, unsigned net, unsigned paths, uint8_t wanted,
                      uint8_t alpha)
{
    const struct table_contact *found[LOOKUP_MAX];
    const struct table *t = &k->net[net].table;
    unsigned first = r->n_legs;
    size_t max = paths * 2u * k->k < SEEDS_MAX ? paths * 2u * k->k : SEEDS_MAX;
    size_t n = table_closest(t, r->target, found, max, UINT8_MAX);
    double dense = k->without & KAD_WITHOUT_DENSITY ? 0 : LOOKUP_DENSE * node_net_estimate(k, &k->net[net]);

    /* Whoever crowds around the target must not be all that we begin with. */
    if (dense > 0 && n > 0 && n == max && id_distance(r->target, found[n - 1]->id) * dense < (double)n)
        n = table_closest(t, r->target, found, LOOKUP_MAX, UINT8_MAX);
    for (unsigned i = 0; i < paths && i < n; i++)
        if (!request_add_leg(k, r, t->family, wanted, alpha))
            break;
    if (r->n_legs == first)
        return;
    for (size_t i = 0; i < n; i++) {
        struct addr addr = table_addr(t, found[i]);
        request_offer(k, r, first + (unsigned)(i % (r->n_legs - first)), -1, found[i]->id, &addr);
    }
}

void request_look(struct kad *k, struct request *r, const uint8_t target[KAD_ID_SIZE])
{
    if (r->n_legs) {
        rpc_orphan(&k->rpc, r);
        request_free_legs(r);
        r->writing = 0;
    }
    if (target != r->target)
        memcpy(r->target, target, KAD_ID_SIZE);
    r->phase = PHASE_LOOKING;
    if (r->fixed) {
        struct lookup *l = request_add_leg(k, r, r->addr.family, 1, 1);
        if (l)
            lookup_offer(l, r->peer_id, &r->addr, false);
        return;
    }
    for (unsigned net = 0; net < k->n_nets; net++) {
        struct table *t = &k->net[net].table;
        if (!k->net[net].used || t->n == 0)
            continue;
        table_touch(t, k->now.mono_ms, r->target);
        bool many = r->kind == REQUEST_BOOT && t->n >= REQUEST_PATHS && !(k->without & KAD_WITHOUT_PATHS);
        /* Nobody waits for the first lookup of our own id: each of its paths asks one after another, so
         * nobody for nothing. */
        uint8_t alpha = r->kind == REQUEST_BOOT ? 1 : k->alpha;
        seed_legs(k, r, net, many ? REQUEST_PATHS : 1, k->k, alpha);
    }
}

/* A get that found nothing goes once more, over paths that avoid everybody asked so far. */
bool request_try_paths(struct kad *k, struct request *r)
{
    unsigned before = r->n_legs;
    uint8_t wanted = k->k > 2 ? k->k / 2 : k->k;

    if (r->paths_tried || r->fixed || (k->without & KAD_WITHOUT_PATHS))
        return false;
    r->paths_tried = true;
    for (unsigned leg = 0; leg < before; leg++) {
        struct lookup *l = r->legs[leg];
        unsigned first = r->n_legs, given = 0, left = 0;
        for (unsigned i = 0; i < l->n; i++)
            left += l->nodes[l->order[i]].state == LOOKUP_NEW;
        for (unsigned i = 0; i < REQUEST_PATHS && i < left; i++)
            if (!request_add_leg(k, r, r->leg_family[leg], wanted, 2))
                break;
        if (r->n_legs == first)
            continue;
        for (unsigned i = 0; i < l->n; i++) {
            const struct lookup_node *node = &l->nodes[l->order[i]];
            if (node->state != LOOKUP_NEW)
                continue;
            lookup_offer(r->legs[first + given % (r->n_legs - first)], node->id, &node->addr, false);
            given++;
        }
    }
    return r->n_legs > before;
}

void request_note_liars(struct kad *k, const struct request *r)
{
    for (unsigned leg = 0; leg < r->n_legs; leg++) {
        const struct lookup *l = r->legs[leg];
        for (unsigned i = 0; i < l->n && (l->doubted | l->told); i++) {
            int lies = lookup_lies(l, l->order[i]);
            if (lies)
                node_note_liar(k, &l->nodes[l->order[i]].addr, lies > 0);
        }
    }
}

size_t request_closest(const struct request *r, uint8_t family, struct request_node *ret, size_t max)
{
    size_t n = 0;

    for (unsigned leg = 0; leg < r->n_legs; leg++) {
        uint8_t found[LOOKUP_MAX];
        if (r->leg_family[leg] != family)
            continue;
        size_t count = lookup_closest(r->legs[leg], found, LOOKUP_MAX);
        for (size_t i = 0; i < count; i++) {
            const uint8_t *id = r->legs[leg]->nodes[found[i]].id;
            size_t at = n;
            while (at > 0 &&
                   id_compare(r->target, id, r->legs[ret[at - 1].leg]->nodes[ret[at - 1].node].id) < 0)
                at--;
            if (at == max)
                break;
            if (n < max)
                n++;
            memmove(&ret[at + 1], &ret[at], (n - at - 1) * sizeof *ret);
            ret[at] = (struct request_node){(uint8_t)leg, found[i]};
        }
    }
    return n;
}

size_t request_width(const struct request *r, uint8_t family)
{
    size_t width = 0;

    for (unsigned leg = 0; leg < r->n_legs; leg++) {
        size_t one = r->leg_family[leg] == family ? lookup_width(r->legs[leg]) : 0;
        width = one > width ? one : width;
    }
    return width;
}

bool request_includes_self(struct kad *k, const struct request *r)
{
    struct request_node found[LOOKUP_MAX];

    if (k->read_only)
        return false;
    for (unsigned net = 0; net < k->n_nets; net++) {
        const struct table *t = &k->net[net].table;
        if (!k->net[net].used)
            continue;
        size_t width = request_width(r, t->family), n = request_closest(r, t->family, found, LOOKUP_MAX);
        if (width == 0)
            width = k->k;
        if (n < width)
            return true;
        const uint8_t *last = r->legs[found[width - 1].leg]->nodes[found[width - 1].node].id;
        if (id_compare(r->target, t->self, last) < 0)
            return true;
    }
    return false;
}

/* A family that we have no leg in yet may be learned of from the other one (BEP 32). */
static int leg_for(struct kad *k, struct request *r, unsigned asked, uint8_t family)
{
    if (r->leg_family[asked] == family)
        return (int)asked;
    for (unsigned i = 0; i < r->n_legs; i++)
        if (r->leg_family[i] == family)
            return (int)i;
    if (r->kind == REQUEST_PING || !request_add_leg(k, r, family, k->k, k->alpha))
        return -1;
    return r->n_legs - 1;
}

/* Takes the nodes that an answer names. `hop`: where to note them for a trace, or NULL. */
size_t request_learn(struct kad *k, struct request *r, struct request_node asked, uint8_t family,
                     struct span list, struct kad_contact *hop, size_t max)
{
    uint8_t id[KAD_ID_SIZE];
    struct addr addr;
    const struct addr any = {.family = family};
    struct node_net *net = node_net_of(k, &any);
    size_t n = 0;

    if (!net || list.size == 0)
        return 0;
    int leg = leg_for(k, r, asked.leg, family), by = leg == asked.leg ? asked.node : LOOKUP_STRANGER;
    if (leg < 0)
        return 0;
    for (unsigned i = 0; i < 2u * k->k && node_next_listed(k, &list, family, id, &addr); i++) {
        int node = request_offer(k, r, (unsigned)leg, by, id, &addr);
        bool fills = r->kind == REQUEST_BOOT || r->kind == REQUEST_REFRESH;
        if (fills && node >= 0 && !table_find(&net->table, id) && table_has_room(&net->table, id, &addr))
            table_offer(&net->table, id, &addr); /* pinged later, if the lookup does not ask it */
        if (hop && n < max) {
            memcpy(hop[n].id, id, KAD_ID_SIZE);
            hop[n].addr = addr;
            hop[n].rtt_ms = hop[n].age_s = 0;
            n++;
        }
    }
    return n;
}
