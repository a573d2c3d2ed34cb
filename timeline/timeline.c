#include "timeline/timeline.h"

#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "timeline/state.h"

#define GREET_EACH 64       /* people told that we are here, at a time ... */
#define GREET_EVERY_MS 100  /* ... and the pause between: a crowd is not greeted in one breath */
#define ROLE_SLICE_POSTS 500
#define QUIET_MS 1000       /* the first pause after a turn that was not written ... */
#define QUIET_MAX_MS 60000  /* ... doubling up to this while what follows it fails as well */

/* ---- life ---------------------------------------------------------------------------------------------- */

/* Everything that is kept in the store, taken up. */
static int load(struct timeline *t)
{
    struct kad_stats stats;
    kad_stats(t->kad, &stats);
    t->ready = stats.contacts > 0;
    int err = account_load(t);
    if (!err)
        err = follows_load(t);
    if (!err && t->account.exists) {
        account_readdress(t); /* before the records: one that names another address is then known as stale */
        err = publish_load(t);
    }
    if (err)
        return err;
    if (t->account.exists && publish_connection_is_wrong(t))
        publish_address_changed(t);
    timeline_greet(t);
    t->roles_lag = true;
    catchup_all(t);
    edges_soon(t);
    return 0;
}

static void init_parts(struct timeline *t)
{
    account_init(t);
    people_init(t);
    links_init(t);
    follows_init(t);
    publish_init(t);
    outbox_init(t);
    catchup_init(t);
    edges_init(t);
    op_init(t);
}

static void clear_parts(struct timeline *t)
{
    op_clear(t);
    publish_clear(t);
    intake_clear(t);
    follows_clear(t);
    links_clear(t);
    people_clear(t);
    account_clear(t);
}

struct timeline *timeline_new(const struct timeline_config *config, struct kad *kad, struct store *store,
                              const struct rng *rng, struct now now)
{
    struct timeline *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->config = *config;
    t->kad = kad;
    t->store = store;
    t->rng = *rng;
    t->now = t->born = now;
    answers_init(&t->answers);
    init_parts(t);
    collector_init(&t->collector, config->lifespan_s, config->store_bytes_max);
    t->collector.is_clock_unset = !clock_is_set(t);
    collector_start(&t->collector, now);
    if (load(t)) {
        timeline_free(t);
        return NULL;
    }
    return t;
}

void timeline_free(struct timeline *t)
{
    if (!t)
        return;
    clear_parts(t);
    for (size_t i = 0; i < t->n_delayed; i++)
        buf_drop(t->delayed[i].text);
    out_clear(&t->out[0]);
    out_clear(&t->out[1]);
    answers_clear(&t->answers);
    free(t);
}

/* All that a start sets off (greeting, catching up, our records, others' follows) would begin with each turn
 * that is not written, four times a second on a full disk: it waits until turns are written for a while. */
static void quieten(struct timeline *t)
{
    bool was_tried = !is_quiet(t);
    if (t->quiet_wait_ms == 0 || (was_tried && t->now.mono_ms - t->quiet_ms > QUIET_MAX_MS))
        t->quiet_wait_ms = QUIET_MS;
    else if (was_tried && t->quiet_wait_ms < QUIET_MAX_MS)
        t->quiet_wait_ms = t->quiet_wait_ms * 2 < QUIET_MAX_MS ? t->quiet_wait_ms * 2 : QUIET_MAX_MS;
    t->quiet_ms = t->now.mono_ms + t->quiet_wait_ms;
}

/* Takes memory back from the store, after a commit that failed. */
static int reload(struct timeline *t)
{
    struct identity *identity = t->account.identity; /* the one thing that is not on disk */
    struct addr address = t->account.address;
    bool clock_synced = t->account.clock_synced;
    t->account.identity = NULL;
    clear_parts(t);
    init_parts(t);
    t->account.address = address;
    t->account.clock_synced = clock_synced;
    int err = load(t);
    if (!err && t->account.exists && identity && account_is(t, identity->pk))
        t->account.identity = identity;
    else
        identity_free(identity);
    return err;
}

/* ---- links --------------------------------------------------------------------------------------------- */

/* Somebody's HELLO: they are there. */
static void greeted(struct timeline *t, const struct link *l)
{
    struct person *p = l->owner;
    if (p->follow) {
        follow_tell(t, p->follow);
        if (!p->follow->chase && p->follow->chase_wait_ms > 0)
            catchup_start(t, p->follow);
    }
    if (p->follower)
        outbox_wake(t, p->follower);
}

