#include "timeline/links.h"

#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "timeline/state.h"

static void bucket_fill(struct bucket *b, uint64_t now_ms, double per_s, double burst)
{
    double tokens = b->at_ms ? b->tokens + (double)(now_ms - b->at_ms) * per_s / 1000 : burst;
    b->tokens = tokens < burst ? tokens : burst;
    b->at_ms = now_ms ? now_ms : 1;
}

static bool bucket_take(struct bucket *b, uint64_t now_ms, double n, double per_s, double burst)
{
    bucket_fill(b, now_ms, per_s, burst);
    if (b->tokens < n)
        return false;
    b->tokens -= n;
    return true;
}

/* ---- the table ----------------------------------------------------------------------------------------- */

void links_init(struct timeline *t)
{
    t->links = (struct links){ .n_strangers = 0 };
    keymap_init(&t->links.by_key, &t->rng);
}

void links_clear(struct timeline *t)
{
    struct link *l;
    for (size_t i = 0; (l = keymap_next(&t->links.by_key, &i));)
        free(l);
    keymap_clear(&t->links.by_key);
}

struct link *links_find(struct timeline *t, const uint8_t key[LINK_KEY_SIZE])
{
    return keymap_get(&t->links.by_key, key);
}

/* A stranger may be forgotten at any time but this moment. So may a friend where the table itself is full,
 * once it was quiet for so long that both sides say HELLO again. */
static bool may_go(const struct timeline *t, const struct link *l, bool is_full)
{
    return l->is_friend ? is_full && t->now.mono_ms - l->used_ms > LINKS_QUIET_MS
                        : l->used_ms < t->now.mono_ms;
}

/* Half of those used longest ago go at once, so that a crowd does not cost a walk each. */
static void evict(struct timeline *t)
{
    bool is_full = t->links.by_key.n >= LINKS_MAX;
    struct link *l, *old[64];
    size_t n = 0;
    uint64_t now_ms = t->now.mono_ms, oldest = now_ms;
    for (size_t i = 0; (l = keymap_next(&t->links.by_key, &i));)
        if (may_go(t, l, is_full) && l->used_ms < oldest)
            oldest = l->used_ms;
    uint64_t middle = oldest + (now_ms - oldest) / 2;
    for (size_t i = 0; (l = keymap_next(&t->links.by_key, &i)) && n < sizeof old / sizeof *old;)
        if (may_go(t, l, is_full) && l->used_ms <= middle)
            old[n++] = l;
    for (size_t i = 0; i < n; i++) {
        t->links.n_strangers -= !old[i]->is_friend;
        keymap_remove(&t->links.by_key, old[i]->key);
        free(old[i]);
    }
}

struct link *links_take(struct timeline *t, const uint8_t key[LINK_KEY_SIZE])
{
    struct link *l = links_find(t, key);
    if (l) {
        l->used_ms = t->now.mono_ms;
        return l;
    }
    if (t->links.n_strangers >= LINKS_STRANGERS_MAX || t->links.by_key.n >= LINKS_MAX)
        evict(t);
    if (t->links.n_strangers >= LINKS_STRANGERS_MAX || t->links.by_key.n >= LINKS_MAX)
        return NULL;
    l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    memcpy(l->key, key, LINK_KEY_SIZE);
    l->used_ms = t->now.mono_ms;
    if (keymap_put(&t->links.by_key, l->key, l)) {
        free(l);
        return NULL;
    }
    t->links.n_strangers++;
    return l;
}

void links_tick(struct timeline *t)
{
    if (t->links.n_strangers > LINKS_STRANGERS_MAX * 7 / 8)
        evict(t);
}

static void count_friend(struct timeline *t, struct link *l)
{
    bool is_friend = l->owner && !person_is_guest(l->owner);
    if (is_friend && !l->is_friend)
        t->links.n_strangers--;
    if (!is_friend && l->is_friend)
        t->links.n_strangers++;
    l->is_friend = is_friend;
}

void links_own(struct timeline *t, const uint8_t key[LINK_KEY_SIZE], struct person *p, uint16_t device)
{
    struct link *l = links_take(t, key);
    if (!l)
        return;
    if (l->owner != p)
        l->owned_ms = t->now.mono_ms;
    l->owner = p;
    l->device = device;
    count_friend(t, l);
}

/* The machine that has this key, or NULL. */
static const struct peer *peer_of(const struct person *p, const uint8_t key[LINK_KEY_SIZE])
{
    for (size_t i = 0; i < p->n_peers; i++)
        if (memcmp(p->peers[i].dest.key, key, LINK_KEY_SIZE) == 0)
            return &p->peers[i];
    return NULL;
}

