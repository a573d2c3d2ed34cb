/* The user of this node: who it is, whether it may sign, its own feed and the claim of its name.
 *
 *            register                 identity given           logout, restart
 *     NONE ------------> UNLOCKED <---------------- LOCKED <------------------- UNLOCKED
 *
 *     the name:   PENDING --no earlier claim seen, ours stored--> CLAIMED       (account_claim_*)
 *                 PENDING --an earlier live claim seen----------> TAKEN
 *
 * While locked everything works that needs no new signature: serving, receiving, acknowledging, sending out
 * posts that are signed already.
 */
#ifndef TIMELINE_ACCOUNT_H
#define TIMELINE_ACCOUNT_H
#include "core/snowflake.h"
#include "timeline/feed.h"
#include "timeline/record.h"
#include "timeline/store.h"

#define CLAIMS_MAX 64           /* claims of one name that are read */
#define CLAIM_CHECK_MS 5000     /* between two looks while the name is pending ... */
#define CLAIM_CHECK_MAX_MS 600000 /* ... doubling up to this */
#define CLOCK_WAIT_MS 2000      /* a first post waits this long for the clock's first sync */

struct timeline;
struct timeline_row;

enum name_state { NAME_PENDING = 0, NAME_CLAIMED = 1, NAME_TAKEN = 2 };

/* The claims of one name as they come in: live ones, oldest first in the end. */
struct claim {
    uint8_t pk[KEY_SIZE];
    uint32_t since_s;
};
struct claims {
    struct claim at[CLAIMS_MAX];
    size_t n;
    uint32_t holders; /* how many answered */
};

struct account {
    bool exists;
    uint8_t pk[KEY_SIZE];
    char name[NAME_SIZE];
    uint16_t device;
    uint64_t instance, created_ms;
    enum name_state name_state;
    uint8_t taken_by[KEY_SIZE];
    struct identity *identity; /* NULL: locked */
    struct feed feed;          /* our own posts */
    struct snowflake ids;
    bool feed_dirty;           /* to be saved in this turn */
    bool clock_synced;
    struct addr address;       /* what others reach us at; family 0: not known yet */
    uint64_t claim_ms;         /* mono: the next look at our name; NOW_NEVER when none is due */
    uint32_t claim_wait_ms;
    bool claim_looking;
    struct claims claims;
};

void account_init(struct timeline *t);
void account_clear(struct timeline *t); /* wipes the key */
int account_load(struct timeline *t);   /* from the store; 0 also when there is none */

bool account_is(const struct timeline *t, const uint8_t pk[KEY_SIZE]);
/* Makes this home that user's. The caller has checked that it is nobody's. */
int account_create(struct timeline *t, const struct identity *identity, const char *name, uint16_t device);
/* With a key at hand: publishes what is ours, catches up. After account_create, account_unlock. */
void account_begin(struct timeline *t);
void account_row(struct timeline *t, struct timeline_row *row);
/* CAM_EREFUSED: another user's key. */
int account_unlock(struct timeline *t, const struct identity *identity);
void account_lock(struct timeline *t);
/* Is our address another than it was? Then the records that name it are made anew. */
void account_readdress(struct timeline *t);

/* Signs and keeps one post. The caller answers after the commit. CAM_ELOCKED, CAM_EINVAL, CAM_ETOOBIG,
 * CAM_EIO. CAM_EFUTURE: the last one is dated so far ahead that followers would refuse this one. */
int account_post(struct timeline *t, struct span text, uint64_t *ret_id, uint64_t *ret_seq);

/* Claims. `claims_add` takes live entries of a name's set; `claims_first` is whose it is: NULL when nobody's.
 */
void claims_add(struct claims *c, const struct kad_event *e, struct now now);
const struct claim *claims_first(const struct claims *c);
void claims_sort(struct claims *c);

void account_claim_event(struct timeline *t, const struct kad_event *e);
/* Our claim was stored at enough holders. */
void account_claimed(struct timeline *t);
void account_name_taken(struct timeline *t, const uint8_t by[KEY_SIZE]);
void account_tick(struct timeline *t);
uint64_t account_deadline_ms(const struct timeline *t);

#endif
