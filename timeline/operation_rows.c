/* What commands about people show: rows from what the network answered and what is stored. */
#include "timeline/operation_impl.h"

#include <string.h>

#include "core/err.h"
#include "timeline/state.h"

void op_show_user(struct timeline *t, struct op *op, const uint8_t pk[KEY_SIZE])
{
    struct timeline_row row = { .kind = TL_ROW_USER };
    answer_user(t, &row, pk);
    answer_row(t, op->client, &row);
}

struct show {
    struct timeline *t;
    struct op *op;
    uint32_t n;
};

static int show_edge(void *ctx, const struct store_edge *e)
{
    struct show *show = ctx;
    op_show_user(show->t, show->op, e->from);
    show->n++;
    return 0;
}

static void not_reached(struct timeline *t, struct op *op, bool is_shown)
{
    char text[WHO_SIZE], name[NAME_SIZE];
    people_name(t, op->pk, name);
    user_text(name, op->pk, text);
    if (is_shown)
        answer_done(t, op->client, 0, "no peer reachable: as last seen");
    else
        answer_done(t, op->client, CAM_ENET, "no peer reachable: cannot look for %s; " NO_PEER_STEP, text);
}

void op_show_followers(struct timeline *t, struct op *op)
{
    if (account_is(t, op->pk)) {
        for (size_t i = 0; i < t->follows.n_followers; i++)
            op_show_user(t, op, t->follows.followers[i]->who->pk);
        answer_done(t, op->client, 0, "%s", "");
    } else if (op->is_online) {
        answer_done(t, op->client, 0, "%s", "");
    } else {
        struct show show = { t, op, 0 };
        store_edge_to(t->store, op->pk, EDGES_PER_PERSON_MAX, show_edge, &show);
        if (show.n == 0 && follow_find(t, op->pk))
            show.n = 1; /* ourselves at least */
        not_reached(t, op, show.n > 0);
    }
}

void op_show_following(struct timeline *t, struct op *op)
{
    if (account_is(t, op->pk)) {
        for (size_t i = 0; i < t->follows.n; i++)
            op_show_user(t, op, t->follows.list[i]->who->pk);
        answer_done(t, op->client, 0, "%s", "");
    } else if (op->is_online || t->ready) {
        answer_done(t, op->client, 0, "%s", "");
    } else {
        not_reached(t, op, false);
    }
}

void op_show_profile(struct timeline *t, struct op *op)
{
    struct store_person known = { .profile_seq = 0 };
    struct timeline_row row = { .kind = TL_ROW_PROFILE };
    struct follow *f = follow_find(t, op->pk);
    bool is_known = store_person_get(t->store, op->pk, &known) == 0;
    answer_user(t, &row, op->pk);
    if (account_is(t, op->pk)) {
        const struct feed *feed = &t->account.feed;
        row.device = t->account.device;
        row.posts = row.complete_to = feed->known_seq;
        row.time_ms = t->now.wall_ms;
        row.followers = (uint32_t)t->follows.n_followers;
        row.following_count = (uint32_t)t->follows.n;
        answer_row(t, op->client, &row);
        answer_done(t, op->client, 0, "%s", "");
        return;
    }
    if (!is_known && !op->is_online && !f) {
        if (t->ready)
            answer_done(t, op->client, CAM_ENOENT, "nobody with that id has published a profile");
        else
            not_reached(t, op, false);
        return;
    }
    row.text = span(known.bio, strlen(known.bio));
    row.posts = op->posts > known.posts ? op->posts : known.posts;
    row.followers = op->n_followers ? op->n_followers : op->is_online ? 0 : known.followers;
    row.is_about = op->is_about;
    row.following_count = op->n_following ? op->n_following : op->is_online ? 0 : known.following;
    row.time_ms = op->head_at_ms;
    if (f) {
        uint64_t newest = f->feed.known_seq > f->head_claim ? f->feed.known_seq : f->head_claim;
        row.posts = row.posts > newest ? row.posts : newest;
        row.complete_to = feed_complete_to(&f->feed);
        row.gaps = catchup_missing(t, f);
        store_fork_count(t->store, &f->feed, &row.forks);
        row.time_ms = f->feed.as_of_ms > row.time_ms ? f->feed.as_of_ms : row.time_ms;
        row.following = true;
    }
    answer_row(t, op->client, &row);
    answer_done(t, op->client, 0, "%s", op->is_online ? "" : "no peer reachable: as last seen");
}
