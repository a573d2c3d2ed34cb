/* The table of limits in docs/protocol.md against the code: every row has the value and stands in the header that
 * it says, every limit that is listed here has a row, and every maximum in a header of the wire is listed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/api.h"
#include "cli/rescue.h"
#include "core/addr.h"
#include "core/bencode.h"
#include "core/identity.h"
#include "core/io_udp.h"
#include "core/keyfile.h"
#include "core/snowflake.h"
#include "core/sntp.h"
#include "core/text.h"
#include "kad/guard.h"
#include "kad/kad.h"
#include "kad/krpc.h"
#include "kad/lookup.h"
#include "kad/node.h"
#include "kad/peers.h"
#include "kad/rpc.h"
#include "kad/set.h"
#include "kad/setread.h"
#include "kad/setwalk.h"
#include "kad/store.h"
#include "kad/table.h"
#include "kad/verified.h"
#include "timeline/account.h"
#include "timeline/catchup.h"
#include "timeline/edges.h"
#include "timeline/feed.h"
#include "timeline/follow.h"
#include "timeline/intake.h"
#include "timeline/io_zap.h"
#include "timeline/io_zmq.h"
#include "timeline/link.h"
#include "timeline/links.h"
#include "timeline/message.h"
#include "timeline/operation.h"
#include "timeline/outbox.h"
#include "timeline/person.h"
#include "timeline/post.h"
#include "timeline/publish.h"
#include "timeline/queue.h"
#include "timeline/reading.h"
#include "timeline/record.h"
#include "timeline/store.h"
#include "timeline/suggest.h"

#define PAGE "docs/protocol.md"
#define LIMIT(name) {#name, (long long)(name)}

static const struct {
    const char *name;
    long long value;
} limits[] = {
        LIMIT(ADDR_COMPACT_MAX), LIMIT(BEN_DEPTH_MAX), LIMIT(NAME_MAX_CHARS), LIMIT(IO_UDP_DATAGRAM_MAX),
        LIMIT(KEYFILE_SIZE), LIMIT(KEYFILE_TRANSPORT_SIZE), LIMIT(KEYFILE_DEVICE_MAX),
        LIMIT(KEYFILE_PASSPHRASE_MAX), LIMIT(KEYFILE_OPS_MAX), LIMIT(KEYFILE_MEM_MAX),
        LIMIT(SNOWFLAKE_DEVICE_MAX), LIMIT(SNOWFLAKE_SEQ_MAX), LIMIT(SNTP_SERVERS_MAX),
        LIMIT(SNTP_PACKET_SIZE), LIMIT(SNTP_DELAY_MAX_US), LIMIT(SNTP_ROOT_MAX_US), LIMIT(TEXT_POST_MAX),
        LIMIT(KAD_TOKEN_SIZE), LIMIT(KAD_TOKEN_EPOCH_MS), LIMIT(KAD_GUARD_BURST_BYTES),
        LIMIT(KAD_GUARD_CREDIT_BYTES), LIMIT(KAD_GUARD_PROVEN_BYTES_S), LIMIT(KAD_GUARD_PROVEN_MS),
        LIMIT(KAD_GUARD_DATAGRAMS_S), LIMIT(KAD_GUARD_STORES_S), LIMIT(KAD_GUARD_STORES_BURST),
        LIMIT(KAD_GUARD_BAD_STORE), LIMIT(KAD_GUARD_ADDRESSES_MAX), LIMIT(KAD_GUARD_REFILL_BYTES),
        LIMIT(KAD_GUARD_IDLE_MS), LIMIT(KAD_K), LIMIT(KAD_ALPHA), LIMIT(KAD_DATAGRAM_MAX),
        LIMIT(KAD_DATAGRAM_USUAL), LIMIT(KAD_DATAGRAM_PUBLIC), LIMIT(KAD_VALUE_MAX),
        LIMIT(KAD_OWN_VALUE_MAX), LIMIT(KAD_SALT_MAX), LIMIT(KAD_SET_VALUE_MAX), LIMIT(KRPC_T_MAX),
        LIMIT(KRPC_TOKEN_MAX), LIMIT(PEERS_ANSWER_MAX), LIMIT(PEERS_FOUND_MAX), LIMIT(LOOKUP_MAX),
        LIMIT(LOOKUP_DENSE), LIMIT(LOOKUP_FIRST), LIMIT(LOOKUP_REOFFERS), LIMIT(LOOKUP_SPARSE), LIMIT(LOOKUP_WIDER),
        LIMIT(LOOKUP_LIES), LIMIT(LOOKUP_HELD_MAX), LIMIT(LOOKUP_NAMERS_MAX), LIMIT(NODE_LIARS_MAX),
        LIMIT(NODE_LIARS_MS), LIMIT(REQUEST_MAX), LIMIT(REQUEST_ACTIVE_MAX),
        LIMIT(REQUEST_INNER_MAX), LIMIT(REQUEST_PATHS), LIMIT(REQUEST_WITNESSES), LIMIT(REQUEST_WAIT_MS), LIMIT(NODE_ASKING_MAX),
        LIMIT(NODE_JOIN_MAX), LIMIT(NODE_REMEMBER_MAX), LIMIT(NODE_HINTS_MAX), LIMIT(NODE_LOST_MAX), LIMIT(NODE_DEAD_MAX),
        LIMIT(NODE_DEAD_MS), LIMIT(NODE_VOTES_MAX), LIMIT(NODE_VOTES_NEEDED), LIMIT(NODE_GREET_BURST),
        LIMIT(NODE_GREET_PER_S), LIMIT(NODE_NEWCOMERS_MAX), LIMIT(NODE_CHALLENGES_MAX),
        LIMIT(NODE_PING_BYTES), LIMIT(REQUEST_LEGS_MAX), LIMIT(RPC_TX_MAX), LIMIT(RPC_SOFT_MIN_MS),
        LIMIT(RPC_HARD_MIN_MS), LIMIT(RPC_HARD_MAX_MS), LIMIT(RPC_DOUBLINGS), LIMIT(RPC_RETRIES), LIMIT(RPC_QUEUE_MAX), LIMIT(KAD_SHARD_ENTRIES_MAX),
        LIMIT(KAD_SHARD_MERGE_MAX), LIMIT(KAD_SHARD_DEPTH_MAX), LIMIT(KAD_SET_PAGE_MAX),
        LIMIT(SETREAD_WIDE), LIMIT(SETREAD_SHARDS_MAX), LIMIT(SETREAD_TODO_MAX), LIMIT(SETREAD_DOUBT_MS),
        LIMIT(SETREAD_SAMPLES_MAX),
        LIMIT(SETREAD_SAMPLES_STEP), LIMIT(SETREAD_SPREAD_PERMILLE), LIMIT(SETPUT_HINTS_MAX),
        LIMIT(SETWALK_FOUND_MAX), LIMIT(SETWALK_RANGES_MAX),
        LIMIT(SETWALK_PAGES_MS), LIMIT(SETSHARD_PUSH_MS), LIMIT(SETWALK_SMALL), LIMIT(SETWALK_HOLDERS), LIMIT(SETWALK_SPREAD),
        LIMIT(SETWALK_PASSES_MAX), LIMIT(SETWALK_GROUPS_MAX), LIMIT(SETWALK_SAID_MAX), LIMIT(KAD_LIFE_MAX_S),
        LIMIT(KAD_LIFE_CONNECTIONS_S), LIMIT(KAD_LIFE_SLACK_S), LIMIT(KAD_LIFE_PLAIN_S),
        LIMIT(KAD_LIFE_PEER_S), LIMIT(KAD_REPLICATE_FAR), LIMIT(KAD_REPLICATE_LEFT), LIMIT(KAD_REPLICATE_S), LIMIT(KAD_ITEMS_DEFAULT),
        LIMIT(KAD_ENTRIES_DEFAULT), LIMIT(KAD_PEERS_DEFAULT), LIMIT(KAD_PEERS_PER_HASH_MAX),
        LIMIT(KAD_KEY_ITEMS_MAX), LIMIT(KAD_KEY_ENTRIES_MAX), LIMIT(TABLE_BUCKETS), LIMIT(TABLE_NEAR),
        LIMIT(TABLE_FAILS_MAX), LIMIT(TABLE_SUBNET_BUCKET_MAX), LIMIT(TABLE_SUBNET_MAX),
        LIMIT(TABLE_CACHE_MAX), LIMIT(KAD_VERIFIED_MAX), LIMIT(CLAIMS_MAX), LIMIT(CLAIM_CHECK_MAX_MS),
        LIMIT(CHASES_MAX), LIMIT(CHASE_CANDIDATES_MAX), LIMIT(CHASE_RETRY_MAX_MS), LIMIT(CHASE_IDLE_MAX),
        LIMIT(CHASE_BYTES), LIMIT(CATCHUP_COMPARE_MS), LIMIT(CATCHUP_AUTHORS_MAX),
        LIMIT(CATCHUP_SERVE_BYTES_MAX), LIMIT(CATCHUP_FORK_MS), LIMIT(EDGES_PER_PERSON_MAX), LIMIT(EDGES_PAGES_MAX),
        LIMIT(FEED_RANGES_MAX), LIMIT(FEED_RUN_MAX), LIMIT(FEED_AHEAD_MS), LIMIT(FEED_HOLD_MS),
        LIMIT(FOLLOWS_MAX), LIMIT(FOLLOWERS_MAX), LIMIT(INTAKE_HELD_MAX), LIMIT(INTAKE_HELD_BYTES_MAX),
        LIMIT(IO_ZAP_ADDRESSES_MAX), LIMIT(IO_ZAP_BURST), LIMIT(IO_ZAP_PER_S), LIMIT(IO_ZAP_LOCAL_FACTOR),
        LIMIT(IO_ZMQ_CONNECT_MS), LIMIT(IO_ZMQ_IDLE_MS), LIMIT(IO_ZMQ_HEARTBEAT_MS),
        LIMIT(IO_ZMQ_SEND_QUEUE), LIMIT(IO_ZMQ_WAITING_MAX), LIMIT(IO_ZMQ_WAITING_BYTES_MAX),
        LIMIT(IO_ZMQ_CONNECTING_MAX), LIMIT(IO_ZMQ_DOUBT_MS),
        LIMIT(IO_ZMQ_RECV_QUEUE), LIMIT(IO_ZMQ_ACCEPTED_MAX), LIMIT(IO_ZMQ_EVENTS_MAX), LIMIT(LINK_MESSAGE_MAX), LIMIT(LINK_PARKED_MAX),
        LIMIT(LINK_OPEN_MAX), LIMIT(LINKS_MAX), LIMIT(LINKS_STRANGERS_MAX), LIMIT(LINKS_QUIET_MS),
        LIMIT(LINKS_STRANGER_BURST), LIMIT(LINKS_STRANGER_PER_S), LIMIT(LINKS_STRANGER_BYTES_BURST),
        LIMIT(LINKS_STRANGER_BYTES_PER_S), LIMIT(LINKS_FRIEND_BURST), LIMIT(LINKS_FRIEND_PER_S),
        LIMIT(LINKS_FRIEND_BYTES_BURST), LIMIT(LINKS_FRIEND_BYTES_PER_S), LIMIT(LINKS_SERVED_BURST),
        LIMIT(LINKS_SERVED_PER_S), LIMIT(LINKS_STRANGER_DIALS_BURST), LIMIT(LINKS_STRANGER_DIALS_PER_S),
        LIMIT(LINKS_FRIEND_DIALS_BURST), LIMIT(LINKS_FRIEND_DIALS_PER_S), LIMIT(LINKS_FINE), LIMIT(LINKS_STRANGER_FINE), LIMIT(LINKS_OWNER_MS),
        LIMIT(LINKS_FOLLOWERS_BURST), LIMIT(LINKS_FOLLOWERS_PER_S),
        LIMIT(LINKS_HELLO_BURST),
        LIMIT(LINKS_HELLO_PER_S), LIMIT(MESSAGE_BATCH_BYTES), LIMIT(MESSAGE_BATCH_POSTS_MAX),
        LIMIT(MESSAGE_HAVE_MAX), LIMIT(MESSAGE_RANGE_DEPTH_MAX), LIMIT(OPS_MAX), LIMIT(OP_COUNT_MS), LIMIT(OP_USERS_MAX),
        LIMIT(OUTBOX_WINDOW_POSTS), LIMIT(OUTBOX_RETRY_MAX_MS), LIMIT(OUTBOX_WAITERS_MAX),
        LIMIT(PEOPLE_GUESTS_MAX), LIMIT(PERSON_PEERS_MAX), LIMIT(PERSON_LOOK_MAX_MS),
        LIMIT(PEOPLE_LOOKS_MAX), LIMIT(POST_HEADER_SIZE), LIMIT(POST_SIGNED_SIZE), LIMIT(POST_BODY_MAX),
        LIMIT(POST_TARGET_SIZE), LIMIT(POST_SEQ_MAX), LIMIT(PUBLISH_PAGES_MAX), LIMIT(PUBLISH_RUNNING_MAX),
        LIMIT(PUBLISH_ENOUGH), LIMIT(PUBLISH_RETRY_MAX_MS), LIMIT(OUT_BYTES_MAX), LIMIT(OUT_MESSAGES_MAX),
        LIMIT(ANSWERS_MAX), LIMIT(READING_LIVE_MAX), LIMIT(READING_LIMIT_MAX), LIMIT(READING_GAPS_MAX),
        LIMIT(RECORD_LIFE_LONG_S), LIMIT(RECORD_LIFE_FOLLOW_S), LIMIT(RECORD_LIFE_CONNECTION_S),
        LIMIT(RECORD_BIO_MAX), LIMIT(RECORD_DEVICES_MAX), LIMIT(RECORD_HINTS_MAX), LIMIT(RECORD_PAGE_KEYS),
        LIMIT(STORE_FORKS_MAX), LIMIT(STORE_FORK_POSTS_MAX), LIMIT(SUGGEST_EDGES_MAX),
        LIMIT(RESCUE_FOUND_MAX), LIMIT(RESCUE_ROUND_MIN_MS), LIMIT(RESCUE_ROUND_MAX_MS),
        LIMIT(API_REQUESTS_MAX), LIMIT(API_MESSAGE_MAX),
        LIMIT(API_LEASE_MS), LIMIT(API_LIMIT_MAX), LIMIT(API_WAIT_MAX_MS),
};
enum { LIMITS = sizeof limits / sizeof *limits };

/* Headers that say what a peer may send: no maximum of theirs goes without a row. */
static const char *const wire_headers[] = {
    "core/bencode.h",    "core/keyfile.h",     "kad/kad.h",         "kad/krpc.h",        "kad/set.h",
    "kad/guard.h",       "kad/store.h",        "timeline/link.h",   "timeline/links.h",  "timeline/message.h",
    "timeline/post.h",   "timeline/record.h",  "timeline/feed.h",   "timeline/follow.h", "timeline/catchup.h",
    "timeline/intake.h", "timeline/outbox.h",  "timeline/person.h", "timeline/io_zap.h", "cli/api.h",
};
/* Sizes of buffers of ours that follow from limits in the table. */
static const char *const derived[] = { "KAD_ENTRY_SIGNED_MAX", "KAD_STORE_KEY_MAX" };

