#include "cli/view.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "core/err.h"
#include "core/identity.h"
#include "core/io_os.h"
#include "core/text.h"

#define COLUMNS_MIN 20
#define COLUMNS_MAX 100 /* longer lines are hard to read on however wide a screen */
#define INDENT 4        /* of a post's text */

#define BOLD "\033[1m"
#define DIM "\033[2m"
#define YELLOW "\033[33m"
#define RESET "\033[0m"

void view_init(struct view *v, enum view_mode mode, FILE *out, FILE *err)
{
    *v = (struct view){ .out = out, .err = err, .mode = mode };
    if (mode != VIEW_PEOPLE || fileno(out) < 0 || !isatty(fileno(out)))
        return;
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    v->colour = !(no_color && *no_color) && term && *term && strcmp(term, "dumb") != 0;
    struct winsize size;
    v->columns = ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

void view_clear(struct view *v)
{
    json_decref(v->held);
    v->held = NULL;
}

/* ---- reading rows ------------------------------------------------------------------------------------- */

const char *view_str(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text ? text : "";
}

int64_t view_int(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    return json_is_real(value) ? (int64_t)json_real_value(value) : json_integer_value(value);
}

bool view_bool(const json_t *row, const char *key) { return json_is_true(json_object_get(row, key)); }

/* ---- small texts -------------------------------------------------------------------------------------- */

static uint64_t view_now(const struct view *v) { return v->now_ms ? v->now_ms : io_os_now().wall_ms; }

const char *view_age(uint64_t now_ms, uint64_t then_ms, char ret[VIEW_AGE_SIZE])
{
    static const struct { uint64_t below_s, unit_s; const char *unit; } scale[] = {
        { 60, 1, "s" }, { 3600, 60, "m" }, { 86400, 3600, "h" }, { 30 * 86400, 86400, "d" },
    };
    bool ahead = then_ms > now_ms;
    uint64_t age_s = (ahead ? then_ms - now_ms : now_ms - then_ms) / 1000;
    if (age_s < 2)
        return strcpy(ret, "now");
    for (size_t i = 0; i < sizeof scale / sizeof *scale; i++)
        if (age_s < scale[i].below_s) {
            snprintf(ret, VIEW_AGE_SIZE, "%s%" PRIu64 "%s", ahead ? "in " : "", age_s / scale[i].unit_s,
                     scale[i].unit);
            return ret;
        }
    time_t at = (time_t)(then_ms / 1000);
    struct tm tm;
    if (!localtime_r(&at, &tm) || !strftime(ret, VIEW_AGE_SIZE, "%Y-%m-%d", &tm))
        strcpy(ret, "long ago");
    return ret;
}

const char *view_clock(uint64_t now_ms, uint64_t then_ms, char ret[VIEW_AGE_SIZE])
{
    if (!then_ms)
        return strcpy(ret, "never");
    time_t at = (time_t)(then_ms / 1000), now = (time_t)(now_ms / 1000);
    struct tm then_tm, now_tm;
    if (!localtime_r(&at, &then_tm) || !localtime_r(&now, &now_tm))
        return strcpy(ret, "?");
    bool today = then_tm.tm_year == now_tm.tm_year && then_tm.tm_yday == now_tm.tm_yday;
    if (!strftime(ret, VIEW_AGE_SIZE, today ? "%H:%M" : "%Y-%m-%d %H:%M", &then_tm))
        strcpy(ret, "?");
    return ret;
}

static void put_safe(FILE *f, const char *text, enum text_mode mode)
{
    char *safe = text_print_new(text, strlen(text), mode);
    fputs(safe ? safe : "?", f);
    free(safe);
}

static void put_colour(const struct view *v, const char *code)
{
    if (v->colour)
        fputs(code, v->out);
}

/* The first characters of a user id tell two people of one name apart. */
static void put_tag(FILE *f, const char *id) { fprintf(f, "#%.*s", TAG_SIZE - 1, id); }

static void put_user(const struct view *v, const char *name, const char *id)
{
    put_colour(v, BOLD);
    put_safe(v->out, *name ? name : "(no name)", TEXT_LINE);
    put_colour(v, RESET);
    if (*id) {
        put_colour(v, DIM);
        put_tag(v->out, id);
        put_colour(v, RESET);
    }
}

/* Text by lines, each behind `indent` spaces; wrapped when the view has columns. */
static void put_block(const struct view *v, const char *text, size_t indent)
{
    char *safe = text_print_new(text, strlen(text), TEXT_LINES);
    if (!safe)
        return;
    size_t columns = SIZE_MAX;
    if (v->columns) {
        columns = v->columns < COLUMNS_MIN   ? COLUMNS_MIN
                  : v->columns > COLUMNS_MAX ? COLUMNS_MAX
                                             : v->columns;
        columns -= indent;
    }
    struct text_wrap wrap = text_wrap(safe, strlen(safe), columns);
    struct span line;
    while (text_wrap_next(&wrap, &line))
        fprintf(v->out, "%*s%.*s\n", line.size ? (int)indent : 0, "", (int)line.size,
                (const char *)line.data);
    free(safe);
}

static const char *plural(int64_t n, const char *one, const char *many) { return n == 1 ? one : many; }

/* ---- a renderer for each kind of row ------------------------------------------------------------------- */

static void view_account(struct view *v, const json_t *row)
{
    put_user(v, view_str(row, "user"), view_str(row, "id"));
    fprintf(v->out, "\n  id       %s\n", view_str(row, "id"));
    const char *address = view_str(row, "address"), *node = view_str(row, "node");
    fprintf(v->out, "  node     %s%s%s%s\n", *node ? node : "running", *address ? " at " : "", address,
            view_bool(row, "locked") ? ", locked (it serves, but cannot sign: camellia login)" : "");
    if (view_bool(row, "name_pending"))
        fputs("  name     not claimed yet; the node goes on trying\n", v->out);
}

static void view_posted(struct view *v, const json_t *row)
{
    int64_t followers = view_int(row, "followers"), waiting = view_int(row, "waiting");
    fprintf(v->out, "post %s, your #%" PRId64 ": ", view_str(row, "id"), view_int(row, "seq"));
    if (!followers)
        fputs("saved; nobody follows you yet\n", v->out);
    else if (waiting == followers)
        fprintf(v->out, "saved, on its way to %" PRId64 " %s\n", followers,
                plural(followers, "follower", "followers"));
    else if (waiting)
        fprintf(v->out, "%" PRId64 " of %" PRId64 " received, %" PRId64 " waiting\n",
                view_int(row, "received"), followers, waiting);
    else if (followers == 1)
        fputs("received by your follower\n", v->out);
    else
        fprintf(v->out, "received by all %" PRId64 " followers\n", followers);
}

static void view_gap(struct view *v, const json_t *row)
{
    int64_t missing = view_int(row, "gaps");
    put_colour(v, YELLOW);
    fputs("  -- ", v->out);
    const char *name = view_str(row, "author");
    put_safe(v->out, *name ? name : view_str(row, "user"), TEXT_LINE);
    if (missing > 0)
        fprintf(v->out, ": %" PRId64 " %s missing, asking for %s --", missing,
                plural(missing, "post", "posts"), plural(missing, "it", "them"));
    else
        fputs(": posts missing, asking for them --", v->out);
    put_colour(v, RESET);
    fputc('\n', v->out);
}

static void view_post(struct view *v, const json_t *row)
{
    if (view_bool(row, "gap")) {
        view_gap(v, row);
        return;
    }
    char age[VIEW_AGE_SIZE];
    bool plain = v->mode == VIEW_PLAIN, unread = view_bool(row, "unread");
    fputs(plain ? "" : unread ? "* " : "  ", v->out);
    put_colour(v, BOLD);
    put_safe(v->out, *view_str(row, "author") ? view_str(row, "author") : "(no name)", TEXT_LINE);
    put_colour(v, RESET);
    put_colour(v, DIM);
    fprintf(v->out, "  %s  ", view_age(view_now(v), (uint64_t)view_int(row, "time"), age));
    put_tag(v->out, view_str(row, "author_id"));
    const char *via = view_str(row, "via"), *via_user = view_str(row, "via_user");
    if (*via) {
        fputs("  via ", v->out);
        put_safe(v->out, via_user, TEXT_LINE);
        put_tag(v->out, via);
    }
    put_colour(v, RESET);
    if (plain && unread)
        fputs("  unread", v->out);
    if (view_bool(row, "fork")) {
        put_colour(v, YELLOW);
        fputs("  fork", v->out);
        put_colour(v, RESET);
    }
    if (view_bool(row, "key_changed")) {
        put_colour(v, YELLOW);
        fputs("  (another key than the one you know by this name!)", v->out);
        put_colour(v, RESET);
    }
    fputc('\n', v->out);
    put_block(v, view_str(row, "text"), INDENT);
}

static void view_user(struct view *v, const json_t *row)
{
    put_user(v, view_str(row, "user"), view_str(row, "id"));
    fprintf(v->out, "%s\n", view_bool(row, "pending") ? "  (not published yet)" : "");
}

static void view_follow(struct view *v, const json_t *row)
{
    if (!json_object_get(row, "following")) { /* one of several people of that name */
        view_user(v, row);
        return;
    }
    bool following = view_bool(row, "following");
    fputs(following ? "you follow " : "you do not follow ", v->out);
    put_user(v, view_str(row, "user"), view_str(row, "id"));
    if (view_bool(row, "pending"))
        fputs(" (not published yet; the node goes on trying)", v->out);
    fputc('\n', v->out);
}

/* An estimate is good to two figures, and says no more. */
static void put_count(struct view *v, int64_t n, bool is_about)
{
    int64_t unit = 1;

    while (is_about && n / unit >= 100)
        unit *= 10;
    fprintf(v->out, "%s%" PRId64, is_about ? "about " : "", (n + unit / 2) / unit * unit);
}

static void view_profile(struct view *v, const json_t *row)
{
    if (!json_object_get(row, "posts")) { /* one of several people of that name */
        view_user(v, row);
        return;
    }
    char clock[VIEW_AGE_SIZE];
    put_user(v, view_str(row, "user"), view_str(row, "id"));
    fprintf(v->out, "\n  id          %s\n", view_str(row, "id"));
    if (*view_str(row, "bio"))
        put_block(v, view_str(row, "bio"), 2);
    int64_t gaps = view_int(row, "gaps");
    fprintf(v->out, "  posts       %" PRId64 ", complete to #%" PRId64 ", as of %s\n", view_int(row, "posts"),
            view_int(row, "complete_to"), view_clock(view_now(v), (uint64_t)view_int(row, "as_of"), clock));
    if (gaps)
        fprintf(v->out, "  missing     %" PRId64 " %s\n", gaps, plural(gaps, "post", "posts"));
    fputs("  followers   ", v->out);
    put_count(v, view_int(row, "followers"), view_bool(row, "followers_about"));
    fprintf(v->out, "\n  following   %" PRId64 "\n", view_int(row, "following"));
}

static void view_suggest(struct view *v, const json_t *row)
{
    put_user(v, view_str(row, "user"), view_str(row, "id"));
    fputs("  ", v->out);
    put_safe(v->out, view_str(row, "reason"), TEXT_LINE);
    fputc('\n', v->out);
}

static void put_duration(FILE *f, int64_t s)
{
    if (s >= 86400)
        fprintf(f, "%" PRId64 "d ", s / 86400);
    if (s >= 3600)
        fprintf(f, "%" PRId64 "h ", s / 3600 % 24);
    if (s >= 60)
        fprintf(f, "%" PRId64 "m", s / 60 % 60);
    else
        fprintf(f, "%" PRId64 "s", s);
}

static void put_bytes(FILE *f, int64_t n)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB" };
    double v = (double)n;
    size_t unit = 0;
    for (; v >= 1000 && unit + 1 < sizeof units / sizeof *units; unit++)
        v /= 1000;
    fprintf(f, unit ? "%.1f %s" : "%.0f %s", v, units[unit]);
}

