/* Signed sets: many writers under one root, each key owning one entry, spread over shards as it grows.
 *
 *     slot         = SHA1(pk); entries are ordered by it
 *     shard        = the entries whose slot begins with `depth` given hex digits, 0 <= depth <= 6
 *     shard target = root itself for depth 0, else SHA1(root + the digits as lower-case ASCII)
 *     signed bytes = "4:root20:" root "3:seqi" SEQ "e1:v" V     (names the root, not the shard: any
 *                                                               holder may move an entry between shards)
 *     version      = higher seq wins, at equal seq the larger SHA1(v)
 *     tombstone    = v has del = 1; kept until it expires, never counted
 *     digest       = XOR over all entries, tombstones too, of SHA1(pk + seq as 8 bytes big-endian + v)
 *
 * kad_entry_sign, kad_entry_verify and kad_entry_is_tombstone are declared in kad/kad.h. A `struct kad_shard`
 * is the entries that a holder has of one shard; the store (kad/store.h) owns them, only it changes them.
 *
 *     struct kad_shard_id at;
 *     kad_shard_of(&at, root, 2, slot);            // the shard at depth 2 that a key belongs to
 *     kad_shard_target(&at, target);               // where it lies
 */
#ifndef KAD_SET_H
#define KAD_SET_H
#include "core/bencode.h"
#include "kad/item.h"

#define KAD_SLOT_SIZE KAD_ID_SIZE
#define KAD_SHARD_DEPTH_MAX 6
#define KAD_SHARD_ENTRIES_MAX 512 /* tombstones included; one more key makes it split */
#define KAD_SHARD_MERGE_MAX 128   /* children that hold fewer live entries than this together go back up */
#define KAD_SET_PAGE_MAX 16       /* entries in one page; a datagram carries fewer */
#define KAD_ENTRY_SIGNED_MAX (9 + KAD_ID_SIZE + 6 + 21 + 4 + KAD_SET_VALUE_MAX)

struct kad_shard_id {
    uint8_t root[KAD_ID_SIZE];
    uint8_t depth;                        /* digits in prefix */
    char prefix[KAD_SHARD_DEPTH_MAX + 1]; /* lower-case hex digits, zero-terminated and zero-filled */
};

void kad_slot(const uint8_t pk[KEY_SIZE], uint8_t ret_slot[KAD_SLOT_SIZE]);
/* The shard of `depth` (at most KAD_SHARD_DEPTH_MAX: assert) under `root` that `slot` belongs to. */
void kad_shard_of(struct kad_shard_id *ret, const uint8_t root[KAD_ID_SIZE], uint8_t depth,
                  const uint8_t slot[KAD_SLOT_SIZE]);
/* The same from the wire: prefix must be exactly `depth` lower-case hex digits. CAM_EFORMAT. */
int kad_shard_parse(struct kad_shard_id *ret, const uint8_t root[KAD_ID_SIZE], int64_t depth,
                    struct span prefix);
void kad_shard_child(struct kad_shard_id *ret, const struct kad_shard_id *parent,
                     unsigned digit); /* digit 0..15; depth < max: assert */
void kad_shard_parent(struct kad_shard_id *ret, const struct kad_shard_id *child); /* depth > 0: assert */
void kad_shard_target(const struct kad_shard_id *at, uint8_t ret_target[KAD_ID_SIZE]);
bool kad_shard_contains(const struct kad_shard_id *at, const uint8_t slot[KAD_SLOT_SIZE]);
bool kad_shard_id_equal(const struct kad_shard_id *a, const struct kad_shard_id *b);

/* The bytes that are signed, appended to `out` (KAD_ENTRY_SIGNED_MAX is enough). out->err when cut. */
void kad_entry_signed_bytes(const struct kad_entry *entry, const uint8_t root[KAD_ID_SIZE],
                            struct bytes_out *out);
/* Everything about an entry that costs nothing: v is a canonical dict of at most 300 bytes. 0, 203 or 205. */
int kad_entry_check(const struct kad_entry *entry);
/* XORs one entry's part into (or out of) a digest. */
void kad_entry_digest(const struct kad_entry *entry, uint8_t digest[KAD_ID_SIZE]);

/* One entry on the wire, in the list `e` of an sget reply: [k, seq, sig, v, age, since]. */
size_t kad_entry_wire_size(const struct kad_entry *entry); /* bytes kad_entry_put will write */
void kad_entry_put(struct bytes_out *out, const struct kad_entry *entry);
int kad_entry_get(struct ben list, struct kad_entry *ret); /* borrowed from list; CAM_EFORMAT, CAM_ETOOBIG */

/* What a reader asks of a shard: entries with after < slot <= upto in slot order, or of those the live ones
 * refreshed last, newest first. NULL is no bound. */
struct kad_set_query {
    const uint8_t *after, *upto; /* KAD_SLOT_SIZE bytes each, or NULL */
    bool fresh;
    size_t max;       /* entries; 0 = KAD_SET_PAGE_MAX */
    size_t max_bytes; /* sum of kad_entry_wire_size, but always one entry if there is any; 0 = no bound */
};

/* The answer. `v` of the entries is borrowed from the store until it is next changed. */
struct kad_set_page {
    uint32_t n;                  /* live entries held in the whole shard */
    uint8_t digest[KAD_ID_SIZE]; /* of the whole shard */
    bool split;                  /* newer entries are in the children: read them too */
    bool more;                   /* entries in the range were left out; go on after the last slot */
    size_t n_entries;
    struct kad_entry entries[KAD_SET_PAGE_MAX];
};

#endif
