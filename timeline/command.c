/* What the local user asks for: each command answered with rows and one last answer, here or where it is
 * done. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "core/err.h"
#include "timeline/state.h"

/* ---- account ------------------------------------------------------------------------------------------- */

static void answer_account(struct timeline *t, uint64_t client)
{
    char text[WHO_SIZE];
    struct timeline_row row = { .kind = TL_ROW_ACCOUNT };
    account_row(t, &row);
    answer_row(t, client, &row);
    if (t->account.name_state == NAME_TAKEN) {
        user_text(t->account.name, t->account.taken_by, text);
        answer_done(t, client, 0, "the name %s was claimed before by %s: others find you by your tag or id",
                    t->account.name, text);
    } else if (publish_connection_is_wrong(t)) {
        answer_done(t, client, 0, "our address changed while locked: `camellia login` tells the others");
    } else {
        answer_done(t, client, 0, "%s", "");
    }
}

static void whoami(struct timeline *t, const struct timeline_command *c)
{
    if (t->account.exists)
        answer_account(t, c->client);
    else
        answer_done(t, c->client, CAM_ENOENT, "this node has no user: run `camellia register`");
}

static bool holds_another(struct timeline *t, const struct timeline_command *c)
{
    char text[WHO_SIZE];
    if (!c->identity) {
        answer_done(t, c->client, CAM_EINVAL, "no key was given");
        return true;
    }
    if (!t->account.exists || account_is(t, c->identity->pk))
        return false;
    user_text(t->account.name, t->account.pk, text);
    answer_done(t, c->client, CAM_ETAKEN, "this home already holds %s: use another --home", text);
    return true;
}

static void log_in(struct timeline *t, const struct timeline_command *c)
{
    int err = 0;
    if (holds_another(t, c))
        return;
    if (t->account.exists) {
        err = account_unlock(t, c->identity);
    } else if (!c->name || name_check(c->name, strnlen(c->name, NAME_SIZE))) {
        err = CAM_EINVAL;
    } else { /* a key file whose store was lost: what can be had again comes from the network */
        err = account_create(t, c->identity, c->name, c->device);
    }
    if (err) {
        answer_done(t, c->client, err, "cannot log in: %s", err_text(err));
        return;
    }
    account_begin(t);
    answer_account(t, c->client);
}

static void enrol(struct timeline *t, const struct timeline_command *c)
{
    if (holds_another(t, c))
        return;
    if (t->account.exists)
        log_in(t, c);
    else
        op_start(t, c);
}

/* ---- posts --------------------------------------------------------------------------------------------- */

/* Ids rise, so the next post would be dated like the last, which a clock that was ahead has signed. */
static void answer_ahead(struct timeline *t, uint64_t client)
{
    char date[32];
    time_t at_s = (time_t)(snowflake_time_ms(t->account.feed.known_id) / 1000);
    struct tm tm;
    strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", gmtime_r(&at_s, &tm));
    answer_done(t, client, CAM_EFUTURE,
                "not kept: your last post is dated %s, the clock was ahead then; set it if it is behind now, "
                "else post again after that date", date);
}

static void do_post(struct timeline *t, uint64_t client, struct span text, uint32_t wait_ms)
{
    uint64_t id, seq;
    int err = account_post(t, text, &id, &seq);
    if (err == CAM_ELOCKED)
        answer_done(t, client, err, t->account.exists ? "the node is locked: run `camellia login` first"
                                                      : "this node has no user: run `camellia register`");
    else if (err == CAM_EINVAL)
        answer_done(t, client, err, text.size ? "a post is UTF-8 text without control characters"
                                              : "a post needs some text");
    else if (err == CAM_ETOOBIG)
        answer_done(t, client, err, "a post has at most %d bytes; this has %zu", TIMELINE_TEXT_MAX,
                    text.size);
    else if (err == CAM_EFUTURE)
        answer_ahead(t, client);
    else if (err)
        answer_done(t, client, err, "the post was not kept: %s", err_text(err));
    if (err)
        return;

    uint32_t n = (uint32_t)t->follows.n_followers; /* of a post this fresh nobody has anything yet */
    if (wait_ms && n) {
        if (outbox_wait(t, client, id, seq, wait_ms))
            answer_done(t, client, CAM_EPENDING, "kept; too many are waiting already to wait for this one");
        return;
    }
    struct timeline_row row = { .kind = TL_ROW_POSTED, .id = id, .seq = seq, .device = t->account.device,
                                .followers = n, .waiting = n };
    answer_user(t, &row, t->account.pk);
    answer_row(t, client, &row);
    if (n == 0)
        answer_done(t, client, 0, "kept; you have no followers yet");
    else if (t->ready)
        answer_done(t, client, 0, "kept; on its way to %" PRIu32 " follower%s", n, n == 1 ? "" : "s");
    else
        answer_done(t, client, 0, "kept; no peer reachable: %" PRIu32 " follower%s will get it when one is",
                    n, n == 1 ? "" : "s");
}

