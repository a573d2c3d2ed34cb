#include "core/err.h"

#include <stddef.h>

struct err_row {
    const char *word, *text;
    int status;
};

/* Indexed by -code, so a code without a row is a hole that the test finds. */
static const struct err_row rows[] = {
    [-CAM_OK]       = { "ok", "done", 0 },
    [-CAM_EUSAGE]   = { "usage", "that is not how this command is used", 64 },
    [-CAM_EINVAL]   = { "invalid", "the name or text is not allowed", 65 },
    [-CAM_EFORMAT]  = { "damaged", "the data is malformed or damaged", 65 },
    [-CAM_EAUTH]    = { "bad-signature", "the signature does not verify", 65 },
    [-CAM_ETOOBIG]  = { "too-big", "it is larger than allowed", 65 },
    [-CAM_ENOSPC]   = { "no-space", "it does not fit in the space given", 65 },
    [-CAM_ENOFILE]  = { "no-file", "the file is not there", 66 },
    [-CAM_ENOENT]   = { "unknown-user", "there is no such user or record", 67 },
    [-CAM_EAMBIG]   = { "ambiguous", "the name is several people's", 67 },
    [-CAM_ENET]     = { "no-peer", "no peer can be reached", 69 },
    [-CAM_ENONODE]  = { "no-node", "no node is running", 69 },
    [-CAM_ESYS]     = { "system", "the system refuses", 71 },
    [-CAM_ETAKEN]   = { "taken", "the name is taken", 73 },
    [-CAM_EIO]      = { "io", "input or output failed", 74 },
    [-CAM_EPENDING] = { "pending", "kept, but not done yet", 75 },
    [-CAM_EPASS]    = { "wrong-passphrase", "the passphrase is wrong", 77 },
    [-CAM_ELOCKED]  = { "locked", "the node is locked: log in first", 77 },
    [-CAM_ECONF]    = { "config", "config.ini is wrong", 78 },
    [-CAM_EINTR]    = { "interrupted", "interrupted", 130 },
    [-CAM_ETIMEOUT] = { "timeout", "nobody answered in time", 69 },
    [-CAM_ESTALE]   = { "stale", "a newer version is there already", 65 },
    [-CAM_ECAS]     = { "conflict", "another writer was first", 65 },
    [-CAM_EFULL]    = { "full", "a table is full", 71 },
    [-CAM_EAGAIN]   = { "again", "not now: try again", 75 },
    [-CAM_EDUP]     = { "duplicate", "this was seen before", 65 },
    [-CAM_EFUTURE]  = { "future", "it is dated too far ahead", 65 },
    [-CAM_EEXPIRED] = { "expired", "it is past its lifespan", 65 },
    [-CAM_EREFUSED] = { "refused", "it was refused", 65 },
};

static const struct err_row unknown = { "unknown", "something failed that has no name", 70 };

static const struct err_row *row_of(int err)
{
    if (err > 0 || err < CAM_ERR_LAST || !rows[-err].word)
        return &unknown;
    return &rows[-err];
}

const char *err_word(int err) { return row_of(err)->word; }

const char *err_text(int err) { return row_of(err)->text; }

int err_status(int err) { return row_of(err)->status; }
