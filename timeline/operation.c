#include "timeline/operation.h"

#include <sodium.h>
#include <string.h>

#include "core/err.h"
#include "timeline/state.h"

enum lookup { LOOKUP_CLAIMS, LOOKUP_PROFILE, LOOKUP_HEAD, LOOKUP_FOLLOWERS, LOOKUP_PAGE };

/* ---- the table ----------------------------------------------------------------------------------------- */

void op_init(struct timeline *t) { t->ops = (struct operations){ .next_number = rng_u32(&t->rng) }; }

static void release(struct op *op)
{
    identity_free(op->identity);
    *op = (struct op){ .state = OP_FREE };
}

void op_clear(struct timeline *t)
{
    for (size_t i = 0; i < OPS_MAX; i++)
        release(&t->ops.at[i]);
}

static void done(struct timeline *t, struct op *op, int status, const char *message)
{
    answer_done(t, op->client, status, "%s", message);
    release(op);
}

static struct op *find_free(struct timeline *t)
{
    for (size_t i = 0; i < OPS_MAX; i++)
        if (t->ops.at[i].state == OP_FREE)
            return &t->ops.at[i];
    return NULL;
}

static void enter(struct timeline *t, struct op *op, enum op_state state, uint64_t wait_ms)
{
    op->state = state;
    op->deadline_ms = t->now.mono_ms + wait_ms;
}

static uint64_t tag_of(const struct op *op, enum lookup what)
{
    return request_tag(REQUEST_OPERATION, (uint64_t)op->number << 8 | what);
}

static void get(struct timeline *t, struct op *op, const char *salt, enum lookup what)
{
    uint8_t target[KAD_ID_SIZE];
    kad_mutable_target(op->pk, span_str(salt), target);
    op->n_pending += kad_get(t->kad, t->now, target, op->pk, span_str(salt), tag_of(op, what)) == 0;
}

static void get_set(struct timeline *t, struct op *op)
{
    uint8_t root[KAD_ID_SIZE];
    record_followers_root(op->pk, root);
    op->n_pending +=
        kad_set_get(t->kad, t->now, root, false, OP_USERS_MAX, tag_of(op, LOOKUP_FOLLOWERS)) == 0;
}

/* ---- what the steps do --------------------------------------------------------------------------------- */

/* RECORDS: everything the verb shows, asked for at once. */
static void fetch(struct timeline *t, struct op *op)
{
    bool is_self = account_is(t, op->pk);
    char name[NAME_SIZE];
    enter(t, op, OP_RECORDS, OP_RECORDS_MS);
    switch (op->verb) {
    case TL_FOLLOW:
        people_name(t, op->pk, name);
        if (!name[0]) { /* followed by id: what do they call themselves? */
            get(t, op, "public", LOOKUP_PROFILE);
            op->deadline_ms = t->now.mono_ms + 1000;
        }
        break;
    case TL_FOLLOWERS:
        get_set(t, op);
        if (is_self)
            op->deadline_ms = t->now.mono_ms + 1000; /* the mirror is good enough without */
        break;
    case TL_FOLLOWING:
        if (!is_self)
            get(t, op, "following/0", LOOKUP_PAGE);
        break;
    case TL_PROFILE:
        get_set(t, op);
        if (!is_self) {
            get(t, op, "public", LOOKUP_PROFILE);
            get(t, op, "head/0", LOOKUP_HEAD);
            get(t, op, "following/0", LOOKUP_PAGE);
        } else {
            op->deadline_ms = t->now.mono_ms + 1000;
        }
        break;
    default:
        break;
    }
}

static void answer_follow(struct timeline *t, struct op *op, bool pending)
{
    struct timeline_row row = { .kind = TL_ROW_FOLLOW,
                                .following = op->verb == TL_FOLLOW,
                                .pending = pending };
    answer_user(t, &row, op->pk);
    answer_row(t, op->client, &row);
    done(t, op, 0, pending ? "kept; the network will be told when a peer is reachable" : "");
}

static void answer_account(struct timeline *t, struct op *op)
{
    struct timeline_row row = { .kind = TL_ROW_ACCOUNT };
    account_row(t, &row);
    answer_row(t, op->client, &row);
    if (t->account.name_state == NAME_PENDING)
        done(t, op, CAM_EPENDING, "no peer reached yet: the name is claimed as soon as one is");
    else
        done(t, op, 0, "");
}

