/* Rows as text and as JSON: what is shown, and that nothing in them steers a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "cli/view.h"
#include "core/err.h"
#include "core/text.h"

#define NOW_MS UINT64_C(1700000000000)
#define ID "k7q4m2xzaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

struct page { /* a view into memory */
    struct view view;
    char *out, *err;
    size_t out_size, err_size;
};

static void page_open(struct page *p, enum view_mode mode)
{
    *p = (struct page){ .out = NULL };
    FILE *out = open_memstream(&p->out, &p->out_size), *err = open_memstream(&p->err, &p->err_size);
    view_init(&p->view, mode, out, err);
    p->view.now_ms = NOW_MS;
}

static void page_read(struct page *p)
{
    fflush(p->view.out);
    fflush(p->view.err);
}

static void page_close(struct page *p)
{
    view_clear(&p->view);
    fclose(p->view.out);
    fclose(p->view.err);
    free(p->out);
    free(p->err);
}

static json_t *post(const char *text, uint64_t age_ms)
{
    return json_pack("{s:i,s:s,s:s,s:s,s:i,s:i,s:I,s:s,s:s,s:n,s:b}", "v", 1, "id", "7", "author", "bob",
                     "author_id", ID, "device", 0, "seq", 1, "time", (json_int_t)(NOW_MS - age_ms), "text",
                     text, "kind", "post", "via", "unread", 1);
}

static void show(struct page *p, enum view_kind kind, json_t *row)
{
    view_row(&p->view, kind, row);
    json_decref(row);
    page_read(p);
}

static void test_not_a_terminal(void **state)
{
    (void)state;
    struct page p;
    page_open(&p, VIEW_PEOPLE);
    assert_false(p.view.colour);
    assert_int_equal(p.view.columns, 0);
    page_close(&p);
}

static void test_post(void **state)
{
    (void)state;
    struct page p;
    page_open(&p, VIEW_PEOPLE);
    show(&p, VIEW_POST, post("hello\nworld", 120000));
    assert_string_equal(p.out, "* bob  2m  #k7q4m2xz\n    hello\n    world\n");
    page_close(&p);
}

static void test_post_plain_says_it_in_words(void **state)
{
    (void)state;
    struct page p;
    page_open(&p, VIEW_PLAIN);
    show(&p, VIEW_POST, post("hello", 0));
    assert_string_equal(p.out, "bob  now  #k7q4m2xz  unread\n    hello\n");
    page_close(&p);
}

static void test_post_wraps(void **state)
{
    (void)state;
    struct page p;
    page_open(&p, VIEW_PEOPLE);
    p.view.columns = 20;
    show(&p, VIEW_POST, post("aaaa bbbb cccc dddd eeee", 0));
    assert_non_null(strstr(p.out, "    aaaa bbbb cccc\n    dddd eeee\n"));
    page_close(&p);
}

static void test_post_via_and_key_changed(void **state)
{
    (void)state;
    struct page p;
    page_open(&p, VIEW_PEOPLE);
    json_t *row = post("x", 0);
    json_object_set_new(row, "via", json_string("aaaabbbbcccc"));
    json_object_set_new(row, "key_changed", json_true());
    show(&p, VIEW_POST, row);
    assert_non_null(strstr(p.out, "via #aaaabbbb"));
    assert_non_null(strstr(p.out, "another key"));
    page_close(&p);
}

static void test_post_of_a_fork(void **state)
{
    (void)state;
    struct page p;
    page_open(&p, VIEW_PEOPLE);
    json_t *row = post("one of two", 0);
    json_object_set_new(row, "fork", json_true());
    show(&p, VIEW_POST, row);
    assert_non_null(strstr(p.out, "  fork\n    one of two\n"));
    page_close(&p);
}

static void test_post_via_by_name(void **state)
{
    (void)state;
    struct page p;
    page_open(&p, VIEW_PEOPLE);
    json_t *row = post("x", 0);
    json_object_set_new(row, "via", json_string("aaaabbbbcccc"));
    json_object_set_new(row, "via_user", json_string("carol"));
    show(&p, VIEW_POST, row);
    assert_non_null(strstr(p.out, "via carol"));
    page_close(&p);
}

