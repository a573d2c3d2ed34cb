/* Errors: one negative code for each way a thing can fail.
 *
 * Functions return 0 or one of these. Every code has a word (for scripts), a text (for people) and
 * the exit status that the command line ends with (docs: README, "Exit statuses"; after sysexits.h).
 *
 *     int err = keyfile_open(...);
 *     if (err) { fprintf(stderr, "camellia: %s\n", err_text(err)); return err_status(err); }
 */
#ifndef CORE_ERR_H
#define CORE_ERR_H

enum {
    CAM_OK = 0,
    CAM_EUSAGE = -1,     /* 64  unknown command or flag, missing argument */
    CAM_EINVAL = -2,     /* 65  a name or text that is not allowed */
    CAM_EFORMAT = -3,    /* 65  bytes that are not what they should be: malformed, damaged */
    CAM_EAUTH = -4,      /* 65  a signature that does not verify */
    CAM_ETOOBIG = -5,    /* 65  larger than a named limit */
    CAM_ENOSPC = -6,     /* 65  the caller's output buffer is too small */
    CAM_ENOFILE = -7,    /* 66  a file to read is not there */
    CAM_ENOENT = -8,     /* 67  no such user, post, record */
    CAM_EAMBIG = -9,     /* 67  the name is several people's */
    CAM_ENET = -10,      /* 69  no peer reachable where one is needed */
    CAM_ENONODE = -11,   /* 69  no node running */
    CAM_ESYS = -12,      /* 71  the system refuses: port occupied, out of descriptors or memory */
    CAM_ETAKEN = -13,    /* 73  the name is taken; this home already holds a user */
    CAM_EIO = -14,       /* 74  input/output: disk full, unreadable */
    CAM_EPENDING = -15,  /* 75  kept, not yet done */
    CAM_EPASS = -16,     /* 77  wrong passphrase */
    CAM_ELOCKED = -17,   /* 77  the node is locked and the command must sign */
    CAM_ECONF = -18,     /* 78  config.ini is wrong */
    CAM_EINTR = -19,     /* 130 interrupted by the user */
    CAM_ETIMEOUT = -20,  /* 69  nobody answered in time */
    CAM_ESTALE = -21,    /* 65  an older sequence number than what is there */
    CAM_ECAS = -22,      /* 65  compare-and-swap: another writer was first */
    CAM_EFULL = -23,     /* 71  a table with a named maximum is full */
    CAM_EAGAIN = -24,    /* 75  not now, try again */
    CAM_EDUP = -25,      /* 65  seen before */
    CAM_EFUTURE = -26,   /* 65  dated too far ahead */
    CAM_EEXPIRED = -27,  /* 65  past its lifespan */
    CAM_EREFUSED = -28,  /* 65  refused by policy: not followed, not ours, blocked */
    CAM_ERR_LAST = -28,
};

const char *err_word(int err);   /* "taken"; never NULL, "unknown" for a code not listed; static */
const char *err_text(int err);   /* "the name is taken"; never NULL; static */
int err_status(int err);         /* exit status 0..130; 70 for a code not listed */

#endif