#define LABEL 9 /* columns of the words at the left of a status */

/* "label    text", the text wrapped behind the label on a screen. */
static void put_labelled(const struct view *v, const char *label, const char *text)
{
    size_t columns = v->columns < COLUMNS_MIN + LABEL ? COLUMNS_MIN : v->columns - LABEL;
    struct text_wrap wrap = text_wrap(text, strlen(text), v->columns ? columns : SIZE_MAX);
    struct span line;
    for (; text_wrap_next(&wrap, &line); label = "")
        fprintf(v->out, "%-*s%.*s\n", LABEL, label, (int)line.size, (const char *)line.data);
}

/* "ping 3, get 5": the counters of an object that are not zero, all of them when verbose. */
static void put_counters(struct view *v, const char *label, const json_t *counters, int64_t bytes)
{
    const char *key, *comma = "";
    char *text = NULL;
    size_t size = 0;
    json_t *value;
    bool any = bytes > 0 || v->verbose;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        return;
    if (bytes >= 0) {
        put_bytes(f, bytes);
        comma = ": ";
    }
    json_object_foreach((json_t *)(uintptr_t)counters, key, value) {
        if (!json_integer_value(value) && !v->verbose)
            continue;
        any = true;
        fprintf(f, "%s%s %" JSON_INTEGER_FORMAT, comma, key, json_integer_value(value));
        comma = ", ";
    }
    if (fclose(f) == 0 && any)
        put_labelled(v, label, text);
    free(text);
}