static int limit_index(const char *name)
{
    for (int i = 0; i < LIMITS; i++)
        if (strcmp(limits[i].name, name) == 0)
            return i;
    return -1;
}

static bool header_defines(const char *header, const char *name)
{
    char line[512], got[64];
    FILE *f = fopen(header, "r");
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f))
        found = sscanf(line, "#define %63s", got) == 1 && strcmp(got, name) == 0;
    if (f)
        fclose(f);
    return found;
}

static void every_row_is_true(void **state)
{
    (void)state;
    bool seen[LIMITS] = { false };
    char line[512], name[64], what[256], header[64];
    long long value;
    int wrong = 0;
    FILE *f = fopen(PAGE, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "| %63[A-Z0-9_] | %lld | %255[^|]| %63[^ |] |", name, &value, what, header) != 4 ||
            !strchr(name, '_'))
            continue;
        int i = limit_index(name);
        if (i < 0 || limits[i].value != value || seen[i]) {
            print_message("%s: the page says %lld, the code %lld\n", name, value, i < 0 ? -1 : limits[i].value);
            wrong++;
        }
        if (!header_defines(header, name)) {
            print_message("%s is not defined in %s\n", name, header);
            wrong++;
        }
        if (i >= 0)
            seen[i] = true;
    }
    fclose(f);
    for (int i = 0; i < LIMITS; i++)
        if (!seen[i]) {
            print_message("%s lacks the row | %s | %lld | ... | ... |\n", PAGE, limits[i].name, limits[i].value);
            wrong++;
        }
    assert_int_equal(wrong, 0);
}

