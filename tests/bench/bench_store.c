/* Rows 15 and 17: catching up on a million posts, verified and durable, and a page among them.
 *
 *   bench_store [POSTS]      the store is a file in a temporary folder
 *
 * Twice: posts of one author; and of a hundred who wrote during the same weeks, one after the other, so that
 * each new post belongs between others in the timeline. That is the worst that a disk can be asked for.
 *
 * Only the newest header of each feed is truly signed: the rest are vouched for by their hashes, and nobody
 * looks at their signatures, so making them would only make the preparation last minutes.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/err.h"
#include "core/rng.h"
#include "core/snowflake.h"
#include "tests/bench/bench.h"
#include "timeline/feed.h"
#include "timeline/io_sqlite.h"
#include "timeline/message.h"
#include "timeline/store.h"

#define AUTHORS_MAX 100
#define T0 UINT64_C(1700000000000)
#define TURN_US 20000.0 /* work in one transaction */
#define PAGE 50

static size_t n_authors, posts_each;
static uint8_t *headers[AUTHORS_MAX]; /* POST_HEADER_SIZE * posts_each */
static uint8_t keys[AUTHORS_MAX][KEY_SIZE];
static uint8_t page[MESSAGE_BATCH_BYTES], scratch[MESSAGE_BATCH_BYTES];
static struct feed_item items[FEED_RUN_MAX];
static const struct now now = { .mono_ms = 0, .wall_ms = T0 + 1000000000 };

static void require(int err, const char *what)
{
    if (!err) return;
    fprintf(stderr, "bench: %s: %s\n", what, err_text(err));
    exit(1);
}

/* A hundred bytes of text, as people write. */
static size_t body_of(uint64_t author, uint64_t seq, uint8_t ret[160])
{
    char text[128];
    int n = snprintf(text, sizeof text, "post %llu by %llu: ", (unsigned long long)seq,
                     (unsigned long long)author);
    memset(text + n, 'a', sizeof text - (size_t)n);
    struct bytes_out out = bytes_out(ret, 160);
    post_body_encode(&out, &(struct post_body){ .text = span(text, 100) });
    return out.size;
}

static void make_feed(size_t author)
{
    uint8_t seed[KEY_SIZE] = { (uint8_t)(author + 1) }, body[160], prev[HASH_SIZE] = { 0 };
    struct identity *id = identity_from_seed(seed);
    headers[author] = malloc(POST_HEADER_SIZE * posts_each);
    if (!id || !headers[author]) require(CAM_ESYS, "memory");
    memcpy(keys[author], id->pk, KEY_SIZE);
    for (uint64_t seq = 1; seq <= posts_each; seq++) {
        uint8_t *header = headers[author] + (seq - 1) * POST_HEADER_SIZE;
        struct post_header h = { .id = snowflake_floor(T0 + seq * 1000 + author * 7), .seq = seq };
        memcpy(h.prev, prev, HASH_SIZE);
        post_header_set_body(&h, span(body, body_of(author, seq, body)));
        if (seq == posts_each) {
            post_header_sign(&h, id, header);
        } else {
            memcpy(h.author, id->pk, KEY_SIZE);
            memset(h.sig, (int)seq & 255, SIG_SIZE);
            post_header_encode(&h, header);
        }
        post_hash(header, prev);
    }
    identity_free(id);
}

/* A BATCH of posts from `top` down, as a peer would send it. Returns its bytes; *ret_next: where to go on. */
static size_t make_page(size_t author, uint64_t top, uint64_t *ret_next)
{
    struct message_batch_writer w;
    struct bytes_out out = bytes_out(page, sizeof page);
    message_batch_begin(&w, &out, keys[author], 0, 0, sizeof page);
    for (; top > 0; top--) {
        uint8_t body[160];
        size_t size = body_of(author, top, body);
        if (message_batch_add(&w, span(headers[author] + (top - 1) * POST_HEADER_SIZE, POST_HEADER_SIZE),
                              span(body, size), POST_HELD))
            break;
    }
    message_batch_end(&w, top);
    *ret_next = top;
    return out.size;
}

