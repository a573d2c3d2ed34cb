#include "cli/ask.h"

#include <bsd/readpassphrase.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/err.h"
#include "core/keyfile.h"

struct ask_passphrase {
    size_t size;
    char text[KEYFILE_PASSPHRASE_MAX + 1];
};

struct span ask_span(const struct ask_passphrase *pass) { return span(pass->text, pass->size); }

void ask_passphrase_free(struct ask_passphrase *pass)
{
    if (pass)
        sodium_free(pass); /* wipes */
}

/* The first line of a descriptor. Read byte by byte: what follows may be meant for another reader of it. */
static int read_first_line(int fd, struct ask_passphrase *pass)
{
    for (;;) {
        char c;
        ssize_t got = read(fd, &c, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno == EBADF ? CAM_ENOFILE : CAM_EIO;
        if (got == 0 || c == '\n')
            break;
        if (pass->size == KEYFILE_PASSPHRASE_MAX)
            return CAM_ETOOBIG;
        pass->text[pass->size++] = c;
    }
    if (pass->size && pass->text[pass->size - 1] == '\r')
        pass->size--;
    return 0;
}

static int read_file(const struct ask_source *from, struct ask_passphrase *pass, char why[ASK_WHY_MAX])
{
    int fd = from->file ? open(from->file, O_RDONLY | O_CLOEXEC) : from->fd, err;
    if (fd < 0) {
        snprintf(why, ASK_WHY_MAX, "cannot read the passphrase from %s: %s", from->file, strerror(errno));
        return errno == ENOENT || errno == ENOTDIR ? CAM_ENOFILE : CAM_EIO;
    }
    errno = 0;
    err = read_first_line(fd, pass);
    int saved = errno;
    if (from->file)
        close(fd);
    if (err == CAM_ETOOBIG)
        snprintf(why, ASK_WHY_MAX, "the passphrase is longer than %d bytes", KEYFILE_PASSPHRASE_MAX);
    else if (err && from->file)
        snprintf(why, ASK_WHY_MAX, "cannot read the passphrase from %s: %s", from->file, strerror(saved));
    else if (err)
        snprintf(why, ASK_WHY_MAX, "cannot read the passphrase from descriptor %d: %s", fd, strerror(saved));
    return err;
}

static int type_once(const char *prompt, struct ask_passphrase *pass, char why[ASK_WHY_MAX])
{
    if (!readpassphrase(prompt, pass->text, sizeof pass->text, RPP_REQUIRE_TTY)) {
        snprintf(why, ASK_WHY_MAX, "no terminal to ask for the passphrase on: use --passphrase-file F");
        return errno == EINTR ? CAM_EINTR : CAM_EUSAGE;
    }
    pass->size = strlen(pass->text);
    return 0;
}

static struct ask_passphrase *passphrase_new(void)
{
    struct ask_passphrase *pass = sodium_malloc(sizeof *pass);
    if (pass)
        memset(pass, 0, sizeof *pass);
    return pass;
}

static int type_it(const char *prompt, bool twice, struct ask_passphrase *pass, char why[ASK_WHY_MAX])
{
    char text[ASK_LINE_MAX];
    snprintf(text, sizeof text, "%s: ", prompt);
    int err = type_once(text, pass, why);
    if (err || !twice || !pass->size)
        return err;
    struct ask_passphrase *again = passphrase_new();
    if (!again)
        return CAM_ESYS;
    err = type_once("Again: ", again, why);
    if (!err && !span_equal(ask_span(pass), ask_span(again))) {
        snprintf(why, ASK_WHY_MAX, "the two passphrases differ; nothing was changed, try again");
        err = CAM_EINVAL;
    }
    ask_passphrase_free(again);
    return err;
}

int ask_passphrase(const struct ask_source *from, const char *prompt, bool is_new,
                   struct ask_passphrase **ret, char ret_why[ASK_WHY_MAX])
{
    int err = CAM_ESYS;
    struct ask_passphrase *pass = passphrase_new();
    snprintf(ret_why, ASK_WHY_MAX, "no memory that can be locked for the passphrase");
    if (!pass)
        return err;

    if (from->typed) {
        pass->size = strlen(from->typed);
        err = pass->size > KEYFILE_PASSPHRASE_MAX ? CAM_ETOOBIG : 0;
        if (!err)
            memcpy(pass->text, from->typed, pass->size);
        else
            snprintf(ret_why, ASK_WHY_MAX, "the passphrase is longer than %d bytes", KEYFILE_PASSPHRASE_MAX);
    } else if (from->file || from->fd >= 0) {
        err = read_file(from, pass, ret_why);
    } else if (from->may_prompt) {
        err = type_it(prompt, is_new, pass, ret_why);
    } else {
        snprintf(ret_why, ASK_WHY_MAX,
                 "a passphrase is needed and nobody is to be asked: use --passphrase-file F");
        err = CAM_EUSAGE;
    }
    if (!err && is_new && pass->size == 0) {
        snprintf(ret_why, ASK_WHY_MAX, "the passphrase is empty: your key would lie open");
        err = CAM_EINVAL;
    }
    if (err) {
        ask_passphrase_free(pass);
        return err;
    }
    *ret = pass;
    return 0;
}

int ask_line(const char *prompt, char *ret, size_t size)
{
    fputs(prompt, stderr);
    fflush(stderr);
    errno = 0;
    if (!fgets(ret, (int)size, stdin))
        return errno == EINTR ? CAM_EINTR : CAM_ENOFILE;
    size_t got = strlen(ret);
    if (got && ret[got - 1] == '\n') {
        ret[got - 1] = '\0';
        return 0;
    }
    if (got + 1 < size)
        return 0; /* the last line, without its newline */
    for (int c = getchar(); c != EOF && c != '\n';)
        c = getchar(); /* the rest of it is not the next answer */
    return CAM_ETOOBIG;
}

int ask_all(int fd, size_t max_bytes, char **ret, size_t *ret_size)
{
    char *buf = malloc(max_bytes + 2);
    size_t size = 0;
    if (!buf)
        return CAM_ESYS;
    for (;;) {
        ssize_t got = read(fd, buf + size, max_bytes + 1 - size);
        if (got < 0) {
            int err = errno == EINTR ? CAM_EINTR : CAM_EIO;
            free(buf);
            return err;
        }
        if (got == 0)
            break;
        size += (size_t)got;
        if (size > max_bytes) {
            free(buf);
            return CAM_ETOOBIG;
        }
    }
    buf[size] = '\0';
    *ret = buf;
    *ret_size = size;
    return 0;
}
