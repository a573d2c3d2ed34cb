#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "kad/store_impl.h"

static struct store_peers *list_find(struct kad_store *s, const uint8_t info_hash[KAD_ID_SIZE])
{
    return (struct store_peers *)store_find(s, STORE_PEERS, 0, info_hash);
}

static struct store_peer *peer_find(const struct store_peers *list, const struct addr *addr)
{
    for (uint32_t i = 0; i < list->n; i++)
        if (addr_equal(&list->peers[i]->addr, addr))
            return list->peers[i];
    return NULL;
}

static size_t list_size(uint32_t cap)
{
    return sizeof(struct store_peers) + cap * sizeof(struct store_peer *);
}

void store_peer_remove(struct kad_store *s, struct store_peer *peer)
{
    struct store_peers *list = peer->list;
    uint32_t i = 0;
    while (list->peers[i] != peer)
        i++;
    list->peers[i] = list->peers[--list->n];
    store_mark_peer(s, peer);
    store_unit_remove(s, &peer->unit, NULL);
    s->stats.peers--;
    s->stats.bytes -= sizeof *peer;
    free(peer);
    if (list->n == 0) {
        store_record_remove(s, &list->record);
        s->stats.bytes -= list_size(list->cap);
        free(list->peers);
        free(list);
    }
}

void store_peers_expire(struct kad_store *s, struct now now, struct store_peers *list)
{
    uint32_t first_s = UINT32_MAX;
    for (uint32_t i = list->n; i-- > 0;) {
        bool last = list->n == 1;
        if ((uint64_t)list->peers[i]->exp_s * 1000 <= now.wall_ms) {
            store_peer_remove(s, list->peers[i]);
            if (last)
                return;
        } else if (list->peers[i]->exp_s < first_s) {
            first_s = list->peers[i]->exp_s;
        }
    }
    store_schedule(s, &list->record, HEAP_EXPIRES, (uint64_t)first_s * 1000);
}

struct store_peer *store_peer_set(struct kad_store *s, struct now now, const uint8_t info_hash[KAD_ID_SIZE],
                                  const struct addr *addr, uint32_t exp_s, uint64_t source)
{
    (void)now;
    struct store_peers *list = list_find(s, info_hash);
    struct store_peer *peer = list ? peer_find(list, addr) : NULL;
    if (peer) {
        peer->exp_s = exp_s;
        return peer;
    }
    if (store_reserve(s, POOL_PEERS) || !(peer = calloc(1, sizeof *peer)))
        return NULL;
    if (!list) {
        if (!(list = calloc(1, sizeof *list)))
            goto fail;
        list->record.kind = STORE_PEERS;
        memcpy(list->record.target, info_hash, KAD_ID_SIZE);
    }
    if (list->n == list->cap) {
        uint32_t cap = list->cap ? list->cap * 2 : 1;
        struct store_peer **larger = realloc(list->peers, cap * sizeof(struct store_peer *));
        if (!larger)
            goto fail;
        if (list->cap)
            s->stats.bytes += (cap - list->cap) * sizeof(struct store_peer *);
        list->peers = larger;
        list->cap = cap;
    }
    if (list->n == 0) {
        store_record_add(s, &list->record);
        store_schedule(s, &list->record, HEAP_EXPIRES, (uint64_t)exp_s * 1000);
        s->stats.bytes += list_size(list->cap);
    }
    peer->list = list;
    peer->addr = *addr;
    peer->exp_s = exp_s;
    store_unit_add(s, &peer->unit, POOL_PEERS, source, NULL);
    list->peers[list->n++] = peer;
    s->stats.peers++;
    s->stats.bytes += sizeof *peer;
    return peer;

fail:
    free(peer);
    if (list && list->n == 0)
        free(list);
    return NULL;
}

/* Who gives way in a full list: of the newcomer's own network, if it has any here, the one that announced
 * itself longest ago; else of all. So one network cannot push the others out. */
static struct store_peer *list_victim(const struct store_peers *list, uint64_t source)
{
    struct store_peer *oldest = NULL, *own = NULL;
    for (uint32_t i = 0; i < list->n; i++) {
        struct store_peer *p = list->peers[i];
        if (!oldest || p->exp_s < oldest->exp_s)
            oldest = p;
        if (p->unit.source == source && (!own || p->exp_s < own->exp_s))
            own = p;
    }
    return own ? own : oldest;
}

int kad_store_announce(struct kad_store *s, struct now now, const uint8_t info_hash[KAD_ID_SIZE],
                       const struct addr *addr, const struct addr *from)
{
    if (!addr_is_usable(addr)) {
        s->stats.refused_form++;
        return KAD_ERROR_PROTOCOL;
    }
    struct store_peers *list = list_find(s, info_hash);
    struct store_peer *peer = list ? peer_find(list, addr) : NULL;
    uint64_t source = store_source(from);
    if (!peer && list && list->n >= KAD_PEERS_PER_HASH_MAX) {
        store_peer_remove(s, list_victim(list, source));
    }
    if (!peer) {
        struct store_unit *victim;
        int code = store_room(s, POOL_PEERS, source, NULL, 0, &victim);
        if (code) {
            s->stats.refused_full++;
            return code;
        }
        if (victim)
            store_displace(s, victim);
    }
    peer = store_peer_set(s, now, info_hash, addr, store_now_s(now) + KAD_LIFE_PEER_S, source);
    if (!peer)
        return KAD_ERROR_FULL;
    store_mark_peer(s, peer);
    return 0;
}

size_t kad_store_peers(struct kad_store *s, struct now now, const uint8_t info_hash[KAD_ID_SIZE],
                       uint8_t family, struct addr *ret_peers, size_t max)
{
    struct store_peers *list = list_find(s, info_hash);
    size_t n = 0;
    if (!list)
        return 0;
    uint32_t first = list->next % list->n, i;
    for (i = 0; i < list->n && n < max; i++) {
        const struct store_peer *peer = list->peers[(first + i) % list->n];
        if (peer->addr.family == family && (uint64_t)peer->exp_s * 1000 > now.wall_ms)
            ret_peers[n++] = peer->addr;
    }
    list->next = (first + i) % list->n; /* the next one who asks hears of others */
    return n;
}