/* An id carries the time: the first posts after a start wait a moment for the clock to be set. */
static bool must_wait_for_clock(const struct timeline *t)
{
    return t->config.synced_clock_expected && !t->account.clock_synced &&
           t->now.mono_ms - t->born.mono_ms < CLOCK_WAIT_MS;
}

static void post(struct timeline *t, const struct timeline_command *c)
{
    struct buf *text;
    if (!must_wait_for_clock(t) || !t->account.identity || t->n_delayed == DELAYED_POSTS_MAX ||
        c->text.size > TIMELINE_TEXT_MAX || !(text = buf_new(c->text))) {
        do_post(t, c->client, c->text, c->wait_ms);
        return;
    }
    t->delayed[t->n_delayed++] = (struct delayed_post){ c->client, c->wait_ms, text };
}

void command_delayed_posts(struct timeline *t)
{
    if (t->n_delayed == 0 || must_wait_for_clock(t))
        return;
    for (size_t i = 0; i < t->n_delayed; i++) {
        struct delayed_post *d = &t->delayed[i];
        do_post(t, d->client, span(d->text->data, d->text->size), d->wait_ms);
        buf_drop(d->text);
    }
    t->n_delayed = 0;
}

/* ---- status -------------------------------------------------------------------------------------------- */

static void status(struct timeline *t, const struct timeline_command *c)
{
    struct timeline_row row = { .kind = TL_ROW_STATUS,
                                .store_bytes = store_bytes(t->store),
                                .refused = t->refused,
                                .unread_count = store_unread(t->store) };
    uint64_t waiting = outbox_waiting_posts(t);
    account_row(t, &row);
    row.outbox = waiting > UINT32_MAX ? UINT32_MAX : (uint32_t)waiting;
    row.followers = (uint32_t)t->follows.n_followers;
    row.following_count = (uint32_t)t->follows.n;
    answer_row(t, c->client, &row);
    if (publish_connection_is_wrong(t))
        answer_done(t, c->client, 0, "our address changed while locked: `camellia login` tells the others");
    else
        answer_done(t, c->client, 0, "%s", "");
}

/* ---- dispatch ------------------------------------------------------------------------------------------ */

void command_cancel(struct timeline *t, uint64_t client)
{
    reading_cancel(t, client);
    outbox_cancel(t, client);
    op_cancel(t, client);
}

void command_run(struct timeline *t, const struct timeline_command *c)
{
    switch (c->verb) {
    case TL_REGISTER:
        enrol(t, c);
        break;
    case TL_LOGIN:
        log_in(t, c);
        break;
    case TL_LOGOUT:
        account_lock(t);
        answer_done(t, c->client, 0, "%s", "");
        break;
    case TL_WHOAMI:
        whoami(t, c);
        break;
    case TL_POST:
        post(t, c);
        break;
    case TL_READ:
        reading_command(t, c);
        break;
    case TL_NAME_CHECK:
    case TL_FOLLOW:
    case TL_UNFOLLOW:
    case TL_FOLLOWERS:
    case TL_FOLLOWING:
    case TL_PROFILE:
        op_start(t, c);
        break;
    case TL_SUGGEST:
        edges_suggest(t, c);
        break;
    case TL_STATUS:
        status(t, c);
        break;
    case TL_OUTBOX:
        outbox_rows(t, c->client, c->limit);
        answer_done(t, c->client, 0, "%s", "");
        break;
    case TL_CANCEL: /* nobody is there to be answered */
        command_cancel(t, c->client);
        break;
    }
}