/* What the command is about is known: do it. */
static void act(struct timeline *t, struct op *op)
{
    char text[WHO_SIZE], name[NAME_SIZE];
    int err = 0;
    switch (op->verb) {
    case TL_FOLLOW:
    case TL_UNFOLLOW:
        err = op->verb == TL_FOLLOW ? follow_add(t, op->pk, op->is_private) : follow_drop(t, op->pk);
        people_name(t, op->pk, name);
        user_text(name, op->pk, text);
        if (err == CAM_EINVAL)
            answer_done(t, op->client, err, "that is you: one cannot follow oneself");
        else if (err == CAM_ENOENT)
            answer_done(t, op->client, err, "you do not follow %s", text);
        else if (err == CAM_ELOCKED)
            answer_done(t, op->client, err, "the node is locked: run `camellia login` first");
        else if (err)
            answer_done(t, op->client, err, "%s cannot be followed: %s", text, err_text(err));
        if (err)
            release(op);
        else if (op->is_private || publish_follow_is_kept(t, op->pk))
            answer_follow(t, op, false);
        else
            enter(t, op, OP_PUT, OP_PUT_MS);
        break;
    case TL_FOLLOWERS:
        op_show_followers(t, op);
        release(op);
        break;
    case TL_FOLLOWING:
        op_show_following(t, op);
        release(op);
        break;
    case TL_PROFILE:
        op_show_profile(t, op);
        release(op);
        break;
    default:
        done(t, op, CAM_EINVAL, "not a command of several steps");
        break;
    }
}

/* Nobody has the name, or nobody could be asked: it becomes ours, at once or later. */
static void create_account(struct timeline *t, struct op *op, bool is_online)
{
    int err = account_create(t, op->identity, op->name, op->device);
    if (err) {
        done(t, op, err, "the account cannot be kept: the store refuses");
        return;
    }
    account_begin(t);
    if (is_online)
        publish_want(t, PUBLISH_CLAIM, 0, NULL, 0);
    if (is_online)
        enter(t, op, OP_PUT, OP_PUT_MS);
    else
        answer_account(t, op);
}

/* CLAIMS is over: every holder answered, or the time is. */
static void resolve(struct timeline *t, struct op *op, int status)
{
    struct claims *c = &op->claims;
    char text[WHO_SIZE];
    bool is_online = status != CAM_ENET && status != CAM_ETIMEOUT;
    claims_sort(c);
    if (op->verb == TL_NAME_CHECK || op->verb == TL_REGISTER) {
        bool is_ours = op->identity && c->n && memcmp(c->at[0].pk, op->identity->pk, KEY_SIZE) == 0;
        if (c->n && !is_ours) {
            user_text(op->name, c->at[0].pk, text);
            answer_done(t, op->client, CAM_ETAKEN, "%s is taken by %s: choose another name", op->name, text);
            release(op);
        } else if (op->verb == TL_REGISTER) {
            create_account(t, op, is_online);
        } else {
            done(t, op, is_online ? 0 : CAM_ENET,
                 is_online ? "" : "no peer reachable: nobody could be asked");
        }
        return;
    }

    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) { /* those who fit what was typed */
        char tag[TAG_SIZE];
        user_tag(c->at[i].pk, tag);
        if (!op->tag[0] || strcmp(tag, op->tag) == 0)
            c->at[n++] = c->at[i];
    }
    c->n = n;
    if (n == 1) {
        memcpy(op->pk, c->at[0].pk, KEY_SIZE);
        people_pin(t, op->name, op->pk);
        fetch(t, op);
        if (op->n_pending == 0)
            act(t, op);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct timeline_row row = { .kind = TL_ROW_USER };
        memcpy(row.user.pk, c->at[i].pk, KEY_SIZE);
        memcpy(row.user.name, op->name, NAME_SIZE);
        answer_row(t, op->client, &row);
    }
    if (n > 1)
        answer_done(t, op->client, CAM_EAMBIG, "%s is claimed by %zu people: say which, as name#tag",
                    op->name, n);
    else if (!is_online)
        answer_done(t, op->client, CAM_ENET, "no peer reachable: cannot look for %s", op->name);
    else
        answer_done(t, op->client, CAM_ENOENT, "nobody is called %s%s%s", op->name, op->tag[0] ? "#" : "",
                    op->tag);
    release(op);
}

/* ---- the transition function --------------------------------------------------------------------------- */

enum op_input { INPUT_START, INPUT_ANSWER, INPUT_PUBLISHED, INPUT_TIMEOUT };

