/* Counts the operations that change a file system, and lets the n-th one fail: a kill before it, or a disk that is full from then on.
   Preloaded (LD_PRELOAD); only what lies below the armed folder counts. */
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
#include <sys/types.h>
#include <unistd.h>

enum { COUNT, KILL, FULL };

static long counted, fatal;
static int mode = -1;
static char root[PATH_MAX];
static size_t root_length;

void interposer_arm(int what, long at, const char *folder) {
    counted = 0, fatal = at;
    root_length = strlen(strncpy(root, folder, sizeof root - 1));
    mode = what;
}

long interposer_counted(void) { return counted; }

static int below(const char *path) { return !strncmp(path, root, root_length); }

static int below_at(int folder, const char *name) {
    if (mode < 0 || !name) return 0;
    if (name[0] == '/') return below(name);
    char link[64], path[PATH_MAX];
    if (folder == AT_FDCWD) return getcwd(path, sizeof path) && below(path);
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, path, sizeof path - 1);
    return length > 0 && (path[length] = 0, below(path));
}

static int below_fd(int file) {
    char link[64], path[PATH_MAX];
    if (mode < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    return length > 0 && (path[length] = 0, below(path));
}

/* Whether the disk is full for this operation. Deleting and renaming need no space. */
static int fails(int here, int needs_space) {
    if (!here) return 0;
    counted++;
    if (mode == KILL && counted == fatal) _exit(137);
    if (mode == FULL && counted >= fatal && needs_space) { errno = ENOSPC; return 1; }
    return 0;
}

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

ssize_t write(int file, const void *data, size_t size) {
    if (mode == KILL && counted + 1 == fatal && size > 1 && below_fd(file))  /* torn: a half of it is there */
        REAL(ssize_t, "write", int, const void *, size_t)(file, data, size / 2);
    return fails(below_fd(file), 1) ? -1 : REAL(ssize_t, "write", int, const void *, size_t)(file, data, size);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
    return fails(below_fd(file), 1) ? -1 : REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t)(file, data, size, at);
}

static int creates(int flags) { return flags & (O_CREAT | O_TRUNC); }

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int permissions = creates(flags) ? va_arg(rest, int) : 0;
    va_end(rest);
    return fails(creates(flags) && below_at(AT_FDCWD, path), 1) ? -1
        : REAL(int, "open64", const char *, int, ...)(path, flags, permissions);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int permissions = creates(flags) ? va_arg(rest, int) : 0;
    va_end(rest);
    return fails(creates(flags) && below_at(AT_FDCWD, path), 1) ? -1
        : REAL(int, "open", const char *, int, ...)(path, flags, permissions);
}

int fsync(int file) { return fails(below_fd(file), 0) ? -1 : REAL(int, "fsync", int)(file); }

int ftruncate64(int file, off64_t size) {
    return fails(below_fd(file), 0) ? -1 : REAL(int, "ftruncate64", int, off64_t)(file, size);
}

int rename(const char *from, const char *to) {
    return fails(below_at(AT_FDCWD, to), 0) ? -1 : REAL(int, "rename", const char *, const char *)(from, to);
}

int renameat(int a, const char *from, int b, const char *to) {
    return fails(below_at(b, to), 0) ? -1 : REAL(int, "renameat", int, const char *, int, const char *)(a, from, b, to);
}

int unlink(const char *path) { return fails(below_at(AT_FDCWD, path), 0) ? -1 : REAL(int, "unlink", const char *)(path); }

int unlinkat(int folder, const char *path, int flags) {
    return fails(below_at(folder, path), 0) ? -1 : REAL(int, "unlinkat", int, const char *, int)(folder, path, flags);
}

int mkdir(const char *path, mode_t permissions) {
    return fails(below_at(AT_FDCWD, path), 1) ? -1 : REAL(int, "mkdir", const char *, mode_t)(path, permissions);
}

int rmdir(const char *path) { return fails(below_at(AT_FDCWD, path), 0) ? -1 : REAL(int, "rmdir", const char *)(path); }

int chmod(const char *path, mode_t permissions) {
    return fails(below_at(AT_FDCWD, path), 0) ? -1 : REAL(int, "chmod", const char *, mode_t)(path, permissions);
}
