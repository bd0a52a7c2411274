/* Kills the process at, or in the middle of, the k-th call that changes a folder, or lets the disk be full from then on.

   Preloaded (LD_PRELOAD), and armed by fault_arm from within, so that imports cost no call. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { BEFORE, HALF, FULL };
enum { GO_ON, CUT, NO_ROOM };

static char folder[4096];
static long at, count;
static int mode, armed;

void fault_arm(const char *path, long k, int how)
{
    snprintf(folder, sizeof folder, "%s", path);
    at = k;
    count = 0;
    mode = how;
    armed = 1;
}

void fault_disarm(void) { armed = 0; }

long fault_count(void) { return count; }

static void die(void) { kill(getpid(), SIGKILL); }

static int concerns(const char *path) { return armed && path && !strncmp(path, folder, strlen(folder)); }

static int concerns_open(int fd)
{
    char link[64], path[4096];
    if (!armed)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return 0;
    path[n] = 0;
    return concerns(path);
}

static int next(void)
{
    count++;
    if (mode == FULL)
        return count >= at ? NO_ROOM : GO_ON;
    if (count != at)
        return GO_ON;
    if (mode == BEFORE)
        die();
    return CUT;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* What takes no room still works on a full disk; where it is cut it is done, and then the process dies. */
#define CHANGE(name, parameters, arguments, relevant, needs_room)                                                      \
    int name parameters                                                                                                \
    {                                                                                                                  \
        REAL(name);                                                                                                    \
        int what = relevant ? next() : GO_ON;                                                                          \
        if (what == NO_ROOM && needs_room) {                                                                           \
            errno = ENOSPC;                                                                                            \
            return -1;                                                                                                 \
        }                                                                                                              \
        int result = real arguments;                                                                                   \
        if (what == CUT)                                                                                               \
            die();                                                                                                     \
        return result;                                                                                                 \
    }

#define WRITE(name, parameters, arguments, halved)                                                                     \
    ssize_t name parameters                                                                                            \
    {                                                                                                                  \
        REAL(name);                                                                                                    \
        int what = concerns_open(fd) ? next() : GO_ON;                                                                 \
        if (what == NO_ROOM) {                                                                                         \
            errno = ENOSPC;                                                                                            \
            return -1;                                                                                                 \
        }                                                                                                              \
        if (what == CUT) {                                                                                             \
            (void)!real halved;                                                                                        \
            die();                                                                                                     \
        }                                                                                                              \
        return real arguments;                                                                                         \
    }

WRITE(write, (int fd, const void *data, size_t n), (fd, data, n), (fd, data, n / 2))
WRITE(pwrite, (int fd, const void *data, size_t n, off_t place), (fd, data, n, place), (fd, data, n / 2, place))
WRITE(pwrite64, (int fd, const void *data, size_t n, off64_t place), (fd, data, n, place), (fd, data, n / 2, place))
CHANGE(ftruncate, (int fd, off_t n), (fd, n), concerns_open(fd), 0)
CHANGE(ftruncate64, (int fd, off64_t n), (fd, n), concerns_open(fd), 0)
CHANGE(fsync, (int fd), (fd), concerns_open(fd), 1)
CHANGE(fdatasync, (int fd), (fd), concerns_open(fd), 1)
CHANGE(rename, (const char *from, const char *to), (from, to), concerns(to), 0)
CHANGE(unlink, (const char *path), (path), concerns(path), 0)
CHANGE(rmdir, (const char *path), (path), concerns(path), 0)
CHANGE(mkdir, (const char *path, mode_t rights), (path, rights), concerns(path), 1)

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        REAL(name);                                                                                                    \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t rights = flags & O_CREAT ? va_arg(rest, mode_t) : 0;                                                    \
        va_end(rest);                                                                                                  \
        int what = flags & (O_CREAT | O_TRUNC) && concerns(path) ? next() : GO_ON;                                     \
        if (what == NO_ROOM && access(path, F_OK)) {                                                                   \
            errno = ENOSPC;                                                                                            \
            return -1;                                                                                                 \
        }                                                                                                              \
        int result = real(path, flags, rights);                                                                        \
        if (what == CUT)                                                                                               \
            die();                                                                                                     \
        return result;                                                                                                 \
    }

OPEN(open)
OPEN(open64)
