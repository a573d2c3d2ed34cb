#include "timeline/catchup.h"

#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "timeline/state.h"

enum lookup { LOOKUP_CONNECTION, LOOKUP_FOLLOWERS, LOOKUP_HEAD };

void catchup_init(struct timeline *t)
{
    t->catchup = (struct catchup){ .due_ms = NOW_NEVER, .compare_end_ms = NOW_NEVER,
                                    .next_number = t->catchup.next_number };
    t->catchup.compare_ms =
        t->now.mono_ms + CATCHUP_COMPARE_MS / 4 + rng_below(&t->rng, CATCHUP_COMPARE_MS / 2);
}

static void due(struct timeline *t, struct follow *f, uint64_t at_ms)
{
    if (f->chase)
        f->chase->due_ms = at_ms;
    else
        f->chase_after_ms = at_ms;
    t->catchup.due_ms = deadline_min(t->catchup.due_ms, at_ms);
}

/* Is a post of theirs known to exist that is not here? */
static bool is_lacking(const struct follow *f)
{
    return feed_missing(&f->feed) > 0 || f->head_claim > f->feed.known_seq;
}

uint64_t catchup_missing(struct timeline *t, struct follow *f)
{
    uint32_t bodies = f->feed.bodies_missing;
    if (bodies && clock_is_set(t))
        store_post_missing_expire(t->store, &f->feed, t->config.lifespan_s, t->now);
    if (bodies != f->feed.bodies_missing)
        follow_touched(t, f, true);
    uint64_t missing = feed_missing(&f->feed) + f->feed.bodies_missing;
    return f->head_claim > f->feed.known_seq ? missing + (f->head_claim - f->feed.known_seq) : missing;
}

/* ---- asking -------------------------------------------------------------------------------------------- */

/* The first WANT waits for the commit, as FOLLOW does, and so comes after it; those that go on need not. */
static void send_want(struct timeline *t, struct follow *f, struct candidate *to, uint64_t from_seq,
                      uint64_t to_seq)
{
    struct message m = {
        .kind = MESSAGE_WANT,
        .want = { .device = f->feed.device, .from = from_seq, .to = to_seq, .bytes_max = CHASE_BYTES }
    };
    memcpy(m.want.author, f->feed.author, KEY_SIZE);
    to->state = CANDIDATE_ASKED;
    to->asked_ms = t->now.mono_ms;
    to->credit = CHASE_BYTES;
    links_send_message(t, &to->dest, &m, !to->has_answered);
    due(t, f, deadline_min(f->chase->due_ms, t->now.mono_ms + link_timeout_ms(links_find(t, to->dest.key))));
}

/* Asks for what is above everything held: the newest page comes first. */
static void ask_newest(struct timeline *t, struct follow *f, struct candidate *to)
{
    uint64_t head = feed_head_seq(&f->feed);
    uint64_t above = head > f->feed.floor_seq ? head : f->feed.floor_seq;
    send_want(t, f, to, above + 1, 0);
}

/* The author before all, then one other follower; after that as they come, freshest first. */
static size_t ask_next(struct timeline *t, struct follow *f, size_t width)
{
    struct chase *c = f->chase;
    size_t asked = 0;
    for (int author = 1; author >= 0; author--)
        for (size_t i = 0; i < c->n_candidates && asked < width; i++)
            if (c->candidates[i].state == CANDIDATE_FRESH && c->candidates[i].is_author == (author == 1)) {
                ask_newest(t, f, &c->candidates[i]);
                asked++;
            }
    return asked;
}

static uint64_t tag_of(const struct chase *c, enum lookup what)
{
    return request_tag(REQUEST_CHASE, (uint64_t)c->number << 2 | what);
}

static void look_for_value(struct timeline *t, struct follow *f, const char *name, enum lookup what)
{
    struct chase *c = f->chase;
    uint8_t target[KAD_ID_SIZE];
    char buf[RECORD_SALT_SIZE];
    struct span salt = record_salt(buf, name, f->feed.device);
    kad_mutable_target(f->who->pk, salt, target);
    c->n_lookups += kad_get(t->kad, t->now, target, f->who->pk, salt, tag_of(c, what)) == 0;
}