static int receive(struct timeline *t, const struct link_event *e)
{
    struct message m;
    struct link *l = links_take(t, e->from_key);
    if (!l)
        return CAM_EFULL;
    int err = message_decode(e->bytes, &m);
    if (err)
        return err == CAM_ENOENT ? 0 : err; /* kinds of a later day are nobody's fault */
    l->heard_ms = t->now.mono_ms;
    if (m.kind == MESSAGE_HELLO) {
        err = links_spend(t, l, 1) ? links_hello(t, l, &m.hello) : CAM_EREFUSED;
        if (!err)
            greeted(t, l);
        return err;
    }
    if (!l->owner)
        return CAM_EREFUSED;
    struct follow *asked = m.kind == MESSAGE_BATCH ? follow_find(t, m.batch.author) : NULL;
    if (!(asked && catchup_is_asked(asked, l->key)) && !links_spend(t, l, 1))
        return CAM_EREFUSED;
    switch (m.kind) {
    case MESSAGE_FOLLOW:
        /* Only by the follower itself: so an old entry cannot be brought back by somebody else. */
        err = memcmp(m.follow.entry.pk, l->owner->pk, KEY_SIZE) == 0 && links_trust(t, l)
                  ? follower_message(t, &m.follow)
                  : CAM_EREFUSED;
        return err == CAM_EDUP ? 0 : err;
    case MESSAGE_POST:
        return intake_post(t, l, &m.post, e->bytes);
    case MESSAGE_ACK:
        return outbox_ack(t, l, &m.ack);
    case MESSAGE_HAVE:
        return catchup_have(t, l, &m.have);
    case MESSAGE_WANT:
        return catchup_want(t, l, &m.want);
    case MESSAGE_BATCH:
        return intake_batch(t, l, &m.batch, e->bytes);
    case MESSAGE_NONE:
    case MESSAGE_HELLO:
    case MESSAGE_KINDS:
        break;
    }
    return 0;
}

int timeline_recv(struct timeline *t, struct now now, const struct link_event *event)
{
    t->now = now;
    if (event->kind != LINK_RECEIVED) {
        links_event(t, event);
        return 0;
    }
    int err = receive(t, event);
    struct link *from = err == CAM_EAUTH || err == CAM_EFORMAT ? links_find(t, event->from_key) : NULL;
    if (from)
        links_fine(t, from);
    t->refused += err != 0;
    return err;
}

bool timeline_admits(const struct timeline *t, const uint8_t transport_key[LINK_KEY_SIZE])
{
    return keymap_get(&t->links.by_key, transport_key) || t->links.n_strangers < LINKS_STRANGERS_MAX;
}

bool timeline_next_out(struct timeline *t, bool promises, struct link_send *ret_send)
{
    return out_pop(&t->out[promises], ret_send);
}

/* ---- the network --------------------------------------------------------------------------------------- */

/* Whoever asked for it: a verified value about somebody is taken up. */
static void learn(struct timeline *t, const struct kad_item *item)
{
    uint16_t device;
    struct record_head head;
    if (!item->is_mutable || account_is(t, item->pk))
        return;
    if (span_equal(item->salt, span_str("public")))
        people_learn_profile(t, item);
    else if (record_salt_number(item->salt, "connections", &device) == 0)
        people_learn_connection(t, item, false);
    else if (record_salt_number(item->salt, "head", &device) == 0) {
        struct follow *f = follow_find(t, item->pk);
        if (f && f->feed.device == device && record_get_head(item->v, &head) == 0)
            catchup_learn_head(t, f, &head);
    }
}

void timeline_kad_event(struct timeline *t, struct now now, const struct kad_event *e)
{
    t->now = now;
    switch (e->kind) {
    case KAD_EVENT_READY:
        t->ready = true;
        account_readdress(t);
        publish_review(t);
        catchup_ready(t);
        edges_soon(t);
        t->follows.mirror_ms = now.mono_ms;
        if (t->account.exists && t->account.name_state == NAME_PENDING)
            t->account.claim_ms = now.mono_ms;
        return;
    case KAD_EVENT_ALONE:
        t->ready = false;
        return;
    case KAD_EVENT_ADDRESS:
        account_readdress(t);
        return;
    case KAD_EVENT_FIRST:
    case KAD_EVENT_GET:
        if (e->status == 0 && e->item)
            learn(t, e->item);
        break;
    case KAD_EVENT_PING:
    case KAD_EVENT_HOP:
    case KAD_EVENT_FIND:
    case KAD_EVENT_PUT:
    case KAD_EVENT_SET:
    case KAD_EVENT_SET_PUT:
    case KAD_EVENT_PEERS:
    case KAD_EVENT_ANNOUNCE:
    case KAD_EVENT_SET_COUNT:
        break;
    }
    if (e->tag & TIMELINE_TAG_FOREIGN)
        return;
    switch ((enum request_kind)(e->tag >> 48)) {
    case REQUEST_OPERATION:
        op_event(t, e);
        break;
    case REQUEST_PUBLISH:
        publish_event(t, e);
        break;
    case REQUEST_LOOK:
        people_look_event(t, e);
        break;
    case REQUEST_CHASE:
        catchup_event(t, e);
        break;
    case REQUEST_MIRROR:
        follows_mirror_event(t, e);
        break;
    case REQUEST_EDGES:
        edges_event(t, e);
        break;
    case REQUEST_CLAIM:
        account_claim_event(t, e);
        break;
    }
}

/* ---- time ---------------------------------------------------------------------------------------------- */

