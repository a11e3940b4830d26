/* A recorder of what a process asks its disk to keep.
 *
 * Preloaded (LD_PRELOAD) into a process, it appends every write, sync and change of a name below one directory to a
 * log. From the log, tests/crash/recorder.rs rebuilds what the medium holds after a power cut at any moment, and
 * knows every byte that was ever written.
 *
 *   OUBLIETTE_SHIM_DIR   the directory to watch, with everything below it
 *   OUBLIETTE_SHIM_LOG   the log; made when it is not there, appended to otherwise; not below the directory
 *
 * Without both of them it only passes calls on.
 *
 * THE LOG. Numbers are little-endian. The file starts with the 8 bytes "OBSHIM1\n"; then events, in the order in which
 * they took effect:
 *
 *    0  1  kind          see below
 *    1  1  flags         1 = synced when the call returned (O_SYNC, O_DSYNC, RWF_SYNC, RWF_DSYNC); 2 = directory;
 *                        4 = the file was made by this call; 8 = rename exchanged the two names
 *    2  2  zero
 *    4  4  file          number of the file (its inode) in this log; 0 where there is none
 *    8  8  sequence      of this event, from 0, without gaps in one process
 *   16  8  offset        see below
 *   24  4  length        of the bytes that follow
 *   28  –  bytes
 *
 *   kind                 offset                                        bytes
 *    1  FILE             its size when first seen                      path below the directory
 *    2  WRITE            where                                         what was written
 *    3  FSYNC            the sequence when the call began: the sync    –
 *    4  FDATASYNC        covers the events before it and no others     –
 *    5  SYNC_FILE_RANGE  start; no durability is taken from it         length u64, flags u32
 *    6  TRUNCATE         the new size                                  –
 *    7  UNLINK           –                                             path
 *    8  RENAME           –                                             old path, a zero byte, new path
 *    9  MKDIR            –                                             path
 *   10  RMDIR            –                                             path
 *   11  LINK             –                                             old path, a zero byte, new path
 *   12  ALLOCATE         start                                         length u64, mode u32
 *   13  SYNC_ALL         as FSYNC, for every file (sync, syncfs)       –
 *   14  MAPPED           a shared writable mapping: its writes are not seen, so a test must not trust this log
 *
 * Several processes may append to one log, one after the other; each starts at sequence 0 with new numbers of files. A
 * file that is written after its last name is gone is a new FILE, with " (deleted)" at the end of its path.
 *
 * A sync is logged after it succeeded and names what it covers. Writes are done and logged under one lock, so that
 * their order in the log is their order on the file. Files are told apart by inode, so duplicated and inherited
 * descriptors are followed. copy_file_range, sendfile and splice into a watched file answer EXDEV or EINVAL, upon
 * which callers write. Calls that do not go through libc (raw system calls, io_uring) are not seen.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { E_FILE = 1, E_WRITE, E_FSYNC, E_FDATASYNC, E_RANGE, E_TRUNCATE, E_UNLINK, E_RENAME, E_MKDIR, E_RMDIR, E_LINK, E_ALLOCATE, E_SYNC_ALL, E_MAPPED };
enum { F_SYNCED = 1, F_DIRECTORY = 2, F_MADE = 4, F_EXCHANGED = 8 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int log_fd = -1;
static char dir[PATH_MAX];
static size_t dir_length;
static uint64_t sequence;

/* Known inodes, by number of the file. */
#define MOST_FILES 65536
static struct { dev_t dev; ino_t ino; int alive; } files[MOST_FILES];
static uint32_t file_count;

static void raw_write(const void *bytes, size_t length) {
    const char *at = bytes;
    while (length) {
        long n = syscall(SYS_write, log_fd, at, length);
        if (n < 0) {
            if (errno == EINTR) continue;
            abort();
        }
        at += n;
        length -= (size_t)n;
    }
}

static void start(void) {
    const char *watched = getenv("OUBLIETTE_SHIM_DIR"), *path = getenv("OUBLIETTE_SHIM_LOG");
    if (!watched || !path || !realpath(watched, dir)) return;
    dir_length = strlen(dir);
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) abort();
    /* A high number: some programs close the low ones. */
    long high = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 700);
    log_fd = (int)(high < 0 ? fd : high);
    struct stat status;
    if (fstat(log_fd, &status) == 0 && status.st_size == 0) raw_write("OBSHIM1\n", 8);
}