static void look_up(struct timeline *t, struct follow *f)
{
    struct chase *c = f->chase;
    uint8_t root[KAD_ID_SIZE];
    look_for_value(t, f, "connections", LOOKUP_CONNECTION);
    record_followers_root(f->who->pk, root);
    c->n_lookups += kad_set_get(t->kad, t->now, root, true, CHASE_CANDIDATES_MAX,
                                tag_of(c, LOOKUP_FOLLOWERS)) == 0;
    look_for_value(t, f, "head", LOOKUP_HEAD);
    c->looked = LOOKED;
}

/* Nobody is left to ask: does the network know more? A check asks it for the author's head alone, as long as
 * that says nothing new: three lookups an author would be most of what an idle node sends. */
static void look_further(struct timeline *t, struct follow *f)
{
    struct chase *c = f->chase;
    if (!t->ready)
        return;
    if (c->looked != LOOKED && (!c->is_check || is_lacking(f))) {
        look_up(t, f);
    } else if (c->looked == LOOKED_NOWHERE) {
        look_for_value(t, f, "head", LOOKUP_HEAD);
        c->looked = LOOKED_AT_HEAD;
    }
}

/* ---- the chase ----------------------------------------------------------------------------------------- */

static void end(struct timeline *t, struct follow *f)
{
    if (!f->chase)
        return;
    free(f->chase);
    f->chase = NULL;
    t->catchup.n_chases--;
    t->catchup.due_ms = t->now.mono_ms; /* somebody may be waiting for the place */
}

/* Over for now: with everything, or with nobody left to ask. Where another says that nothing is missing and
 * the author has not been heard, the author is asked a few times more: perhaps that other knows no better.
 * After that comparing HAVE takes it, as a silent author costs lookups each time. */
static void finish(struct timeline *t, struct follow *f)
{
    const struct chase *c = f->chase;
    bool is_sure = c->author_answered || c->n_answered >= CHASE_ANSWERS_ENOUGH;
    bool is_over = is_sure || c->is_check || f->chase_wait_ms >= CHASE_RETRY_MAX_MS;
    end(t, f);
    if (is_over && !is_lacking(f)) {
        f->chase_wait_ms = 0;
        f->chase_after_ms = NOW_NEVER;
        return;
    }
    f->chase_wait_ms = f->chase_wait_ms ? f->chase_wait_ms * 2 : CHASE_RETRY_MS;
    if (f->chase_wait_ms > CHASE_RETRY_MAX_MS)
        f->chase_wait_ms = CHASE_RETRY_MAX_MS;
    due(t, f, t->now.mono_ms + f->chase_wait_ms);
}

static bool begin(struct timeline *t, struct follow *f)
{
    f->wants_chase = true;
    f->chase_after_ms = NOW_NEVER;
    if (is_quiet(t)) {
        t->catchup.due_ms = deadline_min(t->catchup.due_ms, t->quiet_ms);
        return false;
    }
    if (t->catchup.n_chases >= CHASES_MAX || !(f->chase = calloc(1, sizeof *f->chase)))
        return false; /* catchup_tick, when one ends */
    f->wants_chase = false;
    t->catchup.n_chases++;
    f->chase->source = -1;
    f->chase->due_ms = NOW_NEVER;
    f->chase->number = ++t->catchup.next_number & 0x3fffffff;
    candidate_gather(t, f);
    return true;
}

void catchup_start(struct timeline *t, struct follow *f)
{
    if (f->chase)
        f->chase->is_check = false; /* it goes on as a chase */
    if (f->chase || !begin(t, f))
        return;
    if (t->ready)
        look_up(t, f);
    ask_next(t, f, CHASE_ASK_WIDTH);
    due(t, f, deadline_min(f->chase->due_ms, t->now.mono_ms + 250));
}

void catchup_check(struct timeline *t, struct follow *f)
{
    if (f->chase || !begin(t, f))
        return;
    f->chase->is_check = true;
    ask_next(t, f, 1);
    due(t, f, deadline_min(f->chase->due_ms, t->now.mono_ms + 250));
}

