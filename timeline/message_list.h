/* Private to the message codec: the two kinds that carry lists (message_list.c), and what they share with the
 * others (message.c). */
#ifndef TIMELINE_MESSAGE_LIST_H
#define TIMELINE_MESSAGE_LIST_H
#include "timeline/message.h"

void message_have_encode(struct bytes_out *out, const struct message *m);
int message_have_decode(struct ben dict, struct message *ret);
void message_batch_encode(struct bytes_out *out, const struct message *m);
int message_batch_decode(struct ben dict, struct message *ret);

int message_get_uint(struct ben dict, const char *key, uint64_t min, uint64_t max,
                     uint64_t *ret); /* CAM_EFORMAT */
int message_get_feed(struct ben dict, uint8_t ret_author[KEY_SIZE], uint16_t *ret_device); /* "a" and "d" */
void message_put_kind(struct bytes_out *out, enum message_kind kind);                              /* "m" */

#endif
