/* Reading and counting a whole signed set. The request itself asks nobody; it has a part (a request of its
 * own kind) for each shard that is being read, several at a time.
 *
 *     setread_begin --> [ shards to do ] --start--> part: setwalk.c looks at the shard and pages through it
 *                            ^    |                    |
 *        a split one: its    |    | none left          | setread_part_ended
 *        16 children --------+    v                    v
 *                              final event <-- a leaf: its entries, and those of it that were found above
 *
 * What is found in a split shard waits in `above` until the leaf that it belongs to has been read, so each
 * key is delivered once, in its newest version, wherever it was on its way down.
 *
 * Two liars among the holders can call any shard split, and then stand in the way to its children with nodes
 * that do not exist. So the children that few claim have SETREAD_DOUBT_MS: were they there, they would mostly
 * have been read by then; and what waits for them is there already.
 *
 * An estimate reads shards at random: a slot is drawn, and the shards that it lies in are read from the
 * root down to its leaf, each whole, every entry verified; what holders claim to hold is not looked at. A
 * shard of depth d is drawn with probability 16^-d, so the keys that are found in it and not above it,
 * times 16^d, summed over the way down, are an unbiased estimate of all, whatever the shape of the tree;
 * the mean of many is narrower by the root of their number. Who claims that a shard is split when it is not
 * changes nothing: its entries are counted where they lie. Slots are drawn in turn from each sixteenth. It
 * ends when the standard error is below SETREAD_SPREAD_PERMILLE, at SETREAD_SAMPLES_MAX, or when all leaves
 * there are have been read: then it is exact.
 */
#ifndef KAD_SETREAD_H
#define KAD_SETREAD_H
#include "kad/setwalk.h"

#define SETREAD_WIDE 16             /* shards read at a time */
#define SETREAD_SHARDS_MAX 8192     /* shards of a read */
/* shards to be read: each of those under way may turn out split, at each depth */
#define SETREAD_TODO_MAX (16 * SETREAD_WIDE * KAD_SHARD_DEPTH_MAX)
#define SETREAD_SAMPLES_MAX 64      /* leaves drawn for an estimate */
#define SETREAD_SAMPLES_STEP 16     /* drawn at a time, one of each sixteenth */
#define SETREAD_DOUBT_MS 2500       /* for a shard that only few say there is */
#define SETREAD_SPREAD_PERMILLE 15  /* standard error that is small enough */

enum setread_mode { SETREAD_ENTRIES, SETREAD_COUNT, SETREAD_ESTIMATE };

struct setread;

/* 0 or CAM_ESYS. */
int setread_for_get(struct request *r, const uint8_t root[KAD_ID_SIZE], bool fresh, uint32_t max);
int setread_for_count(struct request *r, const uint8_t root[KAD_ID_SIZE], bool exact);
void setread_free(struct setread *rd);
void setread_begin(struct kad *k, struct request *r);
/* The shard of this part has been read, or has had its time. part is gone afterwards,
 * and its reader may be. */
void setread_part_ended(struct kad *k, struct request *part);

#endif