/* Every kind of message, both ways. */
static void put_traffic(const struct view *v, const json_t *dht)
{
    const json_t *in = json_object_get(dht, "in"), *out = json_object_get(dht, "out");
    const char *key;
    json_t *value;
    fprintf(v->out, "%-*s%-14s %12s %12s\n", LABEL, "traffic", "", "in", "out");
    fprintf(v->out, "%-*s%-14s %12" PRId64 " %12" PRId64 "\n", LABEL, "", "bytes", view_int(dht, "in_bytes"),
            view_int(dht, "out_bytes"));
    json_object_foreach((json_t *)(uintptr_t)in, key, value)
        fprintf(v->out, "%-*s%-14s %12" JSON_INTEGER_FORMAT " %12" PRId64 "\n", LABEL, "", key,
                json_integer_value(value), view_int(out, key));
}

static void put_lookups(const struct view *v, const json_t *lookup)
{
    char text[200];
    int used = snprintf(text, sizeof text, "%" PRId64 " done, %" PRId64 " running", view_int(lookup, "done"),
                        view_int(lookup, "running"));
    if (json_is_real(json_object_get(lookup, "success")))
        snprintf(text + used, sizeof text - (size_t)used,
                 ", %.1f %% found, half within %" PRId64 " ms, 99 %% within %" PRId64 " ms",
                 100 * json_real_value(json_object_get(lookup, "success")), view_int(lookup, "p50_ms"),
                 view_int(lookup, "p99_ms"));
    put_labelled(v, "lookups", text);
}

