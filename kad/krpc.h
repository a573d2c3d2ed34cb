/* KRPC: one datagram as a value, both ways (BEP 5, 32, 42, 43, 44 and the signed sets).
 *
 * `struct krpc_msg` holds every key that any message may carry; absent ones are zero. The decoder borrows
 * from the datagram, so a message lives as long as its bytes. Unknown keys are skipped, as the BEPs ask. A
 * key that we know but that has another type or size is remembered in `bad`: a query is then answered with
 * error 203, a reply is dropped.
 *
 *     struct krpc_msg m;
 *     if (krpc_decode(buf, size, &m)) return CAM_EFORMAT;         // not KRPC at all
 *     if (m.kind == KRPC_QUERY && m.method == KRPC_PING) ...
 *
 *     struct krpc_msg r = {.kind = KRPC_REPLY, .t = m.t, .id = self};
 *     struct bytes_out out = bytes_out(buf, KAD_DATAGRAM_MAX);
 *     krpc_encode(&out, &r);                                      // out.err when it does not fit
 */
#ifndef KAD_KRPC_H
#define KAD_KRPC_H
#include "core/bencode.h"
#include "core/bytes.h"

#define KRPC_T_MAX 32      /* bytes of a transaction id that we echo; ours are RPC_TID_SIZE */
#define KRPC_TOKEN_MAX 40  /* bytes of a token that we keep; the ones in use have 4 to 20 */
#define KRPC_NETWORK_SIZE 4
#define KRPC_NODE4_SIZE 26 /* id, IPv4 address, port */
#define KRPC_NODE6_SIZE 38
#define KRPC_VERSION_SIZE 4

enum krpc_kind { KRPC_QUERY = 'q', KRPC_REPLY = 'r', KRPC_ERROR = 'e' };

enum krpc_method {
    KRPC_NONE, /* a query that we do not know: error 204 */
    KRPC_PING,
    KRPC_FIND_NODE,
    KRPC_GET_PEERS,
    KRPC_ANNOUNCE_PEER,
    KRPC_GET,
    KRPC_PUT,
    KRPC_SGET,
    KRPC_SPUT,
    KRPC_METHODS /* how many */
};

#define KRPC_WANT4 1 /* "n4", BEP 32 */
#define KRPC_WANT6 2 /* "n6" */

struct krpc_msg {
    /* the envelope */
    enum krpc_kind kind;
    enum krpc_method method;  /* of a query */
    struct span t;
    const uint8_t *network;   /* `n`, 4 bytes; NULL when it sends none */
    const uint8_t *version;   /* `v`, 4 bytes */
    struct span ip;           /* of a reply: how it sees us, compact (BEP 42) */
    bool ro;                  /* BEP 43 */
    bool bad;                 /* a known key of the wrong shape */

    /* arguments of a query and values of a reply: they share their names */
    const uint8_t *id;        /* 20 */
    const uint8_t *target;    /* 20: `target`, `info_hash` or `root`, whichever the method names */
    struct span token;
    uint8_t want;             /* KRPC_WANT bits; 0: did not say */
    bool implied_port;
    uint16_t port;            /* 0 when absent or out of range */
    bool has_seq, has_cas;
    int64_t seq, cas;
    const uint8_t *k;         /* 32 */
    const uint8_t *sig;       /* 64 */
    struct span salt;
    struct ben v;

    /* signed sets */
    bool has_depth, fresh;
    uint8_t depth;            /* 255 when out of range */
    struct span prefix;
    const uint8_t *after, *upto; /* 20, slots */
    uint32_t age_s, since_s;  /* `age`, `since`: what a holder that hands an entry on knows of it */

    /* of a reply */
    struct span nodes, nodes6;
    struct ben values;        /* BEP 5: compact peers */
    bool has_held, more, split;
    uint32_t held;            /* `n`: entries in the shard */
    const uint8_t *digest;    /* 20 */
    struct ben entries;       /* `e` */

    /* of an error */
    int32_t code;             /* enum kad_error, or another client's */
    struct span text;
};

/* CAM_EFORMAT when it is not a KRPC message that could be answered or matched. */
int krpc_decode(const void *buf, size_t size, struct krpc_msg *ret);
void krpc_encode(struct bytes_out *out, const struct krpc_msg *m);
const char *krpc_method_name(enum krpc_method m);

#endif
