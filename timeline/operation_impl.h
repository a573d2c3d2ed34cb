/* What the operation*.c files share of the operation table. Private to them. */
#ifndef TIMELINE_OPERATION_IMPL_H
#define TIMELINE_OPERATION_IMPL_H
#include "timeline/operation.h"

#define NO_PEER_STEP \
    "`camellia logout`, then `camellia login --join HOST:PORT` enters by a node that you know"

/* What a kad request of an operation is for: the lower part of its tag. */
enum op_lookup { LOOKUP_CLAIMS, LOOKUP_PROFILE, LOOKUP_HEAD, LOOKUP_FOLLOWERS, LOOKUP_PAGE };

/* operation.c */
uint64_t op_tag(const struct op *op, enum op_lookup what);
void op_enter(struct timeline *t, struct op *op, enum op_state state, uint64_t wait_ms);
void op_release(struct op *op);
void op_done(struct timeline *t, struct op *op, int status, const char *message); /* answers and releases */

/* operation_steps.c: each may end the operation, so `op` is not touched after it */
void op_get(struct timeline *t, struct op *op, const char *salt, enum op_lookup what);
void op_fetch(struct timeline *t, struct op *op);            /* enters RECORDS */
void op_act(struct timeline *t, struct op *op);              /* what the command is about is known: do it */
void op_resolve(struct timeline *t, struct op *op, int status); /* CLAIMS is over */
void op_answer_follow(struct timeline *t, struct op *op, bool pending);
void op_answer_account(struct timeline *t, struct op *op);

/* operation_rows.c: what each verb shows once its records are in */
void op_show_followers(struct timeline *t, struct op *op);
void op_show_following(struct timeline *t, struct op *op);
void op_show_profile(struct timeline *t, struct op *op);
void op_show_user(struct timeline *t, struct op *op, const uint8_t pk[KEY_SIZE]); /* one TL_ROW_USER */

#endif
