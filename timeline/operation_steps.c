/* What the steps of a command do: fetch, resolve a name, act, answer. */
#include "timeline/operation_impl.h"

#include <string.h>

#include "core/err.h"
#include "timeline/state.h"

void op_get(struct timeline *t, struct op *op, const char *salt, enum op_lookup what)
{
    uint8_t target[KAD_ID_SIZE];
    kad_mutable_target(op->pk, span_str(salt), target);
    op->n_pending += kad_get(t->kad, t->now, target, op->pk, span_str(salt), op_tag(op, what)) == 0;
}

static void op_get_set(struct timeline *t, struct op *op)
{
    uint8_t root[KAD_ID_SIZE];
    record_followers_root(op->pk, root);
    op->n_pending +=
        kad_set_get(t->kad, t->now, root, false, OP_USERS_MAX, op_tag(op, LOOKUP_FOLLOWERS)) == 0;
}

/* A profile shows how many there are, not who: nobody reads a million entries for that. */
static void op_count_set(struct timeline *t, struct op *op)
{
    uint8_t root[KAD_ID_SIZE];
    record_followers_root(op->pk, root);
    op->is_counting = kad_set_count(t->kad, t->now, root, false, op_tag(op, LOOKUP_FOLLOWERS)) == 0;
    op->n_pending += op->is_counting;
}

/* RECORDS: everything the verb shows, asked for at once. */
void op_fetch(struct timeline *t, struct op *op)
{
    bool is_self = account_is(t, op->pk);
    char name[NAME_SIZE];
    op_enter(t, op, OP_RECORDS, OP_RECORDS_MS);
    switch (op->verb) {
    case TL_FOLLOW:
        people_name(t, op->pk, name);
        if (!name[0]) { /* followed by id: what do they call themselves? */
            op_get(t, op, "public", LOOKUP_PROFILE);
            op->deadline_ms = t->now.mono_ms + 1000;
        }
        break;
    case TL_FOLLOWERS:
        op_get_set(t, op);
        if (is_self)
            op->deadline_ms = t->now.mono_ms + 1000; /* the mirror is good enough without */
        break;
    case TL_FOLLOWING:
        if (!is_self)
            op_get(t, op, "following/0", LOOKUP_PAGE);
        break;
    case TL_PROFILE:
        if (!is_self) {
            op_count_set(t, op);
            op_get(t, op, "public", LOOKUP_PROFILE);
            op_get(t, op, "head/0", LOOKUP_HEAD);
            op_get(t, op, "following/0", LOOKUP_PAGE);
        } else {
            op_get_set(t, op);
            op->deadline_ms = t->now.mono_ms + 1000;
        }
        break;
    default:
        break;
    }
}

void op_answer_follow(struct timeline *t, struct op *op, bool pending)
{
    struct timeline_row row = { .kind = TL_ROW_FOLLOW,
                                .following = op->verb == TL_FOLLOW,
                                .pending = pending };
    answer_user(t, &row, op->pk);
    answer_row(t, op->client, &row);
    op_done(t, op, 0, pending ? "kept; the network will be told when a peer is reachable" : "");
}

void op_answer_account(struct timeline *t, struct op *op)
{
    struct timeline_row row = { .kind = TL_ROW_ACCOUNT };
    account_row(t, &row);
    answer_row(t, op->client, &row);
    if (t->account.name_state == NAME_PENDING)
        op_done(t, op, CAM_EPENDING, "no peer reached yet: the name is claimed as soon as one is");
    else
        op_done(t, op, 0, "");
}

/* What the command is about is known: do it. */
void op_act(struct timeline *t, struct op *op)
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
            op_release(op);
        else if (op->is_private || publish_follow_is_kept(t, op->pk))
            op_answer_follow(t, op, false);
        else
            op_enter(t, op, OP_PUT, OP_PUT_MS);
        break;
    case TL_FOLLOWERS:
        op_show_followers(t, op);
        op_release(op);
        break;
    case TL_FOLLOWING:
        op_show_following(t, op);
        op_release(op);
        break;
    case TL_PROFILE:
        op_show_profile(t, op);
        op_release(op);
        break;
    default:
        op_done(t, op, CAM_EINVAL, "not a command of several steps");
        break;
    }
}

/* Nobody has the name, or nobody could be asked: it becomes ours, at once or later. */
static void create_account(struct timeline *t, struct op *op, bool is_online)
{
    int err = account_create(t, op->identity, op->name, op->device);
    if (err) {
        op_done(t, op, err, "the account cannot be kept: the store refuses");
        return;
    }
    account_begin(t);
    if (is_online)
        publish_want(t, PUBLISH_CLAIM, 0, NULL, 0);
    if (is_online)
        op_enter(t, op, OP_PUT, OP_PUT_MS);
    else
        op_answer_account(t, op);
}

/* CLAIMS is over: every holder answered, or the time is. */
void op_resolve(struct timeline *t, struct op *op, int status)
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
            op_release(op);
        } else if (op->verb == TL_REGISTER) {
            create_account(t, op, is_online);
        } else {
            op_done(t, op, is_online ? 0 : CAM_ENET,
                 is_online ? "" : "no peer reachable: nobody could be asked");
        }
        return;
    }

    if (!is_online)
        c->n = 0; /* what we happen to hold ourselves may not be all who claim it */
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
        op_fetch(t, op);
        if (op->n_pending == 0)
            op_act(t, op);
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
        answer_done(t, op->client, CAM_ENET, "no peer reachable: cannot look for %s; " NO_PEER_STEP,
                    op->name);
    else
        answer_done(t, op->client, CAM_ENOENT,
                    "nobody is called %s%s%s: ask them what `camellia whoami` says, the id works too",
                    op->name, op->tag[0] ? "#" : "", op->tag);
    op_release(op);
}