/* The Kademlia network as this node sees it. */
static void view_dht(struct view *v, const json_t *dht)
{
    const json_t *table = json_object_get(dht, "table");
    if (!table)
        return; /* an older node */
    int64_t buckets = view_int(table, "buckets"), items = view_int(dht, "items"),
            entries = view_int(dht, "entries"), peers = view_int(dht, "peers");
    fprintf(v->out, "table    %" PRId64 " live, %" PRId64 " cached, in %" PRId64 " %s\n",
            view_int(table, "live"), view_int(table, "cached"), buckets,
            plural(buckets, "bucket", "buckets"));
    fprintf(v->out, "holds    %" PRId64 " %s, %" PRId64 " %s, %" PRId64 " %s for others, ", items,
            plural(items, "item", "items"), entries, plural(entries, "entry", "entries"), peers,
            plural(peers, "peer", "peers"));
    put_bytes(v->out, view_int(dht, "store_bytes"));
    fputc('\n', v->out);
    put_lookups(v, json_object_get(dht, "lookup"));
    if (v->verbose) {
        put_traffic(v, dht);
    } else {
        put_counters(v, "in", json_object_get(dht, "in"), view_int(dht, "in_bytes"));
        put_counters(v, "out", json_object_get(dht, "out"), view_int(dht, "out_bytes"));
    }
    put_counters(v, "dropped", json_object_get(dht, "drops"), -1);
    put_counters(v, "denied", json_object_get(dht, "refusals"), -1);
    if (v->verbose)
        fprintf(v->out, "timeouts %" PRId64 "\n", view_int(dht, "timeouts"));
}