void catchup_all(struct timeline *t)
{
    for (size_t i = 0; i < t->follows.n; i++)
        catchup_start(t, t->follows.list[i]);
}

void catchup_end(struct timeline *t, struct follow *f)
{
    end(t, f);
    f->wants_chase = false;
}

void catchup_ready(struct timeline *t)
{
    for (size_t i = 0; i < t->follows.n; i++) {
        struct follow *f = t->follows.list[i];
        if (f->chase && f->chase->n_lookups == 0)
            look_up(t, f);
        else if (!f->chase && f->chase_wait_ms > 0) {
            f->chase_wait_ms = 0;
            catchup_start(t, f);
        }
    }
}

void catchup_moved(struct timeline *t, struct follow *f, const struct link_dest *dest)
{
    if (!f->chase) {
        if (f->chase_wait_ms > 0 || f->wants_chase)
            catchup_start(t, f);
        return;
    }
    struct candidate *c = candidate_add(t, f->chase, dest, true);
    if (c && c->state == CANDIDATE_FRESH)
        ask_newest(t, f, c);
}

static void pull(struct timeline *t, struct follow *f, struct candidate *at, bool was_useful);

/* It did not answer in time. The author may not have heard that we follow it either. */
static void doubt(struct timeline *t, struct follow *f, struct candidate *at)
{
    at->state = CANDIDATE_FAILED;
    links_doubt(t, at->dest.key);
    if (at->is_author)
        f->told_seq = 0;
}

/* Is there more to be had, and from whom? The transition function of a chase, after every answer and
 * time-out. */
static void go_on(struct timeline *t, struct follow *f)
{
    struct chase *c = f->chase;
    uint64_t now_ms = t->now.mono_ms, next_ms = NOW_NEVER;
    size_t n_asked = 0;
    for (size_t i = 0; i < c->n_candidates; i++) {
        struct candidate *at = &c->candidates[i];
        if (at->state != CANDIDATE_ASKED)
            continue;
        uint64_t until_ms = at->asked_ms + link_timeout_ms(links_find(t, at->dest.key));
        if (until_ms <= now_ms) { /* not waited for; what it sends later is welcome all the same */
            doubt(t, f, at);
            if (c->source != (int)i)
                continue;
            c->source = -1;
            if (++c->n_idle >= CHASE_IDLE_MAX)
                continue;
            /* It was of use: perhaps a page was lost, or it serves others first. Asked again beside the next.
             */
            pull(t, f, at, true);
            c->source = -1;
            if (at->state != CANDIDATE_ASKED)
                continue;
            until_ms = now_ms + link_timeout_ms(links_find(t, at->dest.key));
        }
        n_asked++;
        next_ms = deadline_min(next_ms, until_ms);
    }
    if (!is_lacking(f) && f->feed.bodies_missing == 0 &&
        (c->author_answered || c->n_answered >= CHASE_ANSWERS_ENOUGH)) {
        finish(t, f); /* what others still send is taken up all the same */
        return;
    }
    /* One that pulls is enough while it does; otherwise whoever is silent is made up for by two more. */
    c->due_ms = next_ms;
    if (c->source < 0 && n_asked < CHASE_ASK_WIDTH)
        n_asked += ask_next(t, f, CHASE_ASK_WIDTH);
    if (n_asked == 0) {
        if (c->n_lookups == 0)
            look_further(t, f);
        if (c->n_lookups == 0) {
            finish(t, f);
            return;
        }
        next_ms = now_ms + 250; /* the network may still name somebody */
    }
    due(t, f, deadline_min(c->due_ms, next_ms));
}

/* Headers that came without their bodies, from somebody who keeps posts for a shorter time: has this one
 * them? */
static bool ask_bodies(struct timeline *t, struct follow *f, struct candidate *at)
{
    uint64_t from_seq, to_seq;
    if (f->feed.bodies_missing == 0 || f->feed.bodies_missing == at->bodies_missing ||
        store_post_missing(t->store, &f->feed, &from_seq, &to_seq))
        return false;
    at->bodies_missing = f->feed.bodies_missing;
    send_want(t, f, at, from_seq, to_seq);
    return true;
}

