/* Our own address, which a node behind a router cannot know by itself: others say in their replies where they
 * see us (BEP 42, `ip`). Each subnet has one vote for an hour, the last that it gave, and NODE_VOTES_MAX are
 * counted. The first is believed while we know nothing; what we believe changes when two thirds of the votes,
 * NODE_VOTES_NEEDED at least, agree on something else, or all of them do. So a fifth of liars among our
 * contacts changes nothing.
 *
 * Our id follows from the address, and is the same whenever we come back to one: whoever could make us waver
 * between two addresses would else have us move to another place in the network each time. */
#include "kad/node.h"

#define QUARTER_MS 900000
#define LIFE_QUARTERS 4

/* One machine among local addresses, a /24 or /64 among others. */
static uint16_t voter_mark(const struct kad *k, const struct addr *voter)
{
    uint8_t who[ADDR_COMPACT_MAX];
    size_t size = addr_compact(voter, who);

    if (!addr_is_local(voter))
        size = voter->family == 4 ? 3 : 8;
    return (uint16_t)node_mark(k, who, size);
}

static uint32_t seen_mark(const struct kad *k, const struct addr *seen)
{
    uint8_t compact[ADDR_COMPACT_MAX];

    return node_mark(k, compact, addr_compact(seen, compact));
}

static void forget_old(struct node_net *net, uint8_t quarter)
{
    for (unsigned i = net->n_votes; i-- > 0;)
        if ((uint8_t)(quarter - net->votes[i].quarter) > LIFE_QUARTERS)
            net->votes[i] = net->votes[--net->n_votes];
}

static void count_vote(struct kad *k, struct node_net *net, uint16_t voter, uint32_t seen)
{
    uint8_t quarter = (uint8_t)(k->now.mono_ms / QUARTER_MS);
    unsigned at = 0;

    forget_old(net, quarter);
    while (at < net->n_votes && net->votes[at].voter != voter)
        at++;
    if (at == NODE_VOTES_MAX)
        at = rng_below(&k->rng, NODE_VOTES_MAX);
    if (at == net->n_votes)
        net->n_votes++;
    net->votes[at] = (struct node_vote){.seen = seen, .voter = voter, .quarter = quarter};
}

static bool is_agreed(const struct node_net *net, uint32_t seen)
{
    unsigned same = 0;

    for (unsigned i = 0; i < net->n_votes; i++)
        same += net->votes[i].seen == seen;
    return same == net->n_votes || (same >= NODE_VOTES_NEEDED && 3 * same >= 2u * net->n_votes);
}

/* Drawn from the address and a secret of ours. */
static void id_at(const struct kad *k, const struct addr *addr, uint8_t ret[KAD_ID_SIZE])
{
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, node_mark(k, addr->ip, addr_ip_size(addr)));

    id_for_addr(&rng, addr, ret);
}

static void move_to(struct kad *k, struct node_net *net, const struct addr *seen)
{
    struct kad_event e = {.kind = KAD_EVENT_ADDRESS, .addr = *seen};

    net->self = *seen;
    if (!id_fits_addr(net->table.self, seen)) {
        uint8_t id[KAD_ID_SIZE];
        id_at(k, seen, id);
        table_rename(&net->table, id);
        k->self_dirty = k->table_changed = true;
        join_elsewhere(k);
    }
    event_push(k, &e);
}

void vote_heard(struct kad *k, const struct addr *voter, struct span ip)
{
    struct node_net *net = node_net_of(k, voter);
    struct addr seen;

    if (addr_from_compact(ip.data, ip.size, &seen) || seen.family != voter->family || !addr_is_usable(&seen))
        return;
    uint32_t mark = seen_mark(k, &seen);
    count_vote(k, net, voter_mark(k, voter), mark);
    if (!addr_equal(&seen, &net->self) && (net->self.family == 0 || is_agreed(net, mark)))
        move_to(k, net, &seen);
}
