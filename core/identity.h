/* Who someone is: an Ed25519 key. The user id is the public key, shown as 52 characters of lower-case
 * base32 (RFC 4648, no padding); the tag is its first 8. What is pinned and compared is the whole key.
 */
#ifndef CORE_IDENTITY_H
#define CORE_IDENTITY_H
#include "core/bytes.h"
#include "core/rng.h"

#define KEY_SIZE 32
#define SECRET_SIZE 64
#define SIG_SIZE 64
#define USER_ID_SIZE 53  /* 52 characters and the terminator */
#define TAG_SIZE 9       /* 8 characters and the terminator */
#define NAME_MAX_CHARS 32
#define NAME_SIZE 33
#define WHO_SIZE 64      /* "name#tag" or an id, with the terminator */

struct identity { /* lives in memory locked as far as the system's limit allows (identity_new) */
    uint8_t pk[KEY_SIZE];
    uint8_t sk[SECRET_SIZE];
};

struct who { /* what a person typed to name somebody: name, name#tag, or a full id */
    char name[NAME_SIZE]; /* empty when an id was given */
    char tag[TAG_SIZE];   /* empty when none was given */
    uint8_t pk[KEY_SIZE];
    bool has_pk;
};

struct identity *identity_new(const struct rng *rng);                 /* NULL when out of memory */
struct identity *identity_from_seed(const uint8_t seed[KEY_SIZE]);
void identity_free(struct identity *id);                              /* wipes; NULL is fine */

void identity_sign(const struct identity *id, const void *msg, size_t size, uint8_t ret_sig[SIG_SIZE]);
/* CAM_EAUTH */
int identity_verify(const uint8_t pk[KEY_SIZE], const void *msg, size_t size, const uint8_t sig[SIG_SIZE]);

void user_id_text(const uint8_t pk[KEY_SIZE], char ret[USER_ID_SIZE]);
int user_id_parse(const char *text, uint8_t ret_pk[KEY_SIZE]);        /* CAM_EINVAL */
void user_tag(const uint8_t pk[KEY_SIZE], char ret[TAG_SIZE]);
void user_text(const char *name, const uint8_t pk[KEY_SIZE], char ret[WHO_SIZE]); /* "ana#k7q4m2xz" */

/* 1-32 characters of a-z 0-9 _ -, starting with a letter. `size` excludes a terminator. CAM_EINVAL. */
int name_check(const void *name, size_t size);
int who_parse(const char *text, struct who *ret);                     /* CAM_EINVAL */

#endif
