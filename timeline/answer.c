/* Answers to the local user. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "timeline/state.h"

void answer_done(struct timeline *t, uint64_t client, int status, const char *format, ...)
{
    struct timeline_answer a = { .client = client, .last = true, .status = status };
    va_list args;
    va_start(args, format);
    vsnprintf(a.message, sizeof a.message, format, args);
    va_end(args);
    answers_push(&t->answers, &a);
}

void answer_row(struct timeline *t, uint64_t client, const struct timeline_row *row)
{
    struct timeline_answer a = { .client = client, .row = *row };
    answers_push(&t->answers, &a);
}

void answer_user(struct timeline *t, struct timeline_row *row, const uint8_t pk[KEY_SIZE])
{
    memcpy(row->user.pk, pk, KEY_SIZE);
    people_name(t, pk, row->user.name);
}
