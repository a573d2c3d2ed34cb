#include "timeline/operation_impl.h"

#include <string.h>

#include "core/err.h"
#include "timeline/state.h"

/* ---- the table ----------------------------------------------------------------------------------------- */

void op_init(struct timeline *t) { t->ops = (struct operations){ .next_number = rng_u32(&t->rng) }; }

void op_release(struct op *op)
{
    identity_free(op->identity);
    *op = (struct op){ .state = OP_FREE };
}

void op_clear(struct timeline *t)
{
    for (size_t i = 0; i < OPS_MAX; i++)
        op_release(&t->ops.at[i]);
}

void op_done(struct timeline *t, struct op *op, int status, const char *message)
{
    answer_done(t, op->client, status, "%s", message);
    op_release(op);
}

void op_enter(struct timeline *t, struct op *op, enum op_state state, uint64_t wait_ms)
{
    op->state = state;
    op->deadline_ms = t->now.mono_ms + wait_ms;
}

uint64_t op_tag(const struct op *op, enum op_lookup what)
{
    return request_tag(REQUEST_OPERATION, (uint64_t)op->number << 8 | what);
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
                op_resolve(t, op, e->holders ? e->status : CAM_ENET);
        } else if (input == INPUT_TIMEOUT) {
            op_resolve(t, op, op->claims.n ? 0 : CAM_ETIMEOUT);
        }
        break;
    case OP_RECORDS:
        if (input == INPUT_TIMEOUT && op->is_counting && !op->is_late) {
            op->is_late = true;
            op->deadline_ms = t->now.mono_ms + OP_COUNT_MS;
        } else if (input == INPUT_TIMEOUT || op->n_pending == 0 || (op->is_late && !op->is_counting)) {
            op_act(t, op);
        }
        break;
    case OP_PUT:
        if (input != INPUT_PUBLISHED && input != INPUT_TIMEOUT)
            break;
        if (op->verb == TL_REGISTER)
            op_answer_account(t, op);
        else
            op_answer_follow(t, op, input == INPUT_TIMEOUT);
        break;
    }
}

/* A record or entries for a command in RECORDS. */
static void take_record(struct timeline *t, struct op *op, enum op_lookup what, const struct kad_event *e)
{
    if (e->status == 0)
        op->is_online = true;
    if (e->kind == KAD_EVENT_SET_COUNT) {
        op->is_counting = false;
        op->n_followers = e->count < UINT32_MAX ? (uint32_t)e->count : UINT32_MAX;
        op->is_about = e->spread > 0;
        return;
    }
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
            op_get(t, op, buf, LOOKUP_PAGE);
        }
    }
}

void op_event(struct timeline *t, const struct kad_event *e)
{
    uint32_t number = (uint32_t)(e->tag >> 8);
    enum op_lookup what = (enum op_lookup)(e->tag & 0xff);
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
            op_release(&t->ops.at[i]);
}

void op_fail_all(struct timeline *t, int err)
{
    for (size_t i = 0; i < OPS_MAX; i++)
        if (t->ops.at[i].state != OP_FREE)
            op_done(t, &t->ops.at[i], err, err_text(err));
}
