/* How a command of several steps begins. */
#include "timeline/operation_impl.h"

#include <sodium.h>
#include <string.h>

#include "core/err.h"
#include "timeline/state.h"

static struct op *find_free(struct timeline *t)
{
    for (size_t i = 0; i < OPS_MAX; i++)
        if (t->ops.at[i].state == OP_FREE)
            return &t->ops.at[i];
    return NULL;
}

static void ask_claims(struct timeline *t, struct op *op)
{
    uint8_t root[KAD_ID_SIZE];
    record_name_root(op->name, root);
    op_enter(t, op, OP_CLAIMS, OP_CLAIMS_MS);
    if (kad_set_get(t->kad, t->now, root, false, CLAIMS_MAX, op_tag(op, LOOKUP_CLAIMS)))
        op_resolve(t, op, CAM_ENET);
}

static void start_name(struct timeline *t, struct op *op, const struct timeline_command *c)
{
    size_t size = c->name ? strnlen(c->name, NAME_SIZE + 1) : 0;
    if (name_check(c->name, size)) {
        op_done(t, op, CAM_EINVAL, "a name is 1-32 characters of a-z 0-9 _ - and starts with a letter");
        return;
    }
    memcpy(op->name, c->name, size);
    if (op->verb == TL_REGISTER) {
        op->identity = c->identity ? sodium_malloc(sizeof *op->identity) : NULL;
        if (!op->identity) {
            op_done(t, op, CAM_ESYS, "no key, or no locked memory for it");
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
        op_done(t, op, CAM_ENOENT, "this node has no user: run `camellia register`");
        return;
    }
    if ((c->verb == TL_FOLLOW || c->verb == TL_UNFOLLOW) && !t->account.identity) {
        op_done(t, op, CAM_ELOCKED, t->account.exists ? "the node is locked: run `camellia login` first"
                                                   : "this node has no user: run `camellia register`");
        return;
    }
    int err = 0;
    if (!c->who || !c->who[0]) {
        memcpy(op->pk, t->account.pk, KEY_SIZE);
    } else if (who_parse(c->who, &who)) {
        op_done(t, op, CAM_EINVAL, "whom? a name, name#tag or a user id of 52 characters");
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
        op_release(op);
    } else if (err) {
        ask_claims(t, op);
    } else {
        op_fetch(t, op);
        if (op->n_pending == 0)
            op_act(t, op);
    }
}

void op_start(struct timeline *t, const struct timeline_command *c)
{
    struct op *op = find_free(t);
    if (!op) {
        answer_done(t, c->client, CAM_EFULL,
                    "%d commands are waiting for the network already: try again in some seconds", OPS_MAX);
        return;
    }
    *op = (struct op){ .verb = c->verb, .client = c->client, .number = ++t->ops.next_number,
                       .is_private = c->private_follow };
    if (c->verb == TL_NAME_CHECK || c->verb == TL_REGISTER)
        start_name(t, op, c);
    else
        start_who(t, op, c);
}
