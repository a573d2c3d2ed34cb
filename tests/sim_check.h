/* The checker: holds what users saw against what they did. It knows nothing of nodes or networks, only of a
 * history: posts that were attempted, posts that were accepted, follows, and timelines that were read.
 *
 *     struct check *c = check_new(10);
 *     check_follow(c, 3, 0);                       // user 3 follows user 0, from before the posts
 *     size_t p = check_attempt(c, 0, "hello");
 *     check_accept(c, p, id, seq);                 // `post` answered
 *     check_read_begin(c, 3); check_read(c, 3, 0, id, seq, "hello"); check_read_end(c, 3, true);
 *     printf("%zu violations\n", check_report(c, stdout));
 */
#ifndef TESTS_SIM_CHECK_H
#define TESTS_SIM_CHECK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct check;

struct check *check_new(size_t users);
void check_free(struct check *c);

/* A follow was asked for (from then on posts may be shown), and was said to be done (all must be shown). */
void check_follow_asked(struct check *c, size_t follower, size_t author);
void check_follow(struct check *c, size_t follower, size_t author);
bool check_follows(const struct check *c, size_t follower, size_t author);

/* A post that is being made; `text` is unique. Returns its number. */
size_t check_attempt(struct check *c, size_t author, const char *text);
/* The node said that it is kept. Ids and seqs of one author must rise from acceptance to acceptance. */
void check_accept(struct check *c, size_t post, uint64_t id, uint64_t seq);

/* One whole reading of a timeline, newest first. `final`: the network has healed, all must be there. */
void check_read_begin(struct check *c, size_t reader);
void check_read(struct check *c, size_t reader, size_t author, uint64_t id, uint64_t seq, const char *text);
void check_read_end(struct check *c, size_t reader, bool final);

size_t check_accepted(const struct check *c);   /* posts accepted so far */
size_t check_violations(const struct check *c);
/* Prints the first violations; returns how many there are. */
size_t check_report(const struct check *c, FILE *to);

#endif
