/* People you may know, from follows already cached (DESIGN section 10 (a)): somebody scores by how many of
 * the people you follow follow them, each counting the less the more people they are linked with (Adamic and
 * Adar, "Friends and neighbors on the Web", 2003): 1 / ln(2 + degree). Whoever follows you scores half as
 * much again.
 *
 *     struct suggest_input in = { .self = pk, .edges = edges, .n_edges = n, ... };
 *     struct suggest_row rows[10]; size_t n_rows;
 *     int err = suggest_people(&in, rows, 10, &n_rows);     // rows[0].reason: "followed by bob and carol"
 */
#ifndef TIMELINE_SUGGEST_H
#define TIMELINE_SUGGEST_H
#include "core/identity.h"

#define SUGGEST_REASON_SIZE 128
#define SUGGEST_EDGES_MAX 1000000 /* edges looked at; more are ignored */

struct suggest_edge { /* `from` follows `to`, as a signed entry or page said */
    uint8_t from[KEY_SIZE], to[KEY_SIZE];
};

struct suggest_input {
    const uint8_t *self;              /* KEY_SIZE bytes */
    const struct suggest_edge *edges; /* in any order; repeated ones count once */
    size_t n_edges;
    const uint8_t (*excluded)[KEY_SIZE]; /* "not interested", muted; may be NULL */
    size_t n_excluded;
    /* What the user knows somebody as; NULL or an empty name: the tag is used. May be NULL. */
    const char *(*name_of)(void *ctx, const uint8_t pk[KEY_SIZE]);
    void *ctx;
};

struct suggest_row {
    uint8_t pk[KEY_SIZE];
    double score;
    bool follows_you;
    char reason[SUGGEST_REASON_SIZE]; /* "followed by bob, carol and 1 more you follow; follows you" */
};

/* The best `max`, highest score first (ties by key). Never oneself, nobody already followed, nobody excluded.
 * CAM_ESYS: no memory. */
int suggest_people(const struct suggest_input *in, struct suggest_row *ret_rows, size_t max, size_t *ret_n);

#endif