/* This candidate answered and something is still missing: the rest from it, if it has been of use. */
static void pull(struct timeline *t, struct follow *f, struct candidate *at, bool was_useful)
{
    struct chase *c = f->chase;
    uint64_t from_seq, to_seq;
    int index = (int)(at - c->candidates);
    if (was_useful && (c->source < 0 || c->source == index) && feed_gap(&f->feed, &from_seq, &to_seq)) {
        c->source = index;
        send_want(t, f, at, from_seq, to_seq);
        return;
    }
    if (ask_bodies(t, f, at))
        return;
    at->state = CANDIDATE_EMPTY;
    if (c->source == index)
        c->source = -1;
}

static void answered(struct timeline *t, struct follow *f, struct candidate *at)
{
    struct chase *c = f->chase;
    if (at->is_author && f->is_new) {
        f->is_new = false;
        f->told_seq = 0;
    }
    if (at->is_author)
        follow_tell(t, f); /* unless it was told: it hears us now */
    if (!at->has_answered)
        c->n_answered++;
    f->checked_ms = t->now.mono_ms;
    at->has_answered = true;
    c->author_answered |= at->is_author;
}

void catchup_batch(struct timeline *t, struct follow *f, struct link *from, const struct message_batch *m,
                   size_t bytes, int err, uint32_t n_new)
{
    struct candidate *at = f->chase ? candidate_find(f->chase, from->key) : NULL;
    if (!at) {
        if (err == 0 && is_lacking(f))
            catchup_gap(t, f, from);
        return;
    }
    struct chase *c = f->chase;
    int index = (int)(at - c->candidates);
    if (c->is_check && at->is_author && n_new > 0)
        f->told_seq = 0; /* it sent us nothing by itself: it does not count us */
    answered(t, f, at);
    if (err && err != CAM_EDUP && err != CAM_EAGAIN) {
        at->state = CANDIDATE_FAILED;
        if (c->source == index)
            c->source = -1;
        go_on(t, f);
        return;
    }
    at->credit -= (int64_t)bytes;
    if (n_new > 0) {
        c->n_idle = 0;
        f->chase_wait_ms = 0;
        if (c->source < 0)
            c->source = index;
    }
    bool is_useful = n_new > 0 || (c->source == index && ++c->n_idle < CHASE_IDLE_MAX);
    /* compare.c sends another page while that much is left: it is on its way, and asking again would double
     * it. */
    bool more_comes = m->next_seq && at->state == CANDIDATE_ASKED && at->credit >= MESSAGE_BATCH_BYTES;
    if (more_comes && c->source == index)
        at->asked_ms = t->now.mono_ms;
    else
        pull(t, f, at, is_useful);
    go_on(t, f);
}

void catchup_want_fork(struct timeline *t, struct follow *f, struct link *from, uint64_t seq)
{
    const struct link_dest *to = link_answer_dest(from);
    struct message m = {
        .kind = MESSAGE_WANT,
        .want = { .device = f->feed.device, .from = seq, .to = seq, .bytes_max = MESSAGE_BATCH_BYTES }
    };
    bool may_ask = !f->is_private || from->owner == f->who;
    if (!to || !may_ask || (f->fork_asked_ms && t->now.mono_ms - f->fork_asked_ms < CATCHUP_FORK_MS))
        return;
    f->fork_asked_ms = t->now.mono_ms;
    memcpy(m.want.author, f->feed.author, KEY_SIZE);
    links_send_message(t, to, &m, true);
}

void catchup_gap(struct timeline *t, struct follow *f, struct link *from)
{
    const struct link_dest *to = link_answer_dest(from);
    if (!f->chase)
        catchup_start(t, f);
    /* Asking tells that we follow: a private one is not given away to whoever brings a piece of news. */
    if (!f->chase || !to || (f->is_private && from->owner != f->who && !candidate_find(f->chase, from->key)))
        return;
    struct candidate *at = candidate_add(t, f->chase, to, from->owner == f->who);
    if (at && at->state != CANDIDATE_ASKED) { /* it has just spoken: it is there, and it has more */
        pull(t, f, at, true);
        go_on(t, f);
    }
}