/* Below the list of its nodes. */
static void view_network(struct view *v, const json_t *row)
{
    fputc('\n', v->out);
    view_dht(v, json_object_get(row, "dht"));
}

/* Only when there is something to say: it looks, or will soon. */
static void view_rescue(struct view *v, const json_t *rescue)
{
    int64_t contacts = view_int(rescue, "contacts");
    if (view_bool(rescue, "open"))
        fprintf(v->out, "rescue   looking on the public DHT: %" PRId64 " %s there, %" PRId64 " found\n",
                contacts, plural(contacts, "node", "nodes"), view_int(rescue, "found"));
    else if (json_is_integer(json_object_get(rescue, "opens_in_s"))) {
        fputs("rescue   looks on the public DHT in ", v->out);
        put_duration(v->out, view_int(rescue, "opens_in_s"));
        fputc('\n', v->out);
    }
}

static void view_status(struct view *v, const json_t *row)
{
    const json_t *clock = json_object_get(row, "clock"), *rescue = json_object_get(row, "rescue");
    int64_t peers = view_int(row, "peers"), outbox = view_int(row, "outbox");
    fputs("user     ", v->out);
    put_safe(v->out, *view_str(row, "user") ? view_str(row, "user") : "(none)", TEXT_LINE);
    fprintf(v->out, "%s\nnode     pid %" PRId64 " at %s, up ",
            view_bool(row, "locked") ? ", locked: camellia login" : "", view_int(row, "pid"),
            view_str(row, "address"));
    put_duration(v->out, view_int(row, "uptime_s"));
    fprintf(v->out, "\nnode id  %s\npeers    %" PRId64 "%s\n", view_str(row, "node_id"), peers,
            peers ? "" : "  (alone: nobody can be reached now)");
    view_rescue(v, rescue);
    if (view_int(clock, "servers"))
        fprintf(v->out, "clock    %+" PRId64 " ms, within %" PRId64 " ms, by %" PRId64 " %s\n",
                view_int(clock, "offset_ms"), view_int(clock, "error_ms"), view_int(clock, "servers"),
                plural(view_int(clock, "servers"), "server", "servers"));
    else
        fputs("clock    unsynchronized (this machine's own)\n", v->out);
    fprintf(v->out, "outbox   %" PRId64 " %s waiting\nstore    %.1f MB\nunread   %" PRId64 "\n", outbox,
            plural(outbox, "post", "posts"), (double)view_int(row, "store_bytes") / 1e6,
            view_int(row, "unread"));
    if (view_int(row, "refused"))
        fprintf(v->out, "refused  %" PRId64 " messages (forged, stale or strangers')\n",
                view_int(row, "refused"));
    view_dht(v, json_object_get(row, "dht"));
}

/* A node on a line of 80 columns: id, address, round trip, and when it was last heard. */
static void view_peer(struct view *v, const json_t *row)
{
    char age[VIEW_AGE_SIZE];
    fprintf(v->out, "%s  %-21s", view_str(row, "node_id"), view_str(row, "address"));
    if (json_object_get(row, "rtt_ms"))
        fprintf(v->out, " %4" PRId64 " ms", view_int(row, "rtt_ms"));
    if (json_object_get(row, "age_s"))
        fprintf(v->out, " %4s", view_age((uint64_t)view_int(row, "age_s") * 1000, 0, age));
    fputc('\n', v->out);
}

