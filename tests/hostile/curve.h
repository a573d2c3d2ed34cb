/* A CURVE client by hand (ZMTP 3.0, RFC 23; CURVE, RFC 26), so that every step can be left out, repeated or bent.
 *
 *     struct curve c;
 *     curve_open(&c, &v->addr, v->key, NULL);                     // NULL: fresh keys
 *     curve_greet(&c, "CURVE"); curve_hello(&c); curve_initiate(&c, NULL);
 *     if (c.state == CURVE_READY) curve_send(&c, data, size);
 *     puts(curve_answer(&c));                                     // "welcome", "ready", "error 400", "closed", "silent"
 */
#ifndef TESTS_HOSTILE_CURVE_H
#define TESTS_HOSTILE_CURVE_H
#include "tests/hostile/hostile.h"

enum curve_state { CURVE_TCP, CURVE_GREETED, CURVE_WELCOME, CURVE_READY, CURVE_REFUSED, CURVE_CLOSED, CURVE_SILENT };

struct curve {
    int fd;
    enum curve_state state;
    int wait_ms;                         /* for an answer */
    char error[8];                       /* REFUSED: the status that ZAP gave */
    uint8_t server[32];                  /* its long-term key, as we believe */
    uint8_t pk[32], sk[32];              /* our long-term pair; pk may be somebody else's */
    uint8_t short_pk[32], short_sk[32];
    uint8_t server_short[32], cookie[96];
    uint64_t nonce;
    /* What to do wrong in INITIATE */
    bool bad_vouch, bad_cookie;
    const char *user_id;                 /* claimed in our own metadata */
};

/* `keys`: pk then sk (64 bytes), or NULL. state is CLOSED when the connection is refused. */
void curve_open(struct curve *c, const struct addr *to, const uint8_t server[32], const uint8_t *keys);
void curve_close(struct curve *c);
void curve_greet(struct curve *c, const char *mechanism);
void curve_hello(struct curve *c);
void curve_initiate(struct curve *c);
void curve_handshake(struct curve *c); /* all three */
/* One message; sealed and numbered. Returns the bytes sent, for sending them again. */
size_t curve_seal(struct curve *c, const void *data, size_t size, uint8_t *ret, size_t cap);
bool curve_write(struct curve *c, const void *data, size_t size);
bool curve_send(struct curve *c, const void *data, size_t size);
bool curve_is_closed(struct curve *c, int within_ms); /* did the other side hang up? */
const char *curve_answer(const struct curve *c);

#endif