static size_t read_page(size_t size)
{
    struct message m;
    struct message_item it;
    size_t n = 0;
    require(message_decode(span(page, size), &m), "decode");
    for (struct ben_iter iter = message_items(&m.batch); message_item_next(&iter, &it); n++)
        items[n] = (struct feed_item){ .header = it.header, .state = it.state, .body = it.body };
    return n;
}

/* One page through the whole way in: decoded, verified, stored. Returns the posts. */
static size_t take_page(struct store *s, struct feed *feed, size_t size)
{
    struct feed_rules rules = { .lifespan_s = 30 * 86400, .hash_at = store_post_hash, .ctx = s };
    struct feed_verdict v;
    size_t n = read_page(size);
    require(feed_check_run(feed, items, n, &rules, now, &v), "check");
    feed_apply_run(feed, items, n, &v);
    require(store_feed_save(s, feed), "save");
    for (size_t i = n; i-- > 0;) /* oldest first: one direction in the tree */
        require(store_post_put(s, feed, &items[i], now.wall_ms, NULL), "put");
    return n;
}

/* What cannot be left out: hashing headers and bodies, the same bytes written and synced in like groups. */
static size_t floor_page(int fd, size_t size)
{
    size_t n = read_page(size), used = 0;
    uint8_t hash[HASH_SIZE];
    for (size_t i = 0; i < n; i++) {
        post_hash(items[i].header.data, hash);
        hash_blake2b(hash, items[i].body.data, items[i].body.size);
        memcpy(scratch + used, items[i].header.data, POST_HEADER_SIZE);
        memcpy(scratch + used + POST_HEADER_SIZE, items[i].body.data, items[i].body.size);
        used += POST_HEADER_SIZE + items[i].body.size;
    }
    if (write(fd, scratch, used) != (ssize_t)used) require(CAM_EIO, "write");
    return n;
}

/* Posts a second, one sample for each transaction. Making pages is not counted. */
static void catch_up(struct store *s, int fd, struct series *ours, struct series *beside)
{
    for (size_t a = 0; a < n_authors; a++) {
        for (int floor_run = 0; floor_run <= 1; floor_run++) {
            struct feed feed;
            size_t n = 0;
            double turn = 0, began;
            feed_init(&feed, keys[a], 0);
            if (!floor_run) require(store_author_role(s, keys[a], STORE_FOLLOWED), "role");
            for (uint64_t next, top = posts_each; top > 0; top = next) {
                size_t size = make_page(a, top, &next);
                began = bench_us();
                n += floor_run ? floor_page(fd, size) : take_page(s, &feed, size);
                turn += bench_us() - began;
                if (turn < TURN_US && next > 0) continue;
                began = bench_us();
                if (floor_run ? fdatasync(fd) != 0 : store_commit(s) != 0) require(CAM_EIO, "commit");
                series_add(floor_run ? beside : ours, (double)n / (turn + bench_us() - began) * 1e6);
                turn = 0;
                n = 0;
            }
            if (!floor_run && feed_complete_to(&feed) != posts_each) require(CAM_EFORMAT, "not complete");
        }
    }
}

static int count(void *ctx, const struct store_post *post)
{
    struct post_header h;
    *(size_t *)ctx += post_header_decode(post->header, &h) == 0 && post->body.size > 0;
    return 0;
}

