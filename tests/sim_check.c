#include "tests/sim_check.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX 8 /* violations that are kept in words */

struct attempt {
    size_t author;
    char text[48];
    bool accepted;
    uint64_t id, seq;
    size_t seen_in; /* the last reading that showed it, counted from 1 */
};

struct check {
    size_t users;
    bool *follows, *may;   /* [follower * users + author]: said to be done; asked for at some time */
    struct attempt *posts;
    size_t n_posts, cap_posts, accepted;
    uint64_t *last_id, *last_seq; /* of each author, as accepted */
    size_t reading;        /* number of the reading under way */
    uint64_t above_id;     /* id of the line above, in the reading under way */
    uint64_t *seq_below;   /* of each author: the seq of the line above, in the reading under way */
    size_t violations;
    char words[SHOWN_MAX][160];
};

struct check *check_new(size_t users)
{
    struct check *c = calloc(1, sizeof *c);
    c->users = users;
    c->follows = calloc(users * users, sizeof *c->follows);
    c->may = calloc(users * users, sizeof *c->may);
    c->last_id = calloc(users, sizeof *c->last_id);
    c->last_seq = calloc(users, sizeof *c->last_seq);
    c->seq_below = calloc(users, sizeof *c->seq_below);
    return c;
}

void check_free(struct check *c)
{
    if (!c)
        return;
    free(c->follows);
    free(c->may);
    free(c->posts);
    free(c->last_id);
    free(c->last_seq);
    free(c->seq_below);
    free(c);
}

__attribute__((format(printf, 2, 3))) static void violation(struct check *c, const char *format, ...)
{
    if (c->violations < SHOWN_MAX) {
        va_list args;
        va_start(args, format);
        vsnprintf(c->words[c->violations], sizeof c->words[0], format, args);
        va_end(args);
    }
    c->violations++;
}

void check_follow_asked(struct check *c, size_t follower, size_t author) { c->may[follower * c->users + author] = true; }

void check_follow(struct check *c, size_t follower, size_t author)
{
    check_follow_asked(c, follower, author);
    c->follows[follower * c->users + author] = true;
}

bool check_follows(const struct check *c, size_t follower, size_t author) { return c->follows[follower * c->users + author]; }

size_t check_attempt(struct check *c, size_t author, const char *text)
{
    if (c->n_posts == c->cap_posts) {
        c->cap_posts = c->cap_posts ? 2 * c->cap_posts : 64;
        c->posts = realloc(c->posts, c->cap_posts * sizeof *c->posts);
    }
    struct attempt *p = &c->posts[c->n_posts];
    *p = (struct attempt){.author = author};
    snprintf(p->text, sizeof p->text, "%s", text);
    return c->n_posts++;
}

void check_accept(struct check *c, size_t post, uint64_t id, uint64_t seq)
{
    struct attempt *p = &c->posts[post];
    if (p->accepted)
        violation(c, "post %zu of user %zu was accepted twice", post, p->author);
    if (id <= c->last_id[p->author])
        violation(c, "user %zu: an accepted id does not rise", p->author);
    if (seq <= c->last_seq[p->author])
        violation(c, "user %zu: an accepted seq does not rise", p->author);
    p->accepted = true;
    p->id = id;
    p->seq = seq;
    c->last_id[p->author] = id;
    c->last_seq[p->author] = seq;
    c->accepted++;
}

void check_read_begin(struct check *c, size_t reader)
{
    (void)reader;
    c->reading++;
    c->above_id = UINT64_MAX;
    for (size_t i = 0; i < c->users; i++)
        c->seq_below[i] = UINT64_MAX;
}

void check_read(struct check *c, size_t reader, size_t author, uint64_t id, uint64_t seq, const char *text)
{
    if (author >= c->users) {
        violation(c, "reader %zu is shown an author that does not exist", reader);
        return;
    }
    if (author != reader && !c->may[reader * c->users + author])
        violation(c, "reader %zu is shown user %zu, whom it never followed", reader, author);
    if (id > c->above_id)
        violation(c, "reader %zu: the timeline is out of order", reader);
    c->above_id = id;
    if (seq >= c->seq_below[author])
        violation(c, "reader %zu: posts of user %zu are out of order", reader, author);
    c->seq_below[author] = seq;
    struct attempt *p = NULL;
    for (size_t i = 0; i < c->n_posts && !p; i++)
        if (c->posts[i].author == author && strcmp(c->posts[i].text, text) == 0)
            p = &c->posts[i];
    if (!p) {
        violation(c, "reader %zu is shown what user %zu never wrote: %.40s", reader, author, text);
        return;
    }
    if (p->seen_in == c->reading)
        violation(c, "reader %zu is shown a post of user %zu twice", reader, author);
    if (p->accepted && (p->id != id || p->seq != seq))
        violation(c, "reader %zu: a post of user %zu has another id or seq than was accepted", reader, author);
    p->seen_in = c->reading;
}

void check_read_end(struct check *c, size_t reader, bool final)
{
    if (!final)
        return;
    for (size_t i = 0; i < c->n_posts; i++) {
        const struct attempt *p = &c->posts[i];
        bool wanted = p->author == reader || check_follows(c, reader, p->author);
        if (p->accepted && wanted && p->seen_in != c->reading)
            violation(c, "reader %zu lacks the accepted post %llu of user %zu", reader, (unsigned long long)p->seq, p->author);
    }
}

size_t check_accepted(const struct check *c) { return c->accepted; }

size_t check_violations(const struct check *c) { return c->violations; }

size_t check_report(const struct check *c, FILE *to)
{
    for (size_t i = 0; i < c->violations && i < SHOWN_MAX; i++)
        fprintf(to, "    %s\n", c->words[i]);
    if (c->violations > SHOWN_MAX)
        fprintf(to, "    and %zu more\n", c->violations - SHOWN_MAX);
    return c->violations;
}