void catchup_heard(struct timeline *t, struct follow *f, struct link *from, uint64_t seq)
{
    struct candidate *at = f->chase ? candidate_find(f->chase, from->key) : NULL;
    if (!at) {
        if (feed_missing(&f->feed) > 0 && seq > feed_complete_to(&f->feed))
            catchup_gap(t, f, from);
        else if (from->owner == f->who && (f->chase_wait_ms > 0 || f->feed.bodies_missing > 0))
            catchup_start(t, f); /* the author is back, and keeps what is its own */
        return;
    }
    answered(t, f, at);
    pull(t, f, at, seq > feed_complete_to(&f->feed));
    go_on(t, f);
}

void catchup_link_lost(struct timeline *t, const struct link_dest *dest)
{
    for (size_t i = 0; i < t->follows.n && t->catchup.n_chases; i++) {
        struct follow *f = t->follows.list[i];
        struct candidate *at = f->chase ? candidate_find(f->chase, dest->key) : NULL;
        if (!at || at->state != CANDIDATE_ASKED || !addr_equal(&at->dest.addr, &dest->addr))
            continue;
        at->state = CANDIDATE_FAILED;
        if (f->chase->source == (int)(at - f->chase->candidates))
            f->chase->source = -1;
        go_on(t, f);
    }
}

/* ---- what the network answers -------------------------------------------------------------------------- */

void catchup_learn_head(struct timeline *t, struct follow *f, const struct record_head *head)
{
    if (head->seq > f->head_claim)
        f->head_claim = head->seq;
    if (head->seq == f->feed.known_seq && head->at_ms > f->feed.as_of_ms) {
        feed_confirm_head(&f->feed, head->seq, head->at_ms);
        follow_touched(t, f, true);
    }
    if (!f->chase && head->seq > f->feed.known_seq)
        catchup_start(t, f);
}

void catchup_event(struct timeline *t, const struct kad_event *e)
{
    uint32_t number = (uint32_t)(e->tag >> 2) & 0x3fffffff;
    struct follow *f = NULL;
    for (size_t i = 0; i < t->follows.n && !f; i++)
        if (t->follows.list[i]->chase && t->follows.list[i]->chase->number == number)
            f = t->follows.list[i];
    if (!f)
        return;
    struct chase *c = f->chase;
    if (e->last && c->n_lookups > 0)
        c->n_lookups--;
    if ((e->tag & 3) == LOOKUP_FOLLOWERS) {
        edges_learn(t, f->who->pk, e->entries, e->n_entries);
        for (size_t i = 0; i < e->n_entries; i++) {
            struct record_follow r;
            if (account_is(t, e->entries[i].pk) || record_get_follow(e->entries[i].v, &r) || r.deleted ||
                !r.n_hints)
                continue;
            struct link_dest dest = { .addr = r.hints[0].addr };
            memcpy(dest.key, r.hints[0].transport_key, LINK_KEY_SIZE);
            candidate_add(t, c, &dest, false);
        }
    }
    go_on(t, f);
}

/* ---- time ---------------------------------------------------------------------------------------------- */

void catchup_tick(struct timeline *t)
{
    struct catchup *cu = &t->catchup;
    compare_tick(t);
    if (t->now.mono_ms < cu->due_ms)
        return;
    for (size_t i = 0; i < t->follows.n; i++) {
        struct follow *f = t->follows.list[i];
        if (f->chase && f->chase->due_ms <= t->now.mono_ms)
            go_on(t, f);
        else if (!f->chase &&
                 (f->chase_after_ms <= t->now.mono_ms || (f->wants_chase && cu->n_chases < CHASES_MAX)))
            catchup_start(t, f);
    }
    cu->due_ms = NOW_NEVER;
    for (size_t i = 0; i < t->follows.n; i++) {
        const struct follow *f = t->follows.list[i];
        cu->due_ms = deadline_min(cu->due_ms, f->chase ? f->chase->due_ms : f->chase_after_ms);
    }
}

uint64_t catchup_deadline_ms(const struct timeline *t)
{
    const struct catchup *cu = &t->catchup;
    if (t->follows.n == 0)
        return NOW_NEVER;
    return deadline_min(cu->due_ms, deadline_min(cu->compare_ms, cu->compare_end_ms));
}
