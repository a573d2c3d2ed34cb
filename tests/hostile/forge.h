/* Posts, runs and records as an attacker makes them: real ones of an author whose key the test has, and what can be
 * made of them without that key.
 *
 *     struct chain *c = chain_new(author, 8, 40, unix_ms() - 60000);     // eight posts of about 40 bytes
 *     struct span m = forge_post(&c->at[2], &c->at[2], buf, cap);        // its POST message
 */
#ifndef TESTS_HOSTILE_FORGE_H
#define TESTS_HOSTILE_FORGE_H
#include "tests/hostile/hostile.h"
#include "timeline/message.h"

struct made {
    struct post_header h;
    uint8_t header[POST_HEADER_SIZE];
    uint8_t body[POST_BODY_MAX];
    size_t body_bytes;
    uint8_t hash[HASH_SIZE];
};

struct chain {
    size_t n;
    struct made at[]; /* at[i] is seq i + 1 */
};

struct chain *chain_new(const struct identity *author, size_t n, size_t text_bytes, uint64_t first_ms);
/* One more behind `prev` (NULL: the first), dated at_ms, signed by `signer` in the name of `author`. */
void made_post(struct made *ret, const struct made *prev, const uint8_t author[KEY_SIZE], const struct identity *signer,
               const char *text, uint64_t at_ms);
/* The same post under another date, or as a delete of `target`, signed by `signer` in the author's name. */
void made_resign(struct made *m, const struct identity *signer);
void made_delete(struct made *ret, const struct made *prev, const struct made *target, const struct identity *signer);

struct span made_header(const struct made *m);
struct span made_body(const struct made *m);

/* Messages, encoded into buf. Those that die() would be the test's own mistake. */
struct span forge_post(const struct made *header, const struct made *body, uint8_t *buf, size_t cap);
struct span forge_have(const uint8_t author[KEY_SIZE], struct span header, uint8_t *buf, size_t cap);
struct span forge_encode(const struct message *m, uint8_t *buf, size_t cap);

/* A BATCH whose list holds these headers and bodies as they are given: nothing is sorted or looked at. */
struct forged_item {
    struct span header;
    enum post_state state;
    struct span body; /* HELD */
    struct span proof_header, proof_body; /* DELETED; empty: no proof at all */
};
struct span forge_batch(const uint8_t author[KEY_SIZE], const struct forged_item *items, size_t n, uint64_t floor_seq,
                        uint8_t *buf, size_t cap);

/* A connection record that names this address and key, signed by `signer` in the name of `pk`. */
void forge_connection(const uint8_t pk[KEY_SIZE], const struct identity *signer, const struct addr *addr,
                      const uint8_t key[LINK_KEY_SIZE], int64_t seq, uint8_t buf[KAD_OWN_VALUE_MAX],
                      struct kad_item *ret);
/* `pk`'s entry in the follower set of `owner`, signed by `signer`. */
void forge_follow(const uint8_t pk[KEY_SIZE], const struct identity *signer, const uint8_t owner[KEY_SIZE], int64_t seq,
                  bool deleted, uint8_t buf[KAD_SET_VALUE_MAX], struct kad_entry *ret);

#endif