static void test_trace(void **state)
{
    (void)state;
    static const char *const want[] = {
        "hop  node      address                  answer   ID's first bits   new nodes\n"
        "  1  0123abcd  127.0.0.1:5001            12 ms     3 same, +2      7\n",
        "  2  0123abcd  127.0.0.1:5001            12 ms     3 same          0\n",
    };
    for (int hop = 1; hop <= 2; hop++) {
        struct page p;
        page_open(&p, VIEW_PEOPLE);
        show(&p, VIEW_DHT_FIND,
             json_pack("{s:s,s:s,s:i,s:i,s:i,s:i,s:i}", "node_id", "0123abcd89", "address", "127.0.0.1:5001",
                       "rtt_ms", 12, "hop", hop, "distance_bits", 157, "closer_bits", hop == 1 ? 2 : 0, "learned",
                       hop == 1 ? 7 : 0));
        assert_string_equal(p.out, want[hop - 1]);
        page_close(&p);
    }
    struct page p;
    page_open(&p, VIEW_PEOPLE);
    show(&p, VIEW_DHT_FIND,
         json_pack("{s:s,s:s,s:i}", "node_id", "0123abcd89", "address", "127.0.0.1:5001", "rank", 1));
    assert_int_equal(strncmp(p.out, "closest:\n  1  0123abcd89  127.0.0.1:5001", 40), 0);
    page_close(&p);
}

static void test_status_shows_what_is_not_zero(void **state)
{
    (void)state;
    for (int verbose = 0; verbose < 2; verbose++) {
        struct page p;
        page_open(&p, VIEW_PEOPLE);
        p.view.verbose = verbose;
        show(&p, VIEW_STATUS,
             json_pack("{s:{s:i,s:i,s:i,s:{s:i,s:i,s:i},s:{s:i,s:i,s:f,s:i,s:i},s:{s:i,s:i},s:{s:i,s:i},s:i,s:{s:i,s:i}}}", "dht",
                       "items", 3, "entries", 4, "store_bytes", 1500, "table", "live", 5, "cached", 2, "buckets", 1,
                       "lookup", "done", 8, "running", 1, "success", 0.875, "p50_ms", 10, "p99_ms", 40, "in", "ping",
                       6, "get", 0, "out", "ping", 4, "get", 7, "in_bytes", 2000000, "drops", "malformed", 0, "budget", 9));
        assert_non_null(strstr(p.out, "table    5 live, 2 cached, in 1 bucket\n"));
        assert_non_null(strstr(p.out, "holds    3 items, 4 entries, 0 peers for others, 1.5 kB\n"));
        assert_non_null(strstr(p.out, "lookups  8 done, 1 running, 87.5 % found, half within 10 ms, 99 % within 40"));
        assert_non_null(strstr(p.out, verbose ? "traffic                           in          out\n"
                                                "         bytes               2000000            0\n"
                                                "         ping                      6            4\n"
                                                "         get                       0            7\n"
                                              : "in       2.0 MB: ping 6\nout      0 B: ping 4, get 7\n"));
        assert_non_null(strstr(p.out, verbose ? "dropped  malformed 0, budget 9\n" : "dropped  budget 9\n"));
        assert_true(!strstr(p.out, "timeouts") == !verbose);
        page_close(&p);
        page_open(&p, VIEW_PEOPLE); /* below the list of peers the same, and no more */
        p.view.verbose = verbose;
        show(&p, VIEW_NETWORK,
             json_pack("{s:i,s:{s:{s:i,s:i,s:i},s:{s:i},s:{s:i,s:i}}}", "peers", 5, "dht", "table", "live", 5,
                       "cached", 2, "buckets", 2, "lookup", "done", 8, "drops", "malformed", 0, "budget", 9));
        static const char begin[] = "\ntable    5 live, 2 cached, in 2 buckets\nholds ";
        assert_int_equal(strncmp(p.out, begin, strlen(begin)), 0);
        assert_non_null(strstr(p.out, "budget 9\n"));
        page_close(&p);
    }
}