static int on(void) {
    pthread_once(&once, start);
    return log_fd >= 0;
}

static void put(unsigned char *at, uint64_t number, int bytes) {
    for (int i = 0; i < bytes; i++) at[i] = (unsigned char)(number >> (8 * i));
}

/* Logs one event; the lock is held. */
static void event(int kind, int flags, uint32_t file, uint64_t offset, const void *bytes, size_t length) {
    unsigned char head[28] = {(unsigned char)kind, (unsigned char)flags};
    put(head + 4, file, 4);
    put(head + 8, sequence++, 8);
    put(head + 16, offset, 8);
    put(head + 24, length, 4);
    int saved = errno;
    raw_write(head, sizeof head);
    raw_write(bytes, length);
    errno = saved;
}

/* The part of an absolute path below the directory; "" for the directory itself; NULL outside. */
static const char *below(const char *path) {
    if (strncmp(path, dir, dir_length)) return NULL;
    if (path[dir_length] == 0) return path + dir_length;
    return path[dir_length] == '/' ? path + dir_length + 1 : NULL;
}

static const char *path_of(int fd, char *buffer) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long n = syscall(SYS_readlinkat, AT_FDCWD, link, buffer, PATH_MAX - 1);
    if (n < 0) return NULL;
    buffer[n] = 0;
    return below(buffer);
}

/* Turns (dirfd, path) into a path below the directory, following the links of its parents and not its own. */
static const char *resolve(int at, const char *path, char *buffer) {
    char joined[PATH_MAX], parent[PATH_MAX];
    if (path[0] == '/') {
        if (snprintf(joined, sizeof joined, "%s", path) >= (int)sizeof joined) return NULL;
    } else {
        char base[PATH_MAX], link[64];
        snprintf(link, sizeof link, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
        long n = syscall(SYS_readlinkat, AT_FDCWD, link, base, PATH_MAX - 1);
        if (n < 0) return NULL;
        base[n] = 0;
        if (snprintf(joined, sizeof joined, "%s/%s", base, path) >= (int)sizeof joined) return NULL;
    }
    size_t length = strlen(joined);
    while (length > 1 && joined[length - 1] == '/') joined[--length] = 0;
    char *name = strrchr(joined, '/');
    if (!name) return NULL;
    *name++ = 0;
    if (!realpath(joined[0] ? joined : "/", parent)) return NULL;
    if (snprintf(buffer, PATH_MAX, "%s/%s", parent, name) >= PATH_MAX) return NULL;
    return below(buffer);
}

static uint32_t known(const struct stat *status) {
    for (uint32_t n = file_count; n > 0; n--)
        if (files[n - 1].alive && files[n - 1].ino == status->st_ino && files[n - 1].dev == status->st_dev) return n;
    return 0;
}

/* The number of the file behind a descriptor, 0 when it is not watched; the lock is held. Logs FILE when it is new. */
static uint32_t file_of(int fd, int flags) {
    struct stat status;
    char buffer[PATH_MAX];
    if (fstat(fd, &status) || !(S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))) return 0;
    uint32_t file = known(&status);
    if (file) return file;
    const char *path = path_of(fd, buffer);
    if (!path) return 0;
    if (file_count == MOST_FILES) abort();
    files[file_count].dev = status.st_dev;
    files[file_count].ino = status.st_ino;
    files[file_count].alive = 1;
    file = ++file_count;
    if (S_ISDIR(status.st_mode)) flags |= F_DIRECTORY;
    event(E_FILE, flags, file, (flags & (F_MADE | F_DIRECTORY)) ? 0 : (uint64_t)status.st_size, path, strlen(path));
    return file;
}

/* The number of the file under a name, which need not be open; 0 when it was never seen. */
static uint32_t file_at(int at, const char *path, struct stat *status) {
    if (fstatat(at, path, status, AT_SYMLINK_NOFOLLOW)) return 0;
    return known(status);
}

