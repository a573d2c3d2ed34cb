/* Asking a person, or the files that stand in for one.
 *
 * A passphrase comes from a file, from a descriptor, or from the terminal without an echo; never from argv or
 * the environment, where others can read it. It lives in locked memory that is wiped when freed.
 *
 *     struct ask_passphrase *pass; char why[ASK_WHY_MAX];
 *     struct ask_source from = { .file = "/run/secrets/ana", .fd = -1 };
 *     if ((err = ask_passphrase(&from, "Passphrase for ana", false, &pass, why))) ...
 *     keyfile_open(buf, size, ask_span(pass), &id);
 *     ask_passphrase_free(pass);
 */
#ifndef CLI_ASK_H
#define CLI_ASK_H
#include <stdbool.h>
#include <stddef.h>
#include "core/bytes.h"

#define ASK_WHY_MAX 512
#define ASK_LINE_MAX 4096 /* bytes of a line that a person types */

struct ask_passphrase;

struct ask_source {
    const char *file;       /* first line of this file, or NULL */
    int fd;                 /* first line from this descriptor, or -1 */
    const char *typed;      /* already typed into the menu, or NULL */
    bool may_prompt;        /* there may be a person at a terminal */
};

/* A new one may not be empty and is asked for twice where a person types. `ret_why` is set on an error and
 * names the next step. CAM_ENOFILE, CAM_EIO; CAM_EINVAL when a new one is empty or the two differ;
 * CAM_ETOOBIG; CAM_EUSAGE when there is nobody to ask. Ctrl-C at the prompt restores the terminal and raises
 * SIGINT. */
int ask_passphrase(const struct ask_source *from, const char *prompt, bool is_new,
                   struct ask_passphrase **ret, char ret_why[ASK_WHY_MAX]);
struct span ask_span(const struct ask_passphrase *pass);
void ask_passphrase_free(struct ask_passphrase *pass); /* NULL is fine */

/* One line from stdin behind a prompt on stderr, without its newline. CAM_ENOFILE at the end of input,
 * CAM_EINTR, CAM_ETOOBIG. */
int ask_line(const char *prompt, char *ret, size_t size);

/* All of a descriptor. The caller frees. CAM_ETOOBIG above max_bytes, CAM_EIO, CAM_EINTR. */
int ask_all(int fd, size_t max_bytes, char **ret, size_t *ret_size);

#endif
