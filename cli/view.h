/* Rows for people, or for scripts.
 *
 * What the node answers are JSON rows (docs/protocol.md, section 7). A view writes them as one JSON object a
 * line (--json), or as text: wrapped and perhaps coloured on a terminal, whole lines elsewhere and with
 * --plain.
 * Data goes to `out`, words about it to `err`.
 *
 * Invariant: whatever a peer may have written goes through text_print; in JSON the code points that
 * text_print would not let through are \u escapes, so neither form can steer a terminal and JSON still says
 * exactly what came.
 *
 *     struct view view;
 *     view_init(&view, VIEW_PEOPLE, stdout, stderr);
 *     view_row(&view, VIEW_POST, row);
 *     return view_error(&view, CAM_ENOENT, "nobody here is called bob");      // the exit status
 */
#ifndef CLI_VIEW_H
#define CLI_VIEW_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum view_mode {
    VIEW_PEOPLE,
    VIEW_PLAIN, /* for screen readers and pipes: no wrapping, no colour, words in the place of marks */
    VIEW_JSON,
};

enum view_kind { /* which renderer a command's rows take */
    VIEW_NOTHING,
    VIEW_ACCOUNT,
    VIEW_POSTED,
    VIEW_POST,
    VIEW_FOLLOW,
    VIEW_USER,
    VIEW_PROFILE,
    VIEW_SUGGEST,
    VIEW_STATUS,
    VIEW_PEER,
    VIEW_NETWORK, /* of a status row what the node sees of the network */
    VIEW_OUTBOX,
    VIEW_DHT_PING,
    VIEW_DHT_FIND,
    VIEW_DHT_GET,
    VIEW_DHT_PUT,
    VIEW_DHT_PEER,
    VIEW_DHT_ANNOUNCE,
    VIEW_KINDS,
};

struct view {
    FILE *out, *err;   /* borrowed */
    enum view_mode mode;
    bool colour;
    bool verbose;      /* details that few want: counters that are zero */
    bool quiet;        /* no words on err but errors */
    bool lone_answer;  /* the command gives one row: in JSON "pending" is merged into it, so scripts read one
                          object */
    size_t columns;    /* of the screen; 0: do not wrap */
    uint64_t now_ms;   /* ages count from here; 0: the clock is asked at each row */
    json_t *kept;      /* borrowed array, or NULL: each row is put in it too, to be shown again */
    json_t *held;      /* lone_answer's row until its end is known */
};

/* Looks at `out`: a terminal gives columns, and colours unless NO_COLOR is set or TERM is dumb. */
void view_init(struct view *v, enum view_mode mode, FILE *out, FILE *err);
void view_clear(struct view *v);

void view_row(struct view *v, enum view_kind kind, const json_t *row);
/* Words for a person on err, with a newline; nothing when quiet or in JSON. Peer text in it is made safe. */
void view_note(struct view *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The end of a command: JSON gets what is held back. `status` 0 with a message is a note, else an error with
 * its word. Returns `status`. */
int view_done(struct view *v, int status, const char *word, const char *message);
/* An error of our own, with err.h's word; `message` NULL takes err.h's text. Returns the exit status. */
int view_error(struct view *v, int err, const char *message);

/* Pieces, also for the menu. */

#define VIEW_AGE_SIZE 24
/* "now", "12s", "2m", "3h", "5d", then a date; "in 3s" for what is ahead. Returns ret. */
const char *view_age(uint64_t now_ms, uint64_t then_ms, char ret[VIEW_AGE_SIZE]);
/* Local time: "14:02" within the day of now_ms, else "2024-05-01 14:02"; "never" for 0. Returns ret. */
const char *view_clock(uint64_t now_ms, uint64_t then_ms, char ret[VIEW_AGE_SIZE]);
/* JSON on one line in which nothing can steer a terminal; the caller frees. NULL: no memory. */
char *view_json_text(const json_t *value);
/* The field as text ("" when it is missing), as a number (0), as a truth (false). */
const char *view_str(const json_t *row, const char *key);
int64_t view_int(const json_t *row, const char *key);
bool view_bool(const json_t *row, const char *key);

#endif