/* The inode may be used again once its last name is gone; open descriptors then count as a new file. */
static void forget(uint32_t file, const struct stat *status) {
    if (file && (status->st_nlink <= 1 || S_ISDIR(status->st_mode))) files[file - 1].alive = 0;
}

static int synced(int fd) {
    int flags = (int)syscall(SYS_fcntl, fd, F_GETFL);
    return flags >= 0 && (flags & O_DSYNC) ? F_SYNCED : 0;
}

/* Opening */

static int opened(int at, const char *path, int flags, mode_t mode) {
    if (!on() || !(flags & (O_CREAT | O_TRUNC))) return (int)syscall(SYS_openat, at, path, flags | O_LARGEFILE, mode);
    pthread_mutex_lock(&lock);
    struct stat status;
    int was_there = fstatat(at, path, &status, 0) == 0;
    int fd = (int)syscall(SYS_openat, at, path, flags | O_LARGEFILE, mode);
    if (fd >= 0) {
        int saved = errno;
        int made = !was_there && (flags & O_CREAT);
        uint32_t file = file_of(fd, made ? F_MADE : 0);
        if (file && was_there && (flags & O_TRUNC) && status.st_size > 0) event(E_TRUNCATE, 0, file, 0, NULL, 0);
        errno = saved;
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE(last) ({ mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list list; va_start(list, last); mode = va_arg(list, mode_t); va_end(list); } mode; })

int open(const char *path, int flags, ...) { return opened(AT_FDCWD, path, flags, MODE(flags)); }
int open64(const char *path, int flags, ...) { return opened(AT_FDCWD, path, flags, MODE(flags)); }
int openat(int at, const char *path, int flags, ...) { return opened(at, path, flags, MODE(flags)); }
int openat64(int at, const char *path, int flags, ...) { return opened(at, path, flags, MODE(flags)); }
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

/* Writing. offset < 0 means at the file's own position. */

static ssize_t written(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    ssize_t n;
    int watched = on();
    uint32_t file = 0;
    if (watched) {
        pthread_mutex_lock(&lock);
        file = file_of(fd, 0);
        if (!file) pthread_mutex_unlock(&lock);
    }
    if (offset < 0 && !flags) n = syscall(SYS_writev, fd, parts, count);
    else n = syscall(SYS_pwritev2, fd, parts, count, (long)offset, 0L, flags);
    if (!file) return n;
    int saved = errno;
    if (n > 0) {
        uint64_t at = offset < 0 ? (uint64_t)(lseek(fd, 0, SEEK_CUR) - n) : (uint64_t)offset;
        int marks = synced(fd) | ((flags & (RWF_SYNC | RWF_DSYNC)) ? F_SYNCED : 0);
        size_t left = (size_t)n;
        if (count == 1) {
            event(E_WRITE, marks, file, at, parts[0].iov_base, left);
        } else {
            char *joined = malloc(left), *to = joined;
            if (!joined) abort();
            for (int i = 0; i < count && left; i++) {
                size_t part = parts[i].iov_len < left ? parts[i].iov_len : left;
                memcpy(to, parts[i].iov_base, part);
                to += part;
                left -= part;
            }
            event(E_WRITE, marks, file, at, joined, (size_t)n);
            free(joined);
        }
    }
    errno = saved;
    pthread_mutex_unlock(&lock);
    return n;
}

static ssize_t written_one(int fd, const void *bytes, size_t length, off_t offset) {
    struct iovec part = {(void *)bytes, length};
    return written(fd, &part, 1, offset, 0);
}

ssize_t write(int fd, const void *bytes, size_t length) { return written_one(fd, bytes, length, -1); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return written_one(fd, bytes, length, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) { return written_one(fd, bytes, length, offset); }
ssize_t writev(int fd, const struct iovec *parts, int count) { return written(fd, parts, count, -1, 0); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return written(fd, parts, count, offset, 0); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) { return written(fd, parts, count, offset, 0); }
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags) { return written(fd, parts, count, offset, flags); }
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off_t offset, int flags) { return written(fd, parts, count, offset, flags); }

