#include "core/conf.h"
#include "core/conf_key.h"
#include "core/err.h"
#include "core/text.h"
#include <assert.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_S 86400
static const uint32_t unit_s[UNITS] = { 365 * DAY_S, 30 * DAY_S, 7 * DAY_S, DAY_S, 3600, 60, 1 };

struct parse {
    const char *at, *end;      /* the text that libinih has not been given yet */
    int line;                  /* the one being read, from 1 */
    int seen[CONF_KEYS_MAX];   /* the line of each key, 0 for none */
    int error_line;            /* 0 while nothing is wrong */
    char *error;
    int span_line;             /* the last of YEARS .. SECONDS */
    struct conf_draft draft;
};

/* The first error stands. */
__attribute__((format(printf, 3, 4)))
static void fail(struct parse *p, int line, const char *format, ...)
{
    if (p->error_line)
        return;
    p->error_line = line;
    int n = snprintf(p->error, CONF_ERROR_SIZE, "config.ini line %d: ", line);
    va_list args;
    va_start(args, format);
    vsnprintf(p->error + n, CONF_ERROR_SIZE - (size_t)n, format, args);
    va_end(args);
}

static int *seen(struct parse *p, const char *section, const char *key)
{
    return &p->seen[conf_row_find(section, key) - conf_rows];
}

/* "DEFAULT, BOOTSTRAP, ..." or, of one section, its keys. Returns the section as the table spells it. */
static const char *list_words(const char *section, char *ret, size_t size)
{
    const char *name = NULL, *last = "";
    size_t used = 0;
    ret[0] = 0;
    for (const struct conf_row *row = conf_rows; row->section && used < size; row++) {
        if (section ? !conf_word_equal(section, row->section) : !strcmp(last, row->section))
            continue;
        last = name = row->section;
        used += (size_t)snprintf(ret + used, size - used, "%s%s", used ? ", " : "",
                                 section ? row->key : row->section);
    }
    return name;
}

/* libinih: a line goes in through read_line, a key and its value come out in take_value. */

static int take_value(void *user, const char *section, const char *key, const char *value)
{
    struct parse *p = user;
    char wrong[CONF_SHOWN_SIZE], why[CONF_WHY_SIZE], list[160];
    conf_shown(key, wrong);
    if (p->error_line)
        return 0;
    if (!*section) {
        fail(p, p->line, "%s stands before any [SECTION]", wrong);
        return 0;
    }
    const struct conf_row *row = conf_row_find(section, key);
    if (!row) {
        const char *name = list_words(section, list, sizeof list);
        fail(p, p->line, "[%s] has no key %s; it has %s", name, wrong, list);
        return 0;
    }
    int *before = &p->seen[row - conf_rows];
    if (*before && row->kind != CONF_JOIN && row->kind != CONF_ROUTER && row->kind != CONF_SERVER) {
        fail(p, p->line, "[%s] %s was given before, in line %d", row->section, row->key, *before);
        return 0;
    }
    if (row->kind == CONF_SPAN) { /* the first one given sets the default aside: SECONDS = 5 is 5 seconds */
        if (!p->span_line)
            memset(p->draft.span, 0, sizeof p->draft.span);
        p->span_line = p->line;
    }
    if (conf_row_set(row, *before > 0, value, &p->draft, wrong, why)) {
        fail(p, p->line, "[%s] %s = %s: %s", row->section, row->key, wrong, why);
        return 0;
    }
    *before = p->line;
    struct conf *c = &p->draft.conf;
    if (!row->listed && strcmp(row->section, "DEFAULT") == 0 && c->note_count < CONF_NOTES_MAX)
        snprintf(c->notes[c->note_count++], CONF_ERROR_SIZE,
                 "config.ini line %d: [%s] %s is not used: posts arrive where IP and PORT say", p->line,
                 row->section, row->key);
    return 1;
}