static void test_gap_line(void **state)
{
    (void)state;
    struct page p;
    page_open(&p, VIEW_PEOPLE);
    show(&p, VIEW_POST, json_pack("{s:b,s:s,s:i}", "gap", 1, "author", "dan", "gaps", 2));
    assert_string_equal(p.out, "  -- dan: 2 posts missing, asking for them --\n");
    page_close(&p);
}

/* On a screen of 80 columns no line of a status or of the peers is longer, however much there is to say. */
static void test_fits_the_screen(void **state)
{
    (void)state;
    static const char *const kinds[] = { "ping", "find_node", "get_peers", "announce_peer", "get", "put", "sget",
                                         "sput", "unknown", "replies", "errors" };
    json_t *counters = json_object();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        json_object_set_new(counters, kinds[i], json_integer(1234567));
    for (int verbose = 0; verbose < 2; verbose++) {
        struct page p;
        page_open(&p, VIEW_PEOPLE);
        p.view.verbose = verbose;
        p.view.columns = 80;
        show(&p, VIEW_STATUS,
             json_pack("{s:{s:I,s:I,s:I,s:{s:i,s:i,s:i},s:{s:I,s:i,s:f,s:i,s:i},s:O,s:O,s:O,s:O}}", "dht", "items",
                       (json_int_t)65536, "entries", (json_int_t)262144, "store_bytes", (json_int_t)1500000000, "table",
                       "live", 555, "cached", 22, "buckets", 64, "lookup", "done", (json_int_t)123456789, "running", 64,
                       "success", 0.999, "p50_ms", 1000, "p99_ms", 10000, "in", counters, "out", counters, "drops",
                       counters, "refusals", counters));
        for (const char *line = p.out, *end; *line; line = end + 1) {
            end = strchr(line, '\n');
            assert_true(end - line <= 80);
            /* What goes on below stands behind the label. */
            assert_true(line[0] != ' ' || strncmp(line, "         ", 9) == 0);
        }
        page_close(&p);
    }
    json_decref(counters);
    struct page p;
    page_open(&p, VIEW_PEOPLE);
    show(&p, VIEW_PEER,
         json_pack("{s:s,s:s,s:i,s:i}", "node_id", "0123456789abcdef0123456789abcdef01234567", "address",
                   "255.255.255.255:65535", "rtt_ms", 1000, "age_s", 3599));
    assert_string_equal(p.out, "0123456789abcdef0123456789abcdef01234567  255.255.255.255:65535 1000 ms  59m\n");
    page_close(&p);
}