static int is_watched(int fd) {
    if (!on()) return 0;
    pthread_mutex_lock(&lock);
    uint32_t file = file_of(fd, 0);
    pthread_mutex_unlock(&lock);
    return file != 0;
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t length, unsigned flags) {
    if (is_watched(out)) { errno = EXDEV; return -1; }
    return syscall(SYS_copy_file_range, in, from, out, to, length, flags);
}
ssize_t sendfile(int out, int in, off_t *from, size_t length) {
    if (is_watched(out)) { errno = EINVAL; return -1; }
    return syscall(SYS_sendfile, out, in, from, length);
}
ssize_t sendfile64(int out, int in, off64_t *from, size_t length) { return sendfile(out, in, (off_t *)from, length); }
ssize_t splice(int in, off64_t *from, int out, off64_t *to, size_t length, unsigned flags) {
    if (is_watched(out)) { errno = EINVAL; return -1; }
    return syscall(SYS_splice, in, from, out, to, length, flags);
}

static int resized(int fd, off_t size) {
    if (!on()) return (int)syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&lock);
    uint32_t file = file_of(fd, 0);
    int result = (int)syscall(SYS_ftruncate, fd, size);
    if (file && result == 0) event(E_TRUNCATE, 0, file, (uint64_t)size, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}
int ftruncate(int fd, off_t size) { return resized(fd, size); }
int ftruncate64(int fd, off64_t size) { return resized(fd, size); }

static int resized_at(const char *path, off_t size) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    int result = resized(fd, size), saved = errno;
    close(fd);
    errno = saved;
    return result;
}
int truncate(const char *path, off_t size) { return resized_at(path, size); }
int truncate64(const char *path, off64_t size) { return resized_at(path, size); }

static int allocated(int fd, int mode, off_t offset, off_t length) {
    if (!on()) return (int)syscall(SYS_fallocate, fd, mode, offset, length);
    pthread_mutex_lock(&lock);
    uint32_t file = file_of(fd, 0);
    int result = (int)syscall(SYS_fallocate, fd, mode, offset, length);
    if (file && result == 0) {
        unsigned char rest[12];
        put(rest, (uint64_t)length, 8);
        put(rest + 8, (uint64_t)mode, 4);
        event(E_ALLOCATE, 0, file, (uint64_t)offset, rest, sizeof rest);
    }
    pthread_mutex_unlock(&lock);
    return result;
}
int fallocate(int fd, int mode, off_t offset, off_t length) { return allocated(fd, mode, offset, length); }
int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return allocated(fd, mode, offset, length); }
int posix_fallocate(int fd, off_t offset, off_t length) { return allocated(fd, 0, offset, length) ? errno : 0; }
int posix_fallocate64(int fd, off64_t offset, off64_t length) { return allocated(fd, 0, offset, length) ? errno : 0; }

/* Syncing */

static int flushed(int kind, int number, int fd) {
    if (!on()) return (int)syscall(number, fd);
    pthread_mutex_lock(&lock);
    uint32_t file = file_of(fd, 0);
    uint64_t covers = sequence;
    pthread_mutex_unlock(&lock);
    int result = (int)syscall(number, fd);
    if (result || (!file && kind != E_SYNC_ALL)) return result;
    pthread_mutex_lock(&lock);
    event(kind, 0, file, covers, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}
int fsync(int fd) { return flushed(E_FSYNC, SYS_fsync, fd); }
int fdatasync(int fd) { return flushed(E_FDATASYNC, SYS_fdatasync, fd); }
int syncfs(int fd) { return flushed(E_SYNC_ALL, SYS_syncfs, fd); }
void sync(void) { flushed(E_SYNC_ALL, SYS_sync, 0); }

int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
    int result = (int)syscall(SYS_sync_file_range, fd, offset, length, flags);
    if (result || !on()) return result;
    pthread_mutex_lock(&lock);
    uint32_t file = file_of(fd, 0);
    unsigned char rest[12];
    put(rest, (uint64_t)length, 8);
    put(rest + 8, flags, 4);
    if (file) event(E_RANGE, 0, file, (uint64_t)offset, rest, sizeof rest);
    pthread_mutex_unlock(&lock);
    return result;
}

/* Names */