/* The naive way: posts of followed authors by id, with an index on the id. */
static sqlite3_stmt *make_naive(struct store *s)
{
    sqlite3_stmt *naive;
    if (sqlite3_exec(
            s->db,
            "CREATE TABLE naive (id INTEGER, author BLOB, header BLOB, body BLOB);"
            "INSERT INTO naive SELECT (p.key & 1099511627775) * 4194304000 + f.author, a.pk, p.header, p.body"
            " FROM post p JOIN feed f ON f.key = p.key >> 40 JOIN author a ON a.key = f.author;"
            "CREATE INDEX naive_id ON naive (id);",
            NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(s->db,
                           "SELECT n.id, n.header, n.body FROM naive n WHERE n.author IN"
                           " (SELECT pk FROM author WHERE role = 1) AND n.id < ? ORDER BY n.id DESC LIMIT 50",
                           -1, &naive, NULL) != SQLITE_OK) {
        fprintf(stderr, "bench: %s\n", sqlite3_errmsg(s->db));
        exit(1);
    }
    return naive;
}

/* Pages, with half of the authors no longer followed: at the top, or anywhere. */
static void read_pages(struct store *s, sqlite3_stmt *naive, bool at_top, struct series *ours,
                       struct series *beside)
{
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 1);
    for (int i = 0; i < 2000; i++) {
        uint64_t seq = at_top ? posts_each : 1000 + rng_below(&rng, (uint32_t)posts_each - 1000);
        size_t n = 0;
        struct store_cursor at = { .id = snowflake_floor(T0 + seq * 1000) };
        double began = bench_us();
        require(store_timeline(s, &at, false, PAGE, count, &n), "page");
        series_add(ours, bench_us() - began);
        if (n != PAGE) require(CAM_EFORMAT, "a short page");

        began = bench_us();
        sqlite3_bind_int64(naive, 1, (int64_t)(seq * 4194304000));
        for (n = 0; sqlite3_step(naive) == SQLITE_ROW; n++)
            (void)sqlite3_column_blob(naive, 1);
        sqlite3_reset(naive);
        series_add(beside, bench_us() - began);
        if (n != PAGE) require(CAM_EFORMAT, "a short naive page");
    }
}

static void unfollow_half(struct store *s)
{
    bool more = true;
    for (size_t a = 0; a < n_authors / 2; a++)
        require(store_author_role(s, keys[a], STORE_HIDDEN), "role");
    while (more) {
        require(store_role_slice(s, 5000, &more), "slice");
        require(store_commit(s), "commit");
    }
}

static void run(size_t authors, size_t posts, const char *row, const char *what)
{
    static struct series ours, beside, top, top_beside, any, any_beside;
    char folder[] = "/tmp/camellia-bench-XXXXXX", path[64], floor_path[64], why[STORE_MESSAGE_SIZE];
    struct store *s;
    n_authors = authors;
    posts_each = posts / authors < 2000 ? 2000 : posts / authors;
    ours.n = beside.n = 0;
    for (size_t a = 0; a < n_authors; a++)
        make_feed(a);
    if (!mkdtemp(folder)) require(CAM_EIO, "temporary folder");
    snprintf(path, sizeof path, "%s/store.db", folder);
    snprintf(floor_path, sizeof floor_path, "%s/floor", folder);
    int fd = open(floor_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) require(CAM_EIO, "floor file");
    if (store_open(path, &s, why)) {
        fprintf(stderr, "bench: %s\n", why);
        exit(1);
    }
    catch_up(s, fd, &ours, &beside);
    bench_row(row, what, "posts/s", &ours, &beside, ">= 100,000 posts/s", series_median(&ours) >= 100000);
    if (authors > 1) {
        unfollow_half(s);
        sqlite3_stmt *naive = make_naive(s);
        read_pages(s, naive, true, &top, &top_beside);
        bench_row("17", "newest timeline page of 50 (naive SQL)", "us", &top, &top_beside, "<= 100 us",
                  series_median(&top) <= 100);
        read_pages(s, naive, false, &any, &any_beside);
        bench_row("17b", "a page anywhere in it (naive SQL)", "us", &any, &any_beside, "<= 100 us",
                  series_median(&any) <= 100);
        sqlite3_finalize(naive);
    }
    store_close(s);
    close(fd);
    unlink(path);
    unlink(floor_path);
    rmdir(folder);
    for (size_t a = 0; a < n_authors; a++)
        free(headers[a]);
}

int main(int argc, char **argv)
{
    size_t posts = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    run(1, posts, "15", "catch-up, verified, durable (hash+write+sync)");
    run(AUTHORS_MAX, posts, "15b", "the same, of 100 authors at the same time");
    return 0;
}