const struct link_dest *link_answer_dest(const struct link *l)
{
    const struct peer *at = l->owner ? peer_of(l->owner, l->key) : NULL;
    return at ? &at->dest : NULL;
}

void links_leave(struct timeline *t, const uint8_t key[LINK_KEY_SIZE], const struct person *p)
{
    struct link *l = links_find(t, key);
    if (!l || l->owner != p)
        return;
    l->owner = NULL;
    count_friend(t, l);
}

void links_disown(struct timeline *t, struct person *p)
{
    struct link *l;
    for (size_t i = 0; (l = keymap_next(&t->links.by_key, &i));)
        if (l->owner == p) {
            l->owner = NULL;
            count_friend(t, l);
        }
}

void links_settle(struct timeline *t, struct person *p)
{
    for (size_t i = 0; i < p->n_peers; i++) {
        struct link *l = links_find(t, p->peers[i].dest.key);
        if (l && l->owner == p)
            count_friend(t, l);
    }
}

/* ---- budgets and times --------------------------------------------------------------------------------- */

bool links_spend(struct timeline *t, struct link *l, uint32_t n)
{
    return l->is_friend
               ? bucket_take(&l->messages, t->now.mono_ms, n, LINKS_FRIEND_PER_S, LINKS_FRIEND_BURST)
               : bucket_take(&l->messages, t->now.mono_ms, n, LINKS_STRANGER_PER_S, LINKS_STRANGER_BURST);
}

static bool may_dial(struct timeline *t, struct link *l)
{
    if (!l->is_up && !l->is_dialling)
        l->is_dialling =
            l->is_friend ? bucket_take(&t->links.dials[1], t->now.mono_ms, 1, LINKS_FRIEND_DIALS_PER_S,
                                       LINKS_FRIEND_DIALS_BURST)
                         : bucket_take(&t->links.dials[0], t->now.mono_ms, 1, LINKS_STRANGER_DIALS_PER_S,
                                       LINKS_STRANGER_DIALS_BURST);
    return l->is_up || l->is_dialling;
}

bool links_may_serve(struct timeline *t, struct link *l)
{
    uint64_t now_ms = t->now.mono_ms;
    bucket_fill(&l->bytes, now_ms, l->is_friend ? LINKS_FRIEND_BYTES_PER_S : LINKS_STRANGER_BYTES_PER_S,
                l->is_friend ? LINKS_FRIEND_BYTES_BURST : LINKS_STRANGER_BYTES_BURST);
    bucket_fill(&t->links.served, now_ms, LINKS_SERVED_PER_S, LINKS_SERVED_BURST);
    return l->bytes.tokens > 0 && t->links.served.tokens > 0 && may_dial(t, l);
}

void links_served(struct timeline *t, struct link *l, size_t bytes)
{
    l->bytes.tokens -= (double)bytes;
    t->links.served.tokens -= (double)bytes;
}

bool links_trust(struct timeline *t, struct link *l)
{
    if (l->is_friend)
        return links_spend(t, l, LINKS_FINE / 2);
    return bucket_take(&t->links.hellos, t->now.mono_ms, 1, LINKS_HELLO_PER_S, LINKS_HELLO_BURST);
}

bool links_may_follow(struct timeline *t)
{
    return bucket_take(&t->links.followers, t->now.mono_ms, 1, LINKS_FOLLOWERS_PER_S, LINKS_FOLLOWERS_BURST);
}

void links_fine(struct timeline *t, struct link *l)
{
    uint32_t fine = l->is_friend ? LINKS_FINE : LINKS_STRANGER_FINE;
    if (!links_spend(t, l, fine))
        l->messages.tokens = 0;
}

uint32_t link_timeout_ms(const struct link *l)
{
    uint32_t rtt_ms = l && l->rtt_ms ? l->rtt_ms : LINKS_RTT_FIRST_MS;
    return rtt_ms * 3 > 250 ? rtt_ms * 3 : 250;
}

void link_measured(struct link *l, uint64_t rtt_ms)
{
    uint32_t sample = rtt_ms < 1 ? 1 : rtt_ms > 2000 ? 2000 : (uint32_t)rtt_ms;
    l->rtt_ms = l->rtt_ms ? (l->rtt_ms * 7 + sample) / 8 : sample;
    if (l->rtt_ms == 0)
        l->rtt_ms = 1;
}

/* ---- sending ------------------------------------------------------------------------------------------- */

/* Queues our connection record, when there is one. HELLO promises nothing, so it always leaves first. */
static void put_hello(struct timeline *t, struct link *l, const struct link_dest *to)
{
    struct message m = { .kind = MESSAGE_HELLO, .hello.ask = !l->owner };
    if (!publish_connection(t, &m.hello.record))
        return;
    uint8_t bytes[1024];
    struct bytes_out out = bytes_out(bytes, sizeof bytes);
    message_encode(&out, &m);
    struct buf *b = out.err ? NULL : buf_new(span(bytes, out.size));
    if (b && out_push(&t->out[0], to, b) == 0)
        l->hello_seq = m.hello.record.seq;
    buf_drop(b);
}

