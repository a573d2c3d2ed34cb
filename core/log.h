/* The log: one line a message, with a level and the time, handed to a sink.
 *
 * Pure: the time comes with the call and the sink is injected (stderr or a file: io_os.h). A message is
 * always one line of at most LOG_LINE_MAX bytes whatever was put in it: it passes text_print (core/text.h),
 * so nothing that a peer sent can forge a line or drive a terminal.
 *
 *     struct io_os_log file; io_os_log_open(&file, path);
 *     struct log log = { LOG_INFO, io_os_log_sink, &file };
 *     log_write(&log, LOG_WARN, now.wall_ms, "kad", "table full, %d contacts", n);
 *     // 2024-05-01T12:00:00.123Z warn kad: table full, 160 contacts
 */
#ifndef CORE_LOG_H
#define CORE_LOG_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_MAX 1024   /* with the newline; longer messages end in "..." */
#define LOG_TIME_SIZE 32    /* "2024-05-01T12:00:00.123Z" and the terminator, with room for any year */

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log {
    enum log_level level;   /* what is less important than this is dropped */
    void (*sink)(void *ctx, const char *line, size_t size); /* one line with its newline, not terminated */
    void *ctx;
};

/* `log` may be NULL: silence. `area` names the part that speaks ("kad", "timeline"). */
void log_write(const struct log *log, enum log_level level, uint64_t wall_ms, const char *area,
               const char *format, ...) __attribute__((format(printf, 5, 6)));
void log_writev(const struct log *log, enum log_level level, uint64_t wall_ms, const char *area,
                const char *format, va_list args) __attribute__((format(printf, 5, 0)));

const char *log_level_word(enum log_level level);              /* "error", "warn", "info", "debug" */
int log_level_parse(const char *word, enum log_level *ret);    /* any case; CAM_EINVAL */

/* UTC, ISO 8601 with milliseconds; returns `ret`. */
const char *log_time_text(uint64_t wall_ms, char ret[LOG_TIME_SIZE]);

#endif