/* What libinih would cut, join to the line above or pass over in silence is refused before it sees it. */
static void check_line(struct parse *p, const char *line, size_t size)
{
    char section[CONF_LINE_MAX + 1] = "", text[CONF_SHOWN_SIZE], list[160];
    const char *start = line + strspn(line, " \t"), *close;
    conf_shown(start, text);
    if (size > CONF_LINE_MAX) {
        fail(p, p->line, "longer than %d bytes", CONF_LINE_MAX);
    } else if (!*start || *start == ';' || *start == '#') {
        return;
    } else if (start > line) {
        fail(p, p->line, "\"%s\" is indented; a key begins at the margin and a value ends with its line",
             text);
    } else if (*start == '[' && (close = strchr(start, ']'))) {
        memcpy(section, start + 1, (size_t)(close - start - 1));
        close += 1 + strspn(close + 1, " \t");
        if (!*section || !list_words(section, list, sizeof list)) {
            list_words(NULL, list, sizeof list);
            conf_shown(section, text);
            fail(p, p->line, "there is no section [%s]; there are %s", text, list);
        } else if (*close && *close != ';' && *close != '#') {
            fail(p, p->line, "something stands behind [%s]", section);
        }
    }
}

/* As fgets. `cap` is what libinih can hold of a line; check_line lets nothing longer in. */
static char *read_line(char *ret, int cap, void *stream)
{
    struct parse *p = stream;
    char line[CONF_LINE_MAX + 1];
    if (p->at == p->end || p->error_line)
        return NULL;
    const char *newline = memchr(p->at, '\n', (size_t)(p->end - p->at));
    size_t size = (size_t)((newline ? newline : p->end) - p->at);
    const char *next = newline ? newline + 1 : p->end;
    if (size && p->at[size - 1] == '\r')
        size--;
    size_t copied = size < CONF_LINE_MAX ? size : CONF_LINE_MAX;
    memcpy(line, p->at, copied);
    line[copied] = 0;
    p->at = next;
    p->line++;
    check_line(p, line, size);
    if (p->error_line)
        return NULL;
    assert(copied + 2 <= (size_t)cap);
    snprintf(ret, (size_t)cap, "%s\n", line);
    return ret;
}

/* Text without NUL and controls. */
static void check_bytes(struct parse *p)
{
    const char *start = p->at;
    int line = 1;
    for (const char *at = p->at; at <= p->end && !p->error_line; at++) {
        if (at == p->end || *at == '\n') {
            if (text_check_utf8(start, (size_t)(at - start)))
                fail(p, line, "not valid UTF-8");
            start = at + 1;
            line++;
        } else if (((unsigned char)*at < 0x20 && *at != '\t' && *at != '\r') || *at == 0x7f ||
                   (*at == '\r' && (at + 1 == p->end || at[1] != '\n'))) {
            fail(p, line, "a control byte (0x%02x)", (unsigned char)*at);
        }
    }
}

/* What several keys say together. */
static void conclude(struct parse *p)
{
    struct conf *c = &p->draft.conf;
    int ip_line = *seen(p, "BOOTSTRAP", "IP"), port_line = *seen(p, "BOOTSTRAP", "PORT");
    uint64_t span = 0;
    for (int i = 0; i < UNITS; i++)
        span += (uint64_t)p->draft.span[i] * unit_s[i];

    if (port_line && !ip_line)
        fail(p, port_line, "[BOOTSTRAP] PORT without IP");
    if (ip_line && c->join_count == CONF_JOIN_MAX)
        fail(p, ip_line, "[BOOTSTRAP] IP: one more than the %d there can be, with those of JOIN",
             CONF_JOIN_MAX);
    else if (ip_line)
        c->join[c->join_count++] = p->draft.bootstrap;
    if (p->draft.lifespan_active && span == 0)
        fail(p, p->span_line, "[MESSAGE_LIFESPAN] is zero in all; to keep everything say ACTIVE = 0");
    if (p->draft.lifespan_active && span > UINT32_MAX)
        fail(p, p->span_line,
             "[MESSAGE_LIFESPAN] is over 136 years in all; to keep everything say ACTIVE = 0");
    c->lifespan_s = p->draft.lifespan_active ? (uint32_t)span : 0;
    c->sntp_count = p->draft.sntp_active ? c->sntp_count : 0;
    c->listen6.port = c->listen6.family ? c->listen.port : 0;
}

/* The way back: what keys would say this. */
static void draft_from(const struct conf *conf, struct conf_draft *ret)
{
    uint32_t s = conf->lifespan_s;
    memset(ret, 0, sizeof *ret);
    ret->conf = *conf;
    ret->bootstrap.port = CONF_BOOTSTRAP_PORT;
    ret->span[YEARS] = s / unit_s[YEARS];
    ret->span[DAYS] = s % unit_s[YEARS] / DAY_S;
    ret->span[HOURS] = s % DAY_S / 3600;
    ret->span[MINUTES] = s % 3600 / 60;
    ret->span[SECONDS] = s % 60;
    ret->lifespan_active = s > 0;
    ret->sntp_active = conf->sntp_count > 0;
}