static int unlinked(int at, const char *path, int flags) {
    if (!on()) return (int)syscall(SYS_unlinkat, at, path, flags);
    char buffer[PATH_MAX];
    struct stat status;
    pthread_mutex_lock(&lock);
    const char *name = resolve(at, path, buffer);
    uint32_t file = file_at(at, path, &status);
    int result = (int)syscall(SYS_unlinkat, at, path, flags);
    if (result == 0 && name) {
        event(flags & AT_REMOVEDIR ? E_RMDIR : E_UNLINK, 0, file, 0, name, strlen(name));
        forget(file, &status);
    }
    pthread_mutex_unlock(&lock);
    return result;
}
int unlink(const char *path) { return unlinked(AT_FDCWD, path, 0); }
int unlinkat(int at, const char *path, int flags) { return unlinked(at, path, flags); }
int rmdir(const char *path) { return unlinked(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path) {
    int result = unlinked(AT_FDCWD, path, 0);
    return result && (errno == EISDIR || errno == EPERM) ? unlinked(AT_FDCWD, path, AT_REMOVEDIR) : result;
}

static void event_of_two(int kind, int flags, uint32_t file, const char *from, const char *to) {
    char both[2 * PATH_MAX];
    size_t first = from ? strlen(from) : 0, second = to ? strlen(to) : 0;
    memcpy(both, from ? from : "", first);
    both[first] = 0;
    memcpy(both + first + 1, to ? to : "", second);
    event(kind, flags, file, 0, both, first + 1 + second);
}

static int renamed(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    if (!on()) return (int)syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    char from_buffer[PATH_MAX], to_buffer[PATH_MAX];
    struct stat moved, lost = {0};
    pthread_mutex_lock(&lock);
    const char *from_name = resolve(from_at, from, from_buffer), *to_name = resolve(to_at, to, to_buffer);
    uint32_t file = file_at(from_at, from, &moved), overwritten = file_at(to_at, to, &lost);
    int result = (int)syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    if (result == 0 && (from_name || to_name)) {
        event_of_two(E_RENAME, flags & RENAME_EXCHANGE ? F_EXCHANGED : 0, file, from_name, to_name);
        if (!(flags & RENAME_EXCHANGE) && overwritten != file) forget(overwritten, &lost);
    }
    pthread_mutex_unlock(&lock);
    return result;
}
int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_at, const char *from, int to_at, const char *to) { return renamed(from_at, from, to_at, to, 0); }
int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) { return renamed(from_at, from, to_at, to, flags); }

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    if (!on()) return (int)syscall(SYS_linkat, from_at, from, to_at, to, flags);
    char from_buffer[PATH_MAX], to_buffer[PATH_MAX];
    struct stat status;
    pthread_mutex_lock(&lock);
    const char *from_name = resolve(from_at, from, from_buffer), *to_name = resolve(to_at, to, to_buffer);
    int result = (int)syscall(SYS_linkat, from_at, from, to_at, to, flags);
    if (result == 0 && to_name) event_of_two(E_LINK, 0, file_at(to_at, to, &status), from_name, to_name);
    pthread_mutex_unlock(&lock);
    return result;
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int mkdirat(int at, const char *path, mode_t mode) {
    int result = (int)syscall(SYS_mkdirat, at, path, mode);
    if (result || !on()) return result;
    char buffer[PATH_MAX];
    pthread_mutex_lock(&lock);
    const char *name = resolve(at, path, buffer);
    if (name) event(E_MKDIR, 0, 0, 0, name, strlen(name));
    pthread_mutex_unlock(&lock);
    return result;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

static void *mapped(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
    void *result = (void *)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
    if (result == MAP_FAILED || fd < 0 || !(protection & PROT_WRITE) || (flags & MAP_TYPE) == MAP_PRIVATE || !on()) return result;
    pthread_mutex_lock(&lock);
    uint32_t file = file_of(fd, 0);
    if (file) event(E_MAPPED, 0, file, (uint64_t)offset, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}
void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset) { return mapped(at, length, protection, flags, fd, offset); }
void *mmap64(void *at, size_t length, int protection, int flags, int fd, off64_t offset) { return mapped(at, length, protection, flags, fd, offset); }