/* A row of a traced find is a hop on the way, or has its rank among the closest; of another, neither. */
static void view_found(struct view *v, const json_t *row)
{
    int64_t hop = view_int(row, "hop"), rank = view_int(row, "rank"), closer = view_int(row, "closer_bits"),
            learned = view_int(row, "learned"), near = 160 - view_int(row, "distance_bits");
    if (!hop) {
        if (rank == 1)
            fputs("closest:\n", v->out);
        if (rank)
            fprintf(v->out, "%3" PRId64 "  ", rank);
        view_peer(v, row);
        return;
    }
    if (hop == 1)
        fputs("hop  node      address                  answer   ID's first bits   new nodes\n", v->out);
    fprintf(v->out, "%3" PRId64 "  %.8s  %-21s  %5" PRId64 " ms   %3" PRId64 " same", hop,
            view_str(row, "node_id"), view_str(row, "address"), view_int(row, "rtt_ms"), near);
    if (closer)
        fprintf(v->out, ", +%-4" PRId64, closer);
    else
        fputs("       ", v->out);
    fprintf(v->out, "   %" PRId64 "\n", learned);
}

static void view_outbox(struct view *v, const json_t *row)
{
    int64_t received = view_int(row, "received"), waiting = view_int(row, "waiting");
    fprintf(v->out,
            "post %s: %" PRId64 " of %" PRId64 " received, %" PRId64 " waiting, next try in %" PRId64 " s\n",
            view_str(row, "id"), received, received + waiting, waiting, view_int(row, "next_try_s"));
}

static void view_dht_get(struct view *v, const json_t *row)
{
    const char *value = json_string_value(json_object_get(row, "value"));
    if (value)
        put_block(v, value, 0);
    else
        fprintf(v->out, "%s\n", view_str(row, "value_hex"));
    int64_t holders = view_int(row, "holders");
    view_note(v, "%" PRId64 " %s it", holders, plural(holders, "node holds", "nodes hold"));
}

static void view_dht_put(struct view *v, const json_t *row)
{
    int64_t holders = view_int(row, "holders");
    fprintf(v->out, "%s\n", view_str(row, "target"));
    view_note(v, "stored at %" PRId64 " %s", holders, plural(holders, "node", "nodes"));
}

static void view_dht_peer(struct view *v, const json_t *row)
{
    fprintf(v->out, "%s\n", view_str(row, "address"));
}

static void view_dht_announce(struct view *v, const json_t *row)
{
    int64_t holders = view_int(row, "holders"), port = view_int(row, "port");
    fprintf(v->out, "announced at %" PRId64 " %s", holders, plural(holders, "node", "nodes"));
    if (port)
        fprintf(v->out, ", with port %" PRId64, port);
    fputc('\n', v->out);
}

typedef void (*renderer)(struct view *, const json_t *);
static const renderer renderers[VIEW_KINDS] = {
    [VIEW_NOTHING] = NULL,
    [VIEW_ACCOUNT] = view_account,   [VIEW_POSTED] = view_posted,     [VIEW_POST] = view_post,
    [VIEW_FOLLOW] = view_follow,     [VIEW_USER] = view_user,         [VIEW_PROFILE] = view_profile,
    [VIEW_SUGGEST] = view_suggest,   [VIEW_STATUS] = view_status,     [VIEW_PEER] = view_peer,
    [VIEW_NETWORK] = view_network,
    [VIEW_OUTBOX] = view_outbox,     [VIEW_DHT_PING] = view_peer,     [VIEW_DHT_FIND] = view_found,
    [VIEW_DHT_GET] = view_dht_get,   [VIEW_DHT_PUT] = view_dht_put,
    [VIEW_DHT_PEER] = view_dht_peer, [VIEW_DHT_ANNOUNCE] = view_dht_announce,
};