void conf_defaults(struct conf *ret)
{
    static const struct conf_host routers[] = { /* those that other clients enter the public DHT by */
        { "router.bittorrent.com", 6881 }, { "dht.transmissionbt.com", 6881 },
        { "dht.libtorrent.org", 25401 },
    };

    memset(ret, 0, sizeof *ret);
    memcpy(ret->network, "camellia", sizeof "camellia");
    ret->listen.family = 4;
    ret->rescue = true;
    ret->rescue_after_s = 600;
    for (size_t i = 0; i < sizeof routers / sizeof *routers; i++)
        ret->rescue_join[ret->rescue_join_count++] = routers[i];
    ret->lifespan_s = 30 * DAY_S;
    for (int i = 0; i < 4; i++) {
        snprintf(ret->sntp[i].host, sizeof ret->sntp[i].host, "%d.pool.ntp.org", i);
        ret->sntp[i].port = CONF_NTP_PORT;
    }
    ret->sntp_count = 4;
    ret->k = 16;
    ret->alpha = 4;
    ret->key_cost = KEYFILE_MODERATE;
    ret->log_level = LOG_INFO;
}

int conf_parse(const char *text, size_t size, struct conf *ret, char ret_error[CONF_ERROR_SIZE])
{
    struct conf defaults;
    if (size > CONF_SIZE_MAX) {
        snprintf(ret_error, CONF_ERROR_SIZE, "config.ini: larger than %d bytes", CONF_SIZE_MAX);
        return CAM_ETOOBIG;
    }
    struct parse *p = calloc(1, sizeof *p);
    if (!p) {
        snprintf(ret_error, CONF_ERROR_SIZE, "config.ini: no memory to read it");
        return CAM_ESYS;
    }
    size_t mark = size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0; /* some editors leave one */
    p->at = text + mark;
    p->end = text + size;
    p->error = ret_error;
    conf_defaults(&defaults);
    draft_from(&defaults, &p->draft);

    check_bytes(p);
    if (!p->error_line) {
        int line = ini_parse_stream(read_line, p, take_value, p);
        if (line > 0 && (!p->error_line || line < p->error_line)) { /* its own complaint came first */
            p->error_line = 0;
            fail(p, line, "neither [SECTION] nor KEY = VALUE nor a comment");
        }
    }
    if (!p->error_line)
        conclude(p);
    int err = p->error_line ? CAM_ECONF : 0;
    if (!err)
        *ret = p->draft.conf;
    free(p);
    return err;
}

static bool hosts_equal(const struct conf_host *a, const struct conf_host *b, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(a[i].host, b[i].host) != 0 || a[i].port != b[i].port)
            return false;
    return true;
}

bool conf_equal(const struct conf *a, const struct conf *b)
{
    return !strcmp(a->network, b->network) && addr_equal(&a->listen, &b->listen) &&
           addr_equal(&a->listen6, &b->listen6) && a->join_count == b->join_count &&
           hosts_equal(a->join, b->join, a->join_count) && a->rescue == b->rescue &&
           a->rescue_after_s == b->rescue_after_s && a->rescue_join_count == b->rescue_join_count &&
           hosts_equal(a->rescue_join, b->rescue_join, a->rescue_join_count) &&
           a->lifespan_s == b->lifespan_s && a->sntp_count == b->sntp_count &&
           hosts_equal(a->sntp, b->sntp, a->sntp_count) && a->k == b->k && a->alpha == b->alpha &&
           a->read_only == b->read_only && a->key_cost == b->key_cost &&
           a->store_max_bytes == b->store_max_bytes && a->log_level == b->log_level;
}

int conf_get(const struct conf *conf, const char *section, const char *key, char *ret, size_t size)
{
    const struct conf_row *row = conf_row_find(section, key);
    struct conf_draft draft;
    if (!row || !row->listed)
        return CAM_ENOENT;
    draft_from(conf, &draft);
    struct bytes_out out = bytes_out(ret, size);
    conf_row_get(row, &draft, &out);
    bytes_put_u8(&out, 0);
    return out.err;
}

bool conf_key(int index, const char **ret_section, const char **ret_key)
{
    for (const struct conf_row *row = conf_rows; row->section; row++) {
        if (row->listed && index-- == 0) {
            *ret_section = row->section;
            *ret_key = row->key;
            return true;
        }
    }
    return false;
}