static void op_step(struct timeline *t, struct op *op, enum op_input input, const struct kad_event *e)
{
    switch (op->state) {
    case OP_FREE:
        break;
    case OP_CLAIMS:
        if (input == INPUT_ANSWER) {
            claims_add(&op->claims, e, t->now);
            if (e->last)
                resolve(t, op, e->status);
        } else if (input == INPUT_TIMEOUT) {
            resolve(t, op, op->claims.n ? 0 : CAM_ETIMEOUT);
        }
        break;
    case OP_RECORDS:
        if (input == INPUT_TIMEOUT || op->n_pending == 0)
            act(t, op);
        break;
    case OP_PUT:
        if (input != INPUT_PUBLISHED && input != INPUT_TIMEOUT)
            break;
        if (op->verb == TL_REGISTER)
            answer_account(t, op);
        else
            answer_follow(t, op, input == INPUT_TIMEOUT);
        break;
    }
}

/* A record or entries for a command in RECORDS. */
static void take_record(struct timeline *t, struct op *op, enum lookup what, const struct kad_event *e)
{
    if (e->status == 0)
        op->is_online = true;
    if (what == LOOKUP_FOLLOWERS) {
        for (size_t i = 0; i < e->n_entries; i++) {
            struct record_follow r;
            if (record_get_follow(e->entries[i].v, &r) || r.deleted || r.expires_s < now_unix_s(t->now))
                continue;
            op->n_followers++;
            people_learn_entry(t, e->entries[i].pk, &r, e->entries[i].seq);
            if (op->verb == TL_FOLLOWERS && !account_is(t, op->pk))
                op_show_user(t, op, e->entries[i].pk);
        }
        if (account_is(t, op->pk))
            for (size_t i = 0; i < e->n_entries; i++)
                follower_learn(t, &e->entries[i]);
        else
            edges_learn(t, op->pk, e->entries, e->n_entries);
        return;
    }
    if (e->kind != KAD_EVENT_GET || e->status || !e->item)
        return;
    struct record_head head;
    struct record_following page;
    if (what == LOOKUP_HEAD && record_get_head(e->item->v, &head) == 0) {
        op->posts = head.seq;
        op->head_at_ms = head.at_ms;
    }
    if (what == LOOKUP_PAGE && record_get_following(e->item->v, &page) == 0) {
        op->n_following += (uint32_t)page.n;
        for (size_t i = 0; i < page.n && op->verb == TL_FOLLOWING; i++)
            op_show_user(t, op, page.keys + i * KEY_SIZE);
        if (page.n == RECORD_PAGE_KEYS && ++op->page < PUBLISH_PAGES_MAX) {
            char buf[RECORD_SALT_SIZE];
            record_salt(buf, "following", op->page);
            get(t, op, buf, LOOKUP_PAGE);
        }
    }
}

void op_event(struct timeline *t, const struct kad_event *e)
{
    uint32_t number = (uint32_t)(e->tag >> 8);
    enum lookup what = (enum lookup)(e->tag & 0xff);
    struct op *op = NULL;
    for (size_t i = 0; i < OPS_MAX; i++)
        if (t->ops.at[i].state != OP_FREE && t->ops.at[i].number == number)
            op = &t->ops.at[i];
    if (!op)
        return;
    if (op->state == OP_RECORDS && what != LOOKUP_CLAIMS) {
        take_record(t, op, what, e);
        if (e->last && op->n_pending > 0)
            op->n_pending--;
    } else if (op->state != OP_CLAIMS || what != LOOKUP_CLAIMS) {
        return;
    }
    op_step(t, op, INPUT_ANSWER, e);
}

void op_published(struct timeline *t, int kind, const uint8_t *pk)
{
    for (size_t i = 0; i < OPS_MAX; i++) {
        struct op *op = &t->ops.at[i];
        if (op->state == OP_PUT &&
            ((kind == PUBLISH_CLAIM && op->verb == TL_REGISTER) ||
             (kind == PUBLISH_FOLLOW && op->verb != TL_REGISTER && memcmp(op->pk, pk, KEY_SIZE) == 0)))
            op_step(t, op, INPUT_PUBLISHED, NULL);
    }
}

void op_tick(struct timeline *t)
{
    for (size_t i = 0; i < OPS_MAX; i++) {
        struct op *op = &t->ops.at[i];
        if (op->state != OP_FREE && op->deadline_ms <= t->now.mono_ms)
            op_step(t, op, INPUT_TIMEOUT, NULL);
    }
}

uint64_t op_deadline_ms(const struct timeline *t)
{
    uint64_t at_ms = NOW_NEVER;
    for (size_t i = 0; i < OPS_MAX; i++)
        if (t->ops.at[i].state != OP_FREE)
            at_ms = deadline_min(at_ms, t->ops.at[i].deadline_ms);
    return at_ms;
}

