/* Strict bencode (BEP 3), the one codec on the wire.
 *
 * Only the canonical form is accepted: dict keys strictly ascending as raw bytes, no leading zeros, no
 * "-0", integers within int64, depth at most BEN_DEPTH_MAX. So encode(decode(x)) = x for every accepted x
 * and a signature over the bytes is a signature over the value.
 *
 * A decoded value is a view: `struct ben` is the span of one value that was already checked, and looking
 * into it walks those bytes. Nothing is allocated and nothing outlives the buffer.
 *
 *     struct ben msg; struct span id;
 *     if (ben_parse(buf, size, &msg)) return CAM_EFORMAT;
 *     if (ben_get_str(msg, "id", &id)) return CAM_EFORMAT;
 *
 *     struct bytes_out out = bytes_out(buf, sizeof buf);
 *     ben_put_dict(&out); ben_put_key(&out, "id"); ben_put_str(&out, id, 20); ben_put_end(&out);
 */
#ifndef CORE_BENCODE_H
#define CORE_BENCODE_H
#include "core/bytes.h"

#define BEN_DEPTH_MAX 16 /* nested lists and dicts; our own messages need 6 */

enum ben_type { BEN_NONE = 0, BEN_INT, BEN_STR, BEN_LIST, BEN_DICT };

struct ben { /* one checked value; borrowed */
    const uint8_t *data;
    size_t size;
};

struct ben_iter {
    const uint8_t *at, *end;
    bool dict;
};

/* The whole buffer is exactly one canonical value. CAM_EFORMAT otherwise. */
int ben_parse(const void *buf, size_t size, struct ben *ret);

enum ben_type ben_type(struct ben v);                     /* BEN_NONE for a zero struct */
int ben_int(struct ben v, int64_t *ret);                  /* CAM_EFORMAT when of another type */
int ben_str(struct ben v, struct span *ret);
int ben_get(struct ben dict, const char *key, struct ben *ret); /* CAM_ENOENT when missing or not a dict */
int ben_get_int(struct ben dict, const char *key, int64_t *ret); /* CAM_ENOENT, CAM_EFORMAT */
int ben_get_str(struct ben dict, const char *key, struct span *ret);
int ben_get_fixed(struct ben dict, const char *key, void *ret, size_t size); /* a string of just this size */
int ben_get_list(struct ben dict, const char *key, struct ben *ret);
int ben_get_dict(struct ben dict, const char *key, struct ben *ret);

/* Walk a list (key is left empty) or a dict. */
struct ben_iter ben_iter(struct ben v);
bool ben_next(struct ben_iter *it, struct span *ret_key, struct ben *ret_value); /* ret_key may be NULL */

/* Writing. The caller puts keys in ascending order; tests parse back what is written. */
void ben_put_int(struct bytes_out *out, int64_t v);
void ben_put_str(struct bytes_out *out, const void *data, size_t size);
void ben_put_text(struct bytes_out *out, const char *text);
void ben_put_dict(struct bytes_out *out);
void ben_put_list(struct bytes_out *out);
void ben_put_end(struct bytes_out *out);
void ben_put_key(struct bytes_out *out, const char *key);
void ben_put_raw(struct bytes_out *out, struct ben v); /* an already encoded value */

#endif
