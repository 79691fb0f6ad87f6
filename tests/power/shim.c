/* Writes down what a process asks of the file system below $POWER_ROOT, so that a test can take away
 * what would not have outlived a loss of power. Loaded with LD_PRELOAD; the log is $POWER_LOG.
 *
 *   W path        its content has changed since it was last synced
 *   S path        its content is on disk
 *   D path        the entries of this directory are on disk
 *   M path        a directory was made
 *   R old<TAB>new L old<TAB>new   renamed, linked
 *   U path        removed
 *
 * What makes something less durable is written down before it is done, what makes it more durable after. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES_MAX 65536

static int log_file = -1;
static const char *root;
static size_t root_length;
/* 1 for a file below the root, 2 for one whose change is written down already. */
static volatile unsigned char watched[FILES_MAX];

#define REAL(result, name, ...) \
    static result (*real_##name)(__VA_ARGS__); \
    if (!real_##name) real_##name = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    REAL(int, open64, const char *, int, ...);
    root = getenv("POWER_ROOT");
    const char *log = getenv("POWER_LOG");
    if (root && log) {
        root_length = strlen(root);
        log_file = real_open64(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
}

static int is_below(const char *path) {
    return log_file >= 0 && path && strncmp(path, root, root_length) == 0;
}

static void note(char what, const char *path, const char *other) {
    char line[2 * PATH_MAX + 8];
    int length = snprintf(line, sizeof line, other ? "%c %s\t%s\n" : "%c %s\n", what, path, other);
    REAL(ssize_t, write, int, const void *, size_t);
    if (length > 0 && length < (int)sizeof line && real_write(log_file, line, (size_t)length) != length) abort();
}

/* The path of an open file as it is now. */
static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return is_below(path);
}

static int opened(int fd, const char *path, int flags) {
    if (fd >= 0 && fd < FILES_MAX) {
        int writes = (flags & O_ACCMODE) != O_RDONLY && is_below(path);
        watched[fd] = (unsigned char)writes;
        if (writes && (flags & (O_CREAT | O_TRUNC))) {
            note('W', path, NULL);
            watched[fd] = 2;
        }
    }
    return fd;
}

static void changes(int fd) {
    if (fd >= 0 && fd < FILES_MAX && watched[fd] == 1) {
        char path[PATH_MAX];
        watched[fd] = 2;
        if (path_of(fd, path)) note('W', path, NULL);
    }
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name, const char *, int, ...); \
        va_list arguments; \
        va_start(arguments, flags); \
        mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(arguments, mode_t) : 0; \
        va_end(arguments); \
        return opened(real_##name(path, flags, mode), path, flags); \
    }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(ssize_t, write, int, const void *, size_t);
    changes(fd);
    return real_write(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    changes(fd);
    return real_writev(fd, parts, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    changes(fd);
    return real_pwrite64(fd, bytes, count, offset);
}

int close(int fd) {
    REAL(int, close, int);
    if (fd >= 0 && fd < FILES_MAX) watched[fd] = 0;
    return real_close(fd);
}

static int synced(int fd, int result) {
    char path[PATH_MAX];
    struct stat found;
    if (result == 0 && log_file >= 0 && path_of(fd, path) && fstat(fd, &found) == 0) {
        note(S_ISDIR(found.st_mode) ? 'D' : 'S', path, NULL);
        if (fd < FILES_MAX && watched[fd] == 2) watched[fd] = 1;
    }
    return result;
}

int fsync(int fd) {
    REAL(int, fsync, int);
    return synced(fd, real_fsync(fd));
}

int fdatasync(int fd) {
    REAL(int, fdatasync, int);
    return synced(fd, real_fdatasync(fd));
}

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *);
    int result = real_rename(from, to);
    if (result == 0 && is_below(to)) note('R', from, to);
    return result;
}

int link(const char *from, const char *to) {
    REAL(int, link, const char *, const char *);
    int result = real_link(from, to);
    if (result == 0 && is_below(to)) note('L', from, to);
    return result;
}

int linkat(int from_in, const char *from, int to_in, const char *to, int flags) {
    REAL(int, linkat, int, const char *, int, const char *, int);
    int result = real_linkat(from_in, from, to_in, to, flags);
    if (result == 0 && is_below(to)) note('L', from, to);
    return result;
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    int result = real_mkdir(path, mode);
    if (result == 0 && is_below(path)) note('M', path, NULL);
    return result;
}

int unlink(const char *path) {
    REAL(int, unlink, const char *);
    int result = real_unlink(path);
    if (result == 0 && is_below(path)) note('U', path, NULL);
    return result;
}

int rmdir(const char *path) {
    REAL(int, rmdir, const char *);
    int result = real_rmdir(path);
    if (result == 0 && is_below(path)) note('U', path, NULL);
    return result;
}