static bool is_maximum(const char *name)
{
    size_t size = strlen(name);
    return strstr(name, "_MAX_") || (size > 4 && strcmp(name + size - 4, "_MAX") == 0) ||
           (size > 6 && (strcmp(name + size - 6, "_BURST") == 0 || strcmp(name + size - 6, "_PER_S") == 0));
}

static void every_maximum_has_a_row(void **state)
{
    (void)state;
    char line[512], name[64];
    int found = 0, lacking = 0;
    for (size_t h = 0; h < sizeof wire_headers / sizeof *wire_headers; h++) {
        FILE *f = fopen(wire_headers[h], "r");
        assert_non_null(f);
        while (fgets(line, sizeof line, f)) {
            if (sscanf(line, "#define %63s", name) != 1 || !is_maximum(name))
                continue;
            bool known = limit_index(name) >= 0;
            for (size_t d = 0; d < sizeof derived / sizeof *derived; d++)
                known = known || strcmp(name, derived[d]) == 0;
            if (!known)
                print_message("%s of %s is in no row of %s\n", name, wire_headers[h], PAGE);
            lacking += !known;
            found++;
        }
        fclose(f);
    }
    assert_true(found > 50);
    assert_int_equal(lacking, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_true),
        cmocka_unit_test(every_maximum_has_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