/* ---- JSON ---------------------------------------------------------------------------------------------- */

/* Is this one character shown as it is? Marks and joiners that need a neighbour count as no: an escape in
 * JSON costs nothing but looks. */
static bool is_shown(const char *at, size_t size)
{
    char out[TEXT_PRINT_SIZE(16)];
    return text_print(out, sizeof out, at, size, TEXT_LINE) == size && memcmp(out, at, size) == 0;
}

char *view_json_text(const json_t *value)
{
    char *plain = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY), *text = NULL;
    size_t size = 0, left = plain ? strlen(plain) : 0, took;
    FILE *f = plain ? open_memstream(&text, &size) : NULL;
    for (const char *at = plain; f && left; at += took, left -= took) {
        uint32_t c;
        took = text_decode(at, left, &c);
        if (c < 0x7f || (c != TEXT_INVALID && is_shown(at, took)))
            fwrite(at, 1, took, f);
        else if (c > 0xffff && c != TEXT_INVALID)
            fprintf(f, "\\u%04x\\u%04x", 0xd800 + (unsigned)((c - 0x10000) >> 10),
                    0xdc00 + (unsigned)(c & 0x3ff));
        else
            fprintf(f, "\\u%04x", c == TEXT_INVALID ? 0xfffdu : (unsigned)c);
    }
    free(plain);
    if (f && fclose(f) == 0)
        return text;
    free(text);
    return NULL;
}

static void put_json(struct view *v, const json_t *row)
{
    char *text = view_json_text(row);
    fprintf(v->out, "%s\n", text ? text : "{\"v\":1,\"error\":\"system\",\"message\":\"out of memory\"}");
    fflush(v->out); /* a reader at the other end of a pipe waits for whole rows */
    free(text);
}

/* ---- the three ways out
 * ------------------------------------------------------------------------------------ */

void view_row(struct view *v, enum view_kind kind, const json_t *row)
{
    if (v->kept)
        json_array_append_new(v->kept, json_deep_copy(row));
    if (v->mode != VIEW_JSON) {
        if (renderers[kind])
            renderers[kind](v, row);
        fflush(v->out);
        return;
    }
    if (!v->lone_answer) {
        put_json(v, row);
        return;
    }
    if (v->held)
        put_json(v, v->held);
    json_decref(v->held);
    v->held = json_deep_copy(row);
}

void view_note(struct view *v, const char *format, ...)
{
    if (v->quiet || v->mode == VIEW_JSON)
        return;
    va_list args;
    va_start(args, format);
    char *text = NULL;
    if (vasprintf(&text, format, args) >= 0) {
        put_safe(v->err, text, TEXT_LINES);
        fputc('\n', v->err);
        free(text);
    }
    va_end(args);
}

int view_done(struct view *v, int status, const char *word, const char *message)
{
    if (!message)
        message = "";
    if (v->mode == VIEW_JSON) {
        /* "Kept, not yet done" is an answer with a flaw, and stays one object; other errors stand alone. */
        bool merge = v->held && status == err_status(CAM_EPENDING);
        if (v->held && !merge)
            put_json(v, v->held);
        json_t *last = merge ? v->held : status ? json_pack("{s:i}", "v", 1) : NULL;
        if (last) {
            json_object_set_new(last, "error", json_string(word && *word ? word : "unknown"));
            json_object_set_new(last, "message", json_string(message));
            put_json(v, last);
        }
        if (last != v->held)
            json_decref(last);
        view_clear(v);
    } else if (status) {
        fputs("camellia: ", v->err);
        put_safe(v->err, *message ? message : word ? word : "failed", TEXT_LINES);
        fputc('\n', v->err);
    } else if (*message) {
        view_note(v, "%s", message);
    }
    return status;
}

int view_error(struct view *v, int err, const char *message)
{
    return view_done(v, err_status(err), err_word(err), message ? message : err_text(err));
}
