/* A session of links to one victim: one user and one transport key at a time (a life), and others in reserve, because
 * keys cost nothing and a follower's budget for forgeries is small.
 *
 *     session_open(v, "mallory");
 *     session_say(bytes);                        // one message on the link
 *     if (!session_fence()) ...                  // the victim has dealt with all of it; false: it does not answer
 */
#ifndef TESTS_HOSTILE_SESSION_H
#define TESTS_HOSTILE_SESSION_H
#include "core/keyfile.h"
#include "tests/hostile/forge.h"

#define LIVES_MAX 32

struct life {
    struct identity *me;
    struct transport keys;
    struct addr here;
    struct io_zmq *z;
    double credit;      /* what it may still forge before its budget refuses it unread */
    uint64_t credit_ms; /* as of then */
};

struct counts { /* what came from the victim since it was cleared, and what was sent */
    unsigned sent, pages, posts, haves, wants, pushed, acks, down;
    size_t bytes;
};

struct session {
    struct victim *v;
    struct link_dest to;
    struct rng rng;
    struct life lives[LIVES_MAX];
    unsigned n_lives, at;
    struct counts n;
    unsigned unfenced;
    bool known, is_fenced; /* the victim took our HELLO; what the last fence asked for came */
    uint8_t fence[KEY_SIZE];
    struct made pushed;    /* the newest post of the victim's that it sent us */
};

extern struct session session;
static inline struct life *life(void) { return &session.lives[session.at]; }

void session_open(struct victim *v, const char *name);
void session_close(void);
void session_say(struct span bytes);
/* Something that must be looked at, and so must not be refused for want of budget: by the next life, if need be. */
void session_say_forged(struct span bytes);
bool session_fence(void);
void session_pump(uint64_t ms);
void session_turn(int wait_ms);
/* Our own HELLO and FOLLOW, of the life that we are in. */
void session_hello(void);
void session_follow(int64_t seq, bool deleted);
/* n lives more, all followers of the victim, once their budgets are full. */
void session_more_lives(unsigned n, const char *name);

#endif
