/* The values of Camellia's own records in the Kademlia network: bencoded dicts, decoded fully before use.
 *
 *     what          where                                    keys of the value
 *     profile       item, salt "public"                      bio devices exp followers following name pages
 * posts connection    item, salt "connections/DEV"             addrs exp reach tkey head          item, salt
 * "head/DEV"                    at exp hash id instance seq following     item, salt "following/N" exp keys
 * (one string, 32 bytes a key) follow        set entry at SHA1(pk + "followers")      devices exp name | del
 * exp claim         set entry at SHA1("camellia name "+name) created exp
 *
 * Keys not listed are skipped: records may grow. What is listed must have the right type and size.
 *
 *     uint8_t buf[KAD_OWN_VALUE_MAX]; struct bytes_out out = bytes_out(buf, sizeof buf);
 *     record_put_claim(&out, &(struct record_claim){ .created_s = now, .expires_s = now + 400 d });
 */
#ifndef TIMELINE_RECORD_H
#define TIMELINE_RECORD_H
#include "core/addr.h"
#include "core/hash.h"
#include "core/identity.h"
#include "kad/kad.h"
#include "timeline/link.h"

#define RECORD_DAY_S 86400
#define RECORD_LIFE_LONG_S (400 * RECORD_DAY_S)       /* profile, head, following, claim */
#define RECORD_LIFE_FOLLOW_S (30 * RECORD_DAY_S)      /* a follow entry, a tombstone too */
#define RECORD_LIFE_CONNECTION_S (2 * 3600)

#define RECORD_BIO_MAX 256      /* bytes */
#define RECORD_DEVICES_MAX 8    /* listed in a profile */
#define RECORD_HINTS_MAX 3      /* devices with an address in a follow entry */
#define RECORD_PAGE_KEYS 20     /* keys in one page of following: 640 bytes */
#define RECORD_SALT_SIZE 24     /* "connections/1023" and the terminator, rounded up */

struct record_profile {
    char name[NAME_SIZE];
    struct span bio; /* borrowed */
    uint16_t devices[RECORD_DEVICES_MAX];
    size_t n_devices;
    uint32_t followers, following, pages; /* pages of following/N */
    uint64_t posts;
    int64_t expires_s;
};

struct record_connection {
    struct addr addr;
    uint8_t transport_key[LINK_KEY_SIZE];
    bool reachable;
    int64_t expires_s;
};

struct record_head {
    uint64_t seq, id, at_ms, instance;
    uint8_t hash[HASH_SIZE];
    int64_t expires_s;
};

struct record_hint { /* where one device of a follower was last */
    uint16_t device;
    struct addr addr;
    uint8_t transport_key[LINK_KEY_SIZE];
};

struct record_follow {
    bool deleted; /* a tombstone: nothing else but the expiry */
    char name[NAME_SIZE];
    struct record_hint hints[RECORD_HINTS_MAX];
    size_t n_hints;
    int64_t expires_s;
};

struct record_claim {
    int64_t created_s, expires_s;
};

struct record_following {
    const uint8_t *keys; /* borrowed, n * KEY_SIZE bytes */
    size_t n;
    int64_t expires_s;
};

/* Encoders write one value; look at out->err. Decoders: 0 or CAM_EFORMAT, nothing written on an error. */
void record_put_profile(struct bytes_out *out, const struct record_profile *p);
int record_get_profile(struct span v, struct record_profile *ret);
void record_put_connection(struct bytes_out *out, const struct record_connection *c);
int record_get_connection(struct span v, struct record_connection *ret);
void record_put_head(struct bytes_out *out, const struct record_head *h);
int record_get_head(struct span v, struct record_head *ret);
void record_put_follow(struct bytes_out *out, const struct record_follow *f);
int record_get_follow(struct span v, struct record_follow *ret);
void record_put_claim(struct bytes_out *out, const struct record_claim *c);
int record_get_claim(struct span v, struct record_claim *ret);
void record_put_following(struct bytes_out *out, const struct record_following *f);
int record_get_following(struct span v, struct record_following *ret);

/* Where they lie. */
struct span record_salt(char buf[RECORD_SALT_SIZE], const char *what, unsigned n); /* "head/0", in buf */
int record_salt_number(struct span salt, const char *what, uint16_t *ret); /* the n back; CAM_EFORMAT */
void record_followers_root(const uint8_t pk[KEY_SIZE], uint8_t ret[KAD_ID_SIZE]);
void record_name_root(const char *name, uint8_t ret[KAD_ID_SIZE]);

#endif
