/* The invariants of a timeline: for tests and the simulator, after every turn. */
#include <assert.h>

#include "timeline/state.h"

void timeline_check(const struct timeline *t)
{
    assert(t->follows.n <= FOLLOWS_MAX && t->follows.n_followers <= FOLLOWERS_MAX);
    size_t chases = 0;
    for (size_t i = 0; i < t->follows.n; i++) {
        const struct follow *f = t->follows.list[i];
        assert(f->at == i && f->who->follow == f);
        assert(i == 0 || t->follows.list[i - 1]->since_ms < f->since_ms);
        feed_check(&f->feed);
        chases += f->chase != NULL;
    }
    assert(chases == t->catchup.n_chases && chases <= CHASES_MAX);
    for (size_t i = 0; i < t->follows.n_followers; i++) {
        const struct follower *f = t->follows.followers[i];
        assert(f->at == i && f->who->follower == f);
        assert(f->acked_seq <= f->sent_seq && f->sent_seq <= t->account.feed.known_seq);
    }
    size_t guests = 0, strangers = 0;
    const struct person *p;
    const struct link *l;
    for (size_t i = 0; (p = keymap_next(&t->people.by_pk, &i));) {
        guests += person_is_guest(p);
        assert(p->n_peers <= PERSON_PEERS_MAX);
    }
    for (size_t i = 0; (l = keymap_next(&t->links.by_key, &i));) {
        strangers += !l->is_friend;
        assert(l->is_friend == (l->owner && !person_is_guest(l->owner)));
    }
    assert(guests == t->people.n_guests && guests <= PEOPLE_GUESTS_MAX);
    assert(strangers == t->links.n_strangers && strangers <= LINKS_STRANGERS_MAX);
    assert(t->publish.n_running <= PUBLISH_RUNNING_MAX);
    assert(t->intake.n_held <= INTAKE_HELD_MAX && t->intake.held_bytes <= INTAKE_HELD_BYTES_MAX);
    if (t->account.exists)
        feed_check(&t->account.feed);
}
