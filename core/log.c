#include "core/log.h"
#include "core/err.h"
#include "core/text.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const level_words[] = { "error", "warn", "info", "debug" };

const char *log_level_word(enum log_level level)
{
    return (unsigned)level <= LOG_DEBUG ? level_words[level] : "unknown";
}

int log_level_parse(const char *word, enum log_level *ret)
{
    for (int i = LOG_ERROR; i <= LOG_DEBUG; i++) {
        if (!strcasecmp(word, level_words[i])) {
            *ret = (enum log_level)i;
            return 0;
        }
    }
    return CAM_EINVAL;
}

/* Days since 1970-01-01 to a date of the Gregorian calendar. Years are counted from March, so that the leap
 * day is a year's last, in cycles of 400 years = 146,097 days; from March of year 0 to 1970 there are
 * 719,468 days. */
static void civil(uint64_t days, uint64_t *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    days += 719468;
    uint64_t cycle = days / 146097;
    unsigned in_cycle = (unsigned)(days % 146097);
    unsigned year = (in_cycle - in_cycle / 1460 + in_cycle / 36524 - in_cycle / 146096) / 365;
    unsigned in_year = in_cycle - (365 * year + year / 4 - year / 100);
    unsigned march_month = (5 * in_year + 2) / 153; /* 0 = March; five months in a row always have 153 days */
    *ret_day = in_year - (153 * march_month + 2) / 5 + 1;
    *ret_month = march_month < 10 ? march_month + 3 : march_month - 9;
    *ret_year = cycle * 400 + year + (*ret_month <= 2);
}

const char *log_time_text(uint64_t wall_ms, char ret[LOG_TIME_SIZE])
{
    uint64_t year;
    unsigned month, day, ms = (unsigned)(wall_ms % 1000), s = (unsigned)(wall_ms / 1000 % 86400);
    civil(wall_ms / 86400000, &year, &month, &day);
    snprintf(ret, LOG_TIME_SIZE, "%04llu-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned long long)year,
             month % 100, day % 100, s / 3600 % 24, s / 60 % 60, s % 60, ms);
    return ret;
}

void log_writev(const struct log *log, enum log_level level, uint64_t wall_ms, const char *area,
                const char *format, va_list args)
{
    static const char cut[] = "...";
    char message[4 * LOG_LINE_MAX], line[LOG_LINE_MAX], time[LOG_TIME_SIZE];
    if (!log || !log->sink || level > log->level)
        return;
    int written = vsnprintf(message, sizeof message, format, args);
    if (written < 0)
        written = snprintf(message, sizeof message, "(a message that could not be formatted)");
    size_t message_size = strlen(message);

    int prefix = snprintf(line, LOG_LINE_MAX / 2, "%s %s %s: ", log_time_text(wall_ms, time),
                          log_level_word(level), area);
    size_t size = prefix < LOG_LINE_MAX / 2 ? (size_t)prefix : LOG_LINE_MAX / 2 - 1;
    size_t room = sizeof line - size - sizeof cut; /* text, terminator; behind it "..." and a newline */
    size_t whole = text_print(line + size, room, message, message_size, TEXT_LINE);
    size += strlen(line + size);
    if (whole >= room || (size_t)written > message_size) {
        memcpy(line + size, cut, sizeof cut - 1);
        size += sizeof cut - 1;
    }
    line[size++] = '\n';
    log->sink(log->ctx, line, size);
}

void log_write(const struct log *log, enum log_level level, uint64_t wall_ms, const char *area,
               const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_writev(log, level, wall_ms, area, format, args);
    va_end(args);
}