/* Nothing a post holds reaches the terminal as an escape, a bidi control, a C1 or another control byte. */
static void assert_harmless(const char *text)
{
    for (size_t left = strlen(text), took; left; text += took, left -= took) {
        uint32_t c;
        took = text_decode(text, left, &c);
        assert_true(c == '\n' || c >= 0x20);
        assert_true(c != 0x7f && c != TEXT_INVALID);
        assert_false(c >= 0x80 && c <= 0x9f);
        assert_false((c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x200e ||
                     c == 0x200f);
    }
}

static const char hostile[] = "a\x1b[31mred\x07\r\b\x7f \xe2\x80\xaetxt.exe\xe2\x81\xa9 \xc2\x9b"
                              "2J e\xcc\x81 \xf0\x9f\x98\x80";

static void test_hostile_text(void **state)
{
    (void)state;
    static const enum view_kind kinds[] = { VIEW_ACCOUNT, VIEW_POST,    VIEW_FOLLOW, VIEW_USER,
                                            VIEW_PROFILE, VIEW_SUGGEST, VIEW_STATUS, VIEW_DHT_GET };
    static const char *const keys[] = { "user", "author", "text", "bio", "reason", "value", "via_user" };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (int mode = VIEW_PEOPLE; mode <= VIEW_JSON; mode++) {
            struct page p;
            page_open(&p, (enum view_mode)mode);
            json_t *row = json_pack("{s:i,s:s,s:b,s:s}", "posts", 1, "id", ID, "following", 1, "via", ID);
            for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
                json_object_set_new(row, keys[i], json_string(hostile));
            show(&p, kinds[k], row);
            assert_true(strlen(p.out) > 10);
            assert_harmless(p.out);
            assert_harmless(p.err);
            page_close(&p);
        }
}

static void test_hostile_message(void **state)
{
    (void)state;
    struct page p;
    page_open(&p, VIEW_PEOPLE);
    assert_int_equal(view_done(&p.view, 67, "unknown-user", hostile), 67);
    view_note(&p.view, "%s", hostile);
    page_read(&p);
    assert_harmless(p.err);
    assert_int_equal(p.out_size, 0);
    page_close(&p);
}

static void test_json_says_exactly_what_came(void **state)
{
    (void)state;
    json_t *value = json_pack("{s:s}", "text", hostile);
    char *text = view_json_text(value);
    assert_harmless(text);
    assert_non_null(strstr(text, "\\u202e"));
    assert_non_null(strstr(text, "\xf0\x9f\x98\x80")); /* what is harmless stays readable */
    json_t *back = json_loads(text, 0, NULL);
    assert_true(json_equal(value, back));
    json_decref(back);
    json_decref(value);
    free(text);
}

static void test_json_one_object_a_line(void **state)
{
    (void)state;
    struct page p;
    page_open(&p, VIEW_JSON);
    show(&p, VIEW_POST, post("a\nb", 0));
    show(&p, VIEW_POST, post("c", 0));
    assert_int_equal(view_done(&p.view, 0, NULL, "words"), 0);
    page_read(&p);
    size_t lines = 0;
    for (const char *at = p.out; *at; at++)
        lines += *at == '\n';
    assert_int_equal(lines, 2);
    assert_int_equal(p.err_size, 0);
    page_close(&p);
}

static void test_json_error(void **state)
{
    (void)state;
    struct page p;
    page_open(&p, VIEW_JSON);
    assert_int_equal(view_error(&p.view, CAM_ETAKEN, "ana is taken"), 73);
    page_read(&p);
    assert_string_equal(p.out, "{\"v\":1,\"error\":\"taken\",\"message\":\"ana is taken\"}\n");
    page_close(&p);
}

static void test_json_pending_is_one_object(void **state)
{
    (void)state;
    struct page p;
    page_open(&p, VIEW_JSON);
    p.view.lone_answer = true;
    show(&p, VIEW_POSTED, json_pack("{s:i,s:s}", "v", 1, "id", "5"));
    assert_int_equal(p.out_size, 0); /* held until its end is known */
    assert_int_equal(view_done(&p.view, 75, "pending", "2 waiting"), 75);
    page_read(&p);
    assert_string_equal(p.out, "{\"v\":1,\"id\":\"5\",\"error\":\"pending\",\"message\":\"2 waiting\"}\n");
    page_close(&p);
}

static void test_json_candidates_before_an_error(void **state)
{
    (void)state;
    struct page p;
    page_open(&p, VIEW_JSON);
    p.view.lone_answer = true;
    show(&p, VIEW_FOLLOW, json_pack("{s:s}", "user", "ana"));
    show(&p, VIEW_FOLLOW, json_pack("{s:s}", "user", "ana"));
    view_done(&p.view, 67, "ambiguous", "two");
    page_read(&p);
    assert_string_equal(p.out, "{\"user\":\"ana\"}\n{\"user\":\"ana\"}\n"
                               "{\"v\":1,\"error\":\"ambiguous\",\"message\":\"two\"}\n");
    page_close(&p);
}

static void test_error_to_people(void **state)
{
    (void)state;
    struct page p;
    page_open(&p, VIEW_PEOPLE);
    p.view.quiet = true; /* quiet silences notes, not errors */
    view_note(&p.view, "a note");
    assert_int_equal(view_error(&p.view, CAM_ENONODE, NULL), 69);
    page_read(&p);
    assert_string_equal(p.err, "camellia: no node is running\n");
    assert_int_equal(p.out_size, 0);
    page_close(&p);
}

static void test_age(void **state)
{
    (void)state;
    char age[VIEW_AGE_SIZE];
    static const struct { uint64_t age_ms; const char *text; } cases[] = {
        { 0, "now" }, { 1999, "now" }, { 2000, "2s" }, { 59999, "59s" }, { 60000, "1m" }, { 3599999, "59m" },
        { 3600000, "1h" }, { 86400000, "1d" }, { UINT64_C(2591999999), "29d" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(view_age(NOW_MS, NOW_MS - cases[i].age_ms, age), cases[i].text);
    assert_string_equal(view_age(NOW_MS, NOW_MS + 5000, age), "in 5s");
    assert_int_equal(strlen(view_age(NOW_MS, 1, age)), 10);
    assert_true(strlen(view_age(0, UINT64_MAX, age)) < VIEW_AGE_SIZE);
    assert_string_equal(view_clock(NOW_MS, 0, age), "never");
    assert_int_equal(strlen(view_clock(NOW_MS, NOW_MS, age)), 5);
    assert_int_equal(strlen(view_clock(NOW_MS, NOW_MS - UINT64_C(200000000), age)), 16);
}

/* Every kind but NOTHING has a renderer, and no row, however empty or odd, harms one. */
static void test_every_kind_renders(void **state)
{
    (void)state;
    for (int kind = VIEW_NOTHING; kind < VIEW_KINDS; kind++) {
        struct page p;
        page_open(&p, VIEW_PEOPLE);
        show(&p, (enum view_kind)kind, json_object());
        if (kind == VIEW_NOTHING)
            assert_int_equal(p.out_size, 0);
        else
            assert_true(p.out_size > 0);
        show(&p, (enum view_kind)kind,
             json_pack("{s:i,s:n,s:[],s:s,s:f}", "user", 7, "id", "text", "time", "soon", "rtt_ms", 1.5));
        page_close(&p);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    struct page p;
    page_open(&p, VIEW_PEOPLE);
    show(
        &p, VIEW_POSTED,
        json_pack("{s:s,s:i,s:i,s:i,s:i}", "id", "9", "seq", 4, "followers", 3, "received", 2, "waiting", 1));
    assert_string_equal(p.out, "post 9, your #4: 2 of 3 received, 1 waiting\n");
    page_close(&p);
    page_open(&p, VIEW_PEOPLE);
    show(&p, VIEW_PROFILE,
         json_pack("{s:s,s:s,s:i,s:i,s:i,s:i,s:I,s:i}", "user", "bob", "id", ID, "posts", 127, "followers", 6,
                   "following", 9, "complete_to", 120, "as_of", (json_int_t)0, "gaps", 7));
    assert_non_null(strstr(p.out, "127, complete to #120, as of never"));
    assert_non_null(strstr(p.out, "7 posts"));
    assert_non_null(strstr(p.out, "followers   6\n"));
    page_close(&p);
    page_open(&p, VIEW_PEOPLE);
    show(&p, VIEW_PROFILE,
         json_pack("{s:s,s:s,s:i,s:i,s:b,s:i,s:i,s:I,s:i}", "user", "bob", "id", ID, "posts", 1, "followers", 41137,
                   "followers_about", 1, "following", 9, "complete_to", 1, "as_of", (json_int_t)0, "gaps", 0));
    assert_non_null(strstr(p.out, "followers   about 41000\n"));
    page_close(&p);
}

int main(void)
{
    setlocale(LC_CTYPE, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_a_terminal),
        cmocka_unit_test(test_post),
        cmocka_unit_test(test_post_plain_says_it_in_words),
        cmocka_unit_test(test_post_wraps),
        cmocka_unit_test(test_post_via_and_key_changed),
        cmocka_unit_test(test_post_of_a_fork),
        cmocka_unit_test(test_post_via_by_name),
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_status_shows_what_is_not_zero),
        cmocka_unit_test(test_fits_the_screen),
        cmocka_unit_test(test_gap_line),
        cmocka_unit_test(test_hostile_text),
        cmocka_unit_test(test_hostile_message),
        cmocka_unit_test(test_json_says_exactly_what_came),
        cmocka_unit_test(test_json_one_object_a_line),
        cmocka_unit_test(test_json_error),
        cmocka_unit_test(test_json_pending_is_one_object),
        cmocka_unit_test(test_json_candidates_before_an_error),
        cmocka_unit_test(test_error_to_people),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_every_kind_renders),
        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