static struct link *prepare(struct timeline *t, const struct link_dest *to)
{
    struct link *l = links_take(t, to->key);
    if (!l)
        return NULL;
    if (!addr_equal(&l->addr, &to->addr)) {
        l->addr = to->addr;
        l->hello_seq = 0;
    }
    if (l->hello_seq == 0 || l->hello_seq != publish_connection_seq(t) || !l->sent_ms ||
        t->now.mono_ms - l->sent_ms > LINKS_QUIET_MS)
        put_hello(t, l, to);
    l->sent_ms = t->now.mono_ms ? t->now.mono_ms : 1;
    return l;
}

void links_send(struct timeline *t, const struct link_dest *to, struct buf *b, bool promises)
{
    if (prepare(t, to))
        out_push(&t->out[promises], to, b);
}

int links_send_message(struct timeline *t, const struct link_dest *to, const struct message *m, bool promises)
{
    struct bytes_out out = bytes_out(t->scratch, sizeof t->scratch);
    message_encode(&out, m);
    if (out.err)
        return out.err;
    struct buf *b = buf_new(span(t->scratch, out.size));
    if (!b)
        return CAM_ESYS;
    links_send(t, to, b, promises);
    buf_drop(b);
    return 0;
}

void links_greet(struct timeline *t, const struct link_dest *to)
{
    struct link *l = links_find(t, to->key);
    if (l)
        l->hello_seq = 0;
    prepare(t, to);
}

static void doubt(struct link *l)
{
    l->hello_seq = 0;
    if (l->owner && l->owner->follow)
        l->owner->follow->told_seq = 0;
}

void links_doubt(struct timeline *t, const uint8_t key[LINK_KEY_SIZE])
{
    struct link *l = links_find(t, key);
    if (l)
        doubt(l);
}

/* ---- coming in ----------------------------------------------------------------------------------------- */

static int learn_hello(struct timeline *t, struct link *l, const struct message_hello *hello)
{
    const struct kad_item *record = &hello->record;
    struct record_connection c;
    uint16_t device;
    if (record_salt_number(record->salt, "connections", &device) || record_get_connection(record->v, &c))
        return CAM_EFORMAT;
    /* The key that ZAP proved is the key that the record names: so the record is its own link's. An expired
     * one will do, a locked node has no other; that the link stands proves it is still true. */
    if (memcmp(c.transport_key, l->key, LINK_KEY_SIZE) != 0)
        return CAM_EAUTH;
    if (t->account.exists && memcmp(record->pk, t->account.pk, KEY_SIZE) == 0 && device == t->account.device)
        return CAM_EREFUSED; /* a copy of this home, or an echo */
    struct person *known = people_find(t, record->pk);
    if (known && l->owner == known)
        for (size_t i = 0; i < known->n_peers; i++) {
            const struct peer *p = &known->peers[i];
            if (p->proved && p->seq == record->seq && p->device == device &&
                addr_equal(&p->dest.addr, &c.addr) && memcmp(p->dest.key, l->key, LINK_KEY_SIZE) == 0)
                return 0; /* the same words again: nothing to check */
        }
    bool is_anothers = l->owner && l->owner != known && t->now.mono_ms - l->owned_ms < LINKS_OWNER_MS;
    if (is_anothers || !links_trust(t, l))
        return CAM_EREFUSED;
    int err = kad_item_verify(record);
    if (err)
        return err;
    err = people_learn_connection(t, record, true);
    if (err && err != CAM_ESTALE)
        return err;
    struct person *p = people_find(t, record->pk);
    if (!peer_of(p, l->key))
        return CAM_EREFUSED; /* it has said since that this machine has another key */
    links_own(t, l->key, p, device);
    return 0;
}

int links_hello(struct timeline *t, struct link *l, const struct message_hello *hello)
{
    int err = learn_hello(t, l, hello);
    if (!err && hello->ask) /* ours may have been lost, and only they can know */
        l->hello_seq = 0;
    return err;
}

void links_event(struct timeline *t, const struct link_event *e)
{
    struct link *l = links_find(t, e->dest.key);
    if (!l || !addr_equal(&l->addr, &e->dest.addr))
        return;
    l->is_up = e->kind == LINK_UP;
    l->is_dialling = false;
    if (e->kind == LINK_UP)
        return;
    doubt(l); /* our FOLLOW may be lost as well */
    outbox_link_lost(t, &e->dest);
    catchup_link_lost(t, &e->dest);
}