/* After a start, and after a move: followers hear that we are here and how far our feed goes, or get what
 * they are owed; those we follow hear where we are, unless asking them for posts has said so already. */
void timeline_greet(struct timeline *t)
{
    t->greeted = 0;
    t->greet_ms = t->now.mono_ms;
}

static void greet(struct timeline *t)
{
    size_t n_followers = t->follows.n_followers, n_all = n_followers + t->follows.n;
    if (t->greet_ms > t->now.mono_ms)
        return;
    for (int n = 0; n < GREET_EACH && t->greeted < n_all; t->greeted++) {
        struct follower *f = t->greeted < n_followers ? t->follows.followers[t->greeted] : NULL;
        const struct person *p = f ? f->who : t->follows.list[t->greeted - n_followers]->who;
        const struct link_dest *to = person_dest(p);
        if (!to)
            continue;
        if (f && f->acked_seq < t->account.feed.known_seq) {
            outbox_wake(t, f);
        } else if (f) {
            catchup_tell_head(t, to);
        } else {
            const struct link *l = links_find(t, to->key);
            if (l && l->hello_seq == publish_connection_seq(t))
                continue;
            links_greet(t, to);
        }
        n++;
    }
    t->greet_ms = t->greeted < n_all ? t->now.mono_ms + GREET_EVERY_MS : NOW_NEVER;
}

void timeline_tick(struct timeline *t, struct now now)
{
    t->now = now;
    command_delayed_posts(t);
    op_tick(t);
    account_tick(t);
    if (!is_quiet(t)) {
        publish_tick(t);
        greet(t);
        catchup_tick(t);
        edges_tick(t);
    }
    intake_tick(t);
    outbox_tick(t);
    links_tick(t);
    collector_run(&t->collector, t->store, now);
    if (t->roles_lag && store_role_slice(t->store, ROLE_SLICE_POSTS, &t->roles_lag))
        t->roles_lag = false;
    follows_tick(t);
}

uint64_t timeline_deadline_ms(const struct timeline *t)
{
    if (t->roles_lag || t->follows.touched || t->follows.touched_followers || t->account.feed_dirty)
        return t->now.mono_ms;
    uint64_t at_ms = deadline_min(account_deadline_ms(t), follows_deadline_ms(t));
    at_ms = deadline_min(at_ms, deadline_min(publish_deadline_ms(t), catchup_deadline_ms(t)));
    at_ms = deadline_min(at_ms, deadline_min(edges_deadline_ms(t), t->greet_ms));
    at_ms = deadline_max(at_ms, t->quiet_ms);
    at_ms = deadline_min(at_ms, deadline_min(op_deadline_ms(t), intake_deadline_ms(t)));
    at_ms = deadline_min(at_ms, deadline_min(outbox_deadline_ms(t), collector_deadline_ms(&t->collector)));
    if (t->n_delayed)
        at_ms = deadline_min(at_ms, t->born.mono_ms + CLOCK_WAIT_MS);
    return at_ms;
}

void timeline_clock_synced(struct timeline *t, struct now now)
{
    t->now = now;
    t->account.clock_synced = true;
    t->collector.is_clock_unset = false;
    collector_start(&t->collector, now);
    command_delayed_posts(t);
}

/* ---- the local user ------------------------------------------------------------------------------------ */

void timeline_command(struct timeline *t, struct now now, const struct timeline_command *command)
{
    t->now = now;
    command_run(t, command);
}

bool timeline_next_answer(struct timeline *t, struct timeline_answer *ret_answer)
{
    return answers_pop(&t->answers, ret_answer);
}

const struct identity *timeline_identity(const struct timeline *t) { return t->account.identity; }

/* The turn was not written: what it promised is dropped, its callers are told, memory is what the disk says.
 */
static void take_back(struct timeline *t)
{
    struct answer_queue kept;
    struct timeline_answer a;
    answers_init(&kept);
    out_clear(&t->out[0]);
    out_clear(&t->out[1]);
    op_fail_all(t, CAM_EIO);
    while (answers_pop(&t->answers, &a)) {
        if (!a.last)
            continue; /* a row of something that did not happen */
        a.status = CAM_EIO;
        strcpy(a.message, "the store cannot be written: is the disk full? Nothing of this was kept");
        answers_push(&kept, &a);
    }
    for (size_t i = 0; i < OUTBOX_WAITERS_MAX; i++)
        if (t->outbox.waiters[i].used) {
            struct timeline_answer lost = { .client = t->outbox.waiters[i].client,
                                            .last = true,
                                            .status = CAM_EIO };
            strcpy(lost.message, "the store cannot be written: is the disk full?");
            answers_push(&kept, &lost);
        }
    answers_clear(&t->answers);
    while (answers_pop(&kept, &a))
        answers_push(&t->answers, &a);
    answers_clear(&kept);
    quieten(t);
    reload(t);
}

void timeline_committed(struct timeline *t, struct now now, int err)
{
    t->now = now;
    if (err)
        take_back(t);
}
