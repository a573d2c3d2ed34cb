/* Commands that take several steps: a bounded table, one transition function (op_step in operation.c;
 * operation_start.c begins, operation_steps.c does the steps, operation_rows.c shows).
 *
 *     op_start ----- an id, or a name we know ----------------------------------+
 *        |                                                                      v
 *        +--- a name --> CLAIMS --- one live claim: pinned ------------------> RECORDS (what the verb needs)
 *                          |  none: ENOENT    several: rows, EAMBIG             |  all in, or the deadline
 *                          |  nobody to ask: ENET                               v
 *                          +--- (name check, register) --> [PUT] --> done     act: rows, follow --> [PUT] -->
 * done
 *
 * PUT waits until the record that the command made is at a holder, or until the deadline: then EPENDING.
 */
#ifndef TIMELINE_OPERATION_H
#define TIMELINE_OPERATION_H
#include "timeline/account.h"
#include "timeline/timeline.h"

#define OPS_MAX 64                /* commands in the middle of something */
#define OP_CLAIMS_MS 10000        /* to learn whose a name is: with nobody to ask it ends sooner by itself */
#define OP_RECORDS_MS 8000        /* to fetch what a profile or a list shows */
#define OP_COUNT_MS 12000         /* longer, while followers are being counted: there may be a million */
#define OP_PUT_MS 6000            /* to see our record stored */
#define OP_USERS_MAX 100000       /* rows of one answer */

enum op_state { OP_FREE = 0, OP_CLAIMS, OP_RECORDS, OP_PUT };

struct op {
    enum op_state state;
    enum timeline_verb verb;
    uint64_t client;
    uint32_t number; /* in tags, so that an answer to an earlier user of this place is known as such */
    char name[NAME_SIZE];     /* as typed; or the name to register */
    char tag[TAG_SIZE];
    uint8_t pk[KEY_SIZE];     /* once known */
    struct identity *identity; /* register: a copy, until the account is made */
    uint16_t device;
    bool is_private;
    uint64_t deadline_ms;     /* mono */
    struct claims claims;
    uint32_t n_pending;       /* kad requests running */
    bool is_online;           /* some holder answered */
    uint32_t n_followers, n_following;
    bool is_counting;         /* the followers of another, for the profile */
    bool is_late;             /* all but that is in, or will not be waited for */
    bool is_about;            /* n_followers is an estimate */
    uint16_t page;            /* following/N being read */
    uint64_t posts;           /* from the head record */
    uint64_t head_at_ms;
};

struct operations {
    struct op at[OPS_MAX];
    uint32_t next_number;
};

void op_init(struct timeline *t);
void op_clear(struct timeline *t);
/* Takes over a command. Answers it, now or later. */
void op_start(struct timeline *t, const struct timeline_command *c);
void op_event(struct timeline *t, const struct kad_event *e);
/* A record of ours reached holders (pk: for follow entries). */
void op_published(struct timeline *t, int kind, const uint8_t *pk);
void op_cancel(struct timeline *t, uint64_t client);
void op_fail_all(struct timeline *t, int err);
void op_tick(struct timeline *t);
uint64_t op_deadline_ms(const struct timeline *t);

#endif
