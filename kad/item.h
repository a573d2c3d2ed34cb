/* BEP 44 items: one bencoded value at one target. An immutable item lies at SHA1(v) and proves itself; a
 * mutable one lies at SHA1(pk + salt), is signed with Ed25519 and replaced by a higher seq.
 *
 * What is signed (BEP 44, "signature verification"), written without any dict around it:
 *
 *     "4:salt" SALT "3:seqi" SEQ "e1:v" V        salt as a bencoded string; the salt part is left out when
 *                                                it is empty; V is the bencoded value itself
 *
 * kad_item_target, kad_mutable_target, kad_item_sign, kad_item_verify and kad_value_expires_s are declared in
 * kad/kad.h. Here is what the rest of kad/ needs beside them.
 *
 *     struct kad_item item = {.is_mutable = true, .salt = span_str("public"), .seq = 3, .v = v};
 *     if (kad_item_sign(&item, me) == 0) kad_item_target(&item, target);
 */
#ifndef KAD_ITEM_H
#define KAD_ITEM_H
#include "kad/kad.h"

/* KRPC error codes (BEP 5, BEP 44). The store answers with these; 0 means done. */
enum kad_error {
    KAD_ERROR_GENERIC = 201,
    KAD_ERROR_FULL = 202,     /* BEP 5 "server error": no room, or over the sender's budget */
    KAD_ERROR_PROTOCOL = 203, /* malformed, bad token, exp in the past or beyond the life of its kind */
    KAD_ERROR_METHOD = 204,
    KAD_ERROR_TOOBIG = 205, /* v */
    KAD_ERROR_SIGNATURE = 206,
    KAD_ERROR_SALT = 207,  /* salt too big */
    KAD_ERROR_CAS = 301,   /* cas does not match the seq held */
    KAD_ERROR_STALE = 302, /* seq below the one held, or equal with a value of smaller hash */
};

/* A short text for the error reply; never NULL; static. */
const char *kad_error_text(int code);
/* The CAM_E... that a PUT event carries for a holder's error code. */
int kad_error_status(int code);

#define KAD_ITEM_SIGNED_MAX (7 + 3 + KAD_SALT_MAX + 6 + 21 + 4 + KAD_VALUE_MAX)

/* The bytes that are signed, appended to `out` (KAD_ITEM_SIGNED_MAX is enough). out->err when cut. */
void kad_item_signed_bytes(const struct kad_item *item, struct bytes_out *out);

/* Everything about an item that costs nothing to check: sizes, one canonical value. 0, 203, 205 or 207. */
int kad_item_check(const struct kad_item *item);

/* How two versions of one record compare, everywhere the same: by seq, then by SHA1(v) as bytes.
 * > 0 when a is the newer, 0 when they are the same version, < 0 when b is. */
int kad_version_compare(int64_t a_seq, struct span a_v, int64_t b_seq, struct span b_v);

#endif