void op_cancel(struct timeline *t, uint64_t client)
{
    for (size_t i = 0; i < OPS_MAX; i++)
        if (t->ops.at[i].state != OP_FREE && t->ops.at[i].client == client)
            release(&t->ops.at[i]);
}

void op_fail_all(struct timeline *t, int err)
{
    for (size_t i = 0; i < OPS_MAX; i++)
        if (t->ops.at[i].state != OP_FREE)
            done(t, &t->ops.at[i], err, err_text(err));
}

/* ---- beginning ----------------------------------------------------------------------------------------- */

static void ask_claims(struct timeline *t, struct op *op)
{
    uint8_t root[KAD_ID_SIZE];
    record_name_root(op->name, root);
    enter(t, op, OP_CLAIMS, OP_CLAIMS_MS);
    if (kad_set_get(t->kad, t->now, root, false, CLAIMS_MAX, tag_of(op, LOOKUP_CLAIMS)))
        resolve(t, op, CAM_ENET);
}

static void start_name(struct timeline *t, struct op *op, const struct timeline_command *c)
{
    size_t size = c->name ? strnlen(c->name, NAME_SIZE + 1) : 0;
    if (name_check(c->name, size)) {
        done(t, op, CAM_EINVAL, "a name is 1-32 characters of a-z 0-9 _ - and starts with a letter");
        return;
    }
    memcpy(op->name, c->name, size);
    if (op->verb == TL_REGISTER) {
        op->identity = c->identity ? sodium_malloc(sizeof *op->identity) : NULL;
        if (!op->identity) {
            done(t, op, CAM_ESYS, "no key, or no locked memory for it");
            return;
        }
        memcpy(op->identity, c->identity, sizeof *op->identity);
        op->device = c->device;
    }
    ask_claims(t, op);
}

/* Whom we follow is known without asking anybody: by the name they go by here. */
static int find_followed(struct timeline *t, const struct who *who, uint8_t ret_pk[KEY_SIZE])
{
    size_t n = 0;
    for (size_t i = 0; i < t->follows.n; i++) {
        const struct person *p = t->follows.list[i]->who;
        char tag[TAG_SIZE];
        user_tag(p->pk, tag);
        if (strcmp(p->name, who->name) != 0 || (who->tag[0] && strcmp(tag, who->tag) != 0))
            continue;
        memcpy(ret_pk, p->pk, KEY_SIZE);
        n++;
    }
    return n == 1 ? 0 : n ? CAM_EAMBIG : CAM_ENOENT;
}

static void start_who(struct timeline *t, struct op *op, const struct timeline_command *c)
{
    struct who who;
    if (!t->account.exists && (!c->who || !c->who[0])) {
        done(t, op, CAM_ENOENT, "this node has no user: run `camellia register`");
        return;
    }
    if ((c->verb == TL_FOLLOW || c->verb == TL_UNFOLLOW) && !t->account.identity) {
        done(t, op, CAM_ELOCKED, t->account.exists ? "the node is locked: run `camellia login` first"
                                                   : "this node has no user: run `camellia register`");
        return;
    }
    int err = 0;
    if (!c->who || !c->who[0]) {
        memcpy(op->pk, t->account.pk, KEY_SIZE);
    } else if (who_parse(c->who, &who)) {
        done(t, op, CAM_EINVAL, "whom? a name, name#tag or a user id of 52 characters");
        return;
    } else {
        err = people_resolve(t, &who, op->pk);
        if (err == CAM_ENOENT)
            err = find_followed(t, &who, op->pk);
        memcpy(op->name, who.name, NAME_SIZE);
        memcpy(op->tag, who.tag, TAG_SIZE);
    }
    if (err && op->verb == TL_UNFOLLOW) {
        answer_done(t, op->client, CAM_ENOENT, "you do not follow %s", c->who);
        release(op);
    } else if (err) {
        ask_claims(t, op);
    } else {
        fetch(t, op);
        if (op->n_pending == 0)
            act(t, op);
    }
}

void op_start(struct timeline *t, const struct timeline_command *c)
{
    struct op *op = find_free(t);
    if (!op) {
        answer_done(t, c->client, CAM_EFULL, "%d commands are waiting for the network already", OPS_MAX);
        return;
    }
    *op = (struct op){ .verb = c->verb, .client = c->client, .number = ++t->ops.next_number,
                       .is_private = c->private_follow };
    if (c->verb == TL_NAME_CHECK || c->verb == TL_REGISTER)
        start_name(t, op, c);
    else
        start_who(t, op, c);
}
