// SPDX-License-Identifier: Apache-2.0
// volary-fault.so: a library for LD_PRELOAD that makes the disk and the clock of one process
// misbehave, and kills it, at a chosen system call. A test tool; nothing of volary links it.
//
// It stands before the C library's write-class functions, counts the calls, and acts by the rules
// of a control file that VOLARY_FAULT names: mapped shared, so that a test reads the counts and
// arms rules while the process runs, and reads them still when it is dead. VOLARY_FAULT_STATE is
// the folder whose files count as "state". Calls that the C library makes inside of itself (stdio)
// and stores to mapped memory are not seen. faults.mjs writes the control file.
//
// Only the process that loaded the library is meant: a child between fork and exec counts nothing.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/// What a call does. kAny counts all of them.
enum Kind { kAny, kWrite, kSync, kCreate, kName, kSize, kSend, kKinds };

/// Where it does it: anywhere, or to a file below the state folder.
enum Where { kEverywhere, kState, kPlaces };

enum Action {
    kNone,
    kKillBefore,
    kKillAfter,
    kTorn,
    kRefuseIo,
    kRefuseSpace,
    kShort,
    kDelay,
    kClock,
    kRefuseReadOnly
};

/// Acts on the calls number `first` to `last` of its kind and place; armed by `action`, the word
/// that is written last. `argument`: microseconds of a delay, seconds (signed) of a clock's jump.
struct Rule {
    uint64_t kind, where, first, last;
    int64_t argument;
    _Atomic uint64_t struck, action;
};

enum { kRules = 8 };

/// The control file: all words are 64 bits in the host's order.
struct Control {
    char magic[8];  // "VOLFAULT"
    uint64_t version;
    _Atomic uint64_t counted[kPlaces][kKinds];
    struct Rule rules[kRules];
};

static struct Control* control;
static const char* state_folder = "";
static pid_t owner;

/// What is to become of one call.
struct Verdict {
    int error;
    bool half;
    bool deadly;
};

__attribute__((constructor)) static void load(void) {
    const char* file = getenv("VOLARY_FAULT");
    if (file == NULL) return;
    const int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) < 0 || info.st_size < (off_t)sizeof(struct Control)) {
        dprintf(2, "volary-fault: \"%s\" is no control file\n", file);
        _exit(127);
    }
    struct Control* mapped =
        mmap(NULL, sizeof(struct Control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED || memcmp(mapped->magic, "VOLFAULT", 8) != 0 || mapped->version != 1) {
        dprintf(2, "volary-fault: \"%s\" is no control file of version 1\n", file);
        _exit(127);
    }
    const char* folder = getenv("VOLARY_FAULT_STATE");
    if (folder != NULL) state_folder = folder;
    owner = (pid_t)syscall(SYS_getpid);
    control = mapped;
}

static void die(void) {
    syscall(SYS_kill, owner, SIGKILL);
    // Another thread's signal may need a moment to reach this one: it must not go on.
    for (;;) pause();
}

static bool below_state(const char* path) {
    const size_t length = strlen(state_folder);
    return length > 0 && strncmp(path, state_folder, length) == 0 &&
           (path[length] == '/' || path[length] == '\0');
}

/// The path of a descriptor, by the kernel's word; empty when there is none.
static void path_of(int fd, char path[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = '\0';
}

static bool fd_in_state(int fd) {
    char path[PATH_MAX];
    if (control == NULL) return false;
    path_of(fd, path);
    return below_state(path);
}

static bool name_in_state(int folder, const char* name) {
    if (control == NULL || name == NULL) return false;
    if (name[0] == '/') return below_state(name);
    return folder != AT_FDCWD && fd_in_state(folder);
}

static void delay(int64_t microseconds) {
    const struct timespec time = {microseconds / 1000000, (microseconds % 1000000) * 1000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

static void apply(struct Rule* rule, uint64_t action, struct Verdict* verdict) {
    atomic_fetch_add(&rule->struck, 1);
    switch (action) {
        case kKillBefore:
            die();
            break;
        case kKillAfter:
            verdict->deadly = true;
            break;
        case kTorn:
            verdict->half = verdict->deadly = true;
            break;
        case kRefuseIo:
            verdict->error = EIO;
            break;
        case kRefuseSpace:
            verdict->error = ENOSPC;
            break;
        case kRefuseReadOnly:
            verdict->error = EROFS;
            break;
        case kShort:
            verdict->half = true;
            break;
        case kDelay:
            delay(rule->argument);
            break;
        default:
            break;
    }
}

/// Counts a call and says what becomes of it. Does not return when the call is to be the last.
static struct Verdict judge(enum Kind kind, bool in_state) {
    struct Verdict verdict = {0, false, false};
    if (control == NULL || syscall(SYS_getpid) != owner) return verdict;
    uint64_t number[kPlaces][kKinds];
    for (int where = kEverywhere; where <= (in_state ? kState : kEverywhere); ++where) {
        number[where][kAny] = atomic_fetch_add(&control->counted[where][kAny], 1) + 1;
        number[where][kind] = atomic_fetch_add(&control->counted[where][kind], 1) + 1;
    }
    for (int i = 0; i < kRules; ++i) {
        struct Rule* rule = &control->rules[i];
        const uint64_t action = atomic_load(&rule->action);
        if (action == kNone || rule->kind >= kKinds || rule->where >= kPlaces) continue;
        if (rule->kind != kAny && rule->kind != (uint64_t)kind) continue;
        if (rule->where == kState && !in_state) continue;
        const uint64_t nth = number[rule->where][rule->kind];
        if (nth >= rule->first && nth <= rule->last) apply(rule, action, &verdict);
    }
    return verdict;
}

static long ended(struct Verdict verdict, long result) {
    const int error = errno;
    if (verdict.deadly) die();
    errno = error;
    return result;
}

static long refused(struct Verdict verdict) {
    errno = verdict.error;
    return -1;
}

static size_t part(struct Verdict verdict, size_t size) {
    return verdict.half && size > 1 ? size / 2 : size;
}

// --- Data
// -----------------------------------------------------------------------------------------

ssize_t write(int fd, const void* data, size_t size) {
    const struct Verdict verdict = judge(kWrite, fd_in_state(fd));
    if (verdict.error != 0) return refused(verdict);
    return ended(verdict, syscall(SYS_write, fd, data, part(verdict, size)));
}

ssize_t pwrite64(int fd, const void* data, size_t size, off64_t at) {
    const struct Verdict verdict = judge(kWrite, fd_in_state(fd));
    if (verdict.error != 0) return refused(verdict);
    return ended(verdict, syscall(SYS_pwrite64, fd, data, part(verdict, size), at));
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t at) {
    return pwrite64(fd, data, size, at);
}

ssize_t writev(int fd, const struct iovec* parts, int count) {
    const struct Verdict verdict = judge(kWrite, fd_in_state(fd));
    if (verdict.error != 0) return refused(verdict);
    if (verdict.half && count > 0) {
        const struct iovec first = {parts[0].iov_base, part(verdict, parts[0].iov_len)};
        return ended(verdict, syscall(SYS_writev, fd, &first, 1));
    }
    return ended(verdict, syscall(SYS_writev, fd, parts, count));
}

ssize_t send(int fd, const void* data, size_t size, int flags) {
    const struct Verdict verdict = judge(kSend, false);
    if (verdict.error != 0) return refused(verdict);
    return ended(verdict, syscall(SYS_sendto, fd, data, part(verdict, size), flags, NULL, 0));
}

ssize_t sendto(
    int fd, const void* data, size_t size, int flags, const struct sockaddr* to, socklen_t length
) {
    const struct Verdict verdict = judge(kSend, false);
    if (verdict.error != 0) return refused(verdict);
    return ended(verdict, syscall(SYS_sendto, fd, data, size, flags, to, length));
}

ssize_t sendmsg(int fd, const struct msghdr* message, int flags) {
    const struct Verdict verdict = judge(kSend, false);
    if (verdict.error != 0) return refused(verdict);
    return ended(verdict, syscall(SYS_sendmsg, fd, message, flags));
}

int fsync(int fd) {
    const struct Verdict verdict = judge(kSync, fd_in_state(fd));
    if (verdict.error != 0) return (int)refused(verdict);
    return (int)ended(verdict, syscall(SYS_fsync, fd));
}

int fdatasync(int fd) {
    const struct Verdict verdict = judge(kSync, fd_in_state(fd));
    if (verdict.error != 0) return (int)refused(verdict);
    return (int)ended(verdict, syscall(SYS_fdatasync, fd));
}

int ftruncate64(int fd, off64_t size) {
    const struct Verdict verdict = judge(kSize, fd_in_state(fd));
    if (verdict.error != 0) return (int)refused(verdict);
    return (int)ended(verdict, syscall(SYS_ftruncate, fd, size));
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

// --- Names
// ----------------------------------------------------------------------------------------

static int open_at(int folder, const char* name, int flags, mode_t mode) {
    struct Verdict verdict = {0, false, false};
    if ((flags & O_CREAT) != 0) verdict = judge(kCreate, name_in_state(folder, name));
    if (verdict.error != 0) return (int)refused(verdict);
    return (int)ended(verdict, syscall(SYS_openat, folder, name, flags, mode));
}

static bool has_mode(int flags) {
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

static mode_t mode_of(int flags, va_list arguments) {
    return has_mode(flags) ? va_arg(arguments, mode_t) : 0;
}

int openat64(int folder, const char* name, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_at(folder, name, flags, mode);
}

int openat(int folder, const char* name, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_at(folder, name, flags, mode);
}

int open64(const char* name, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_at(AT_FDCWD, name, flags, mode);
}

int open(const char* name, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_at(AT_FDCWD, name, flags, mode);
}

int renameat2(int from, const char* old, int to, const char* new, unsigned flags) {
    const struct Verdict verdict = judge(kName, name_in_state(to, new));
    if (verdict.error != 0) return (int)refused(verdict);
    return (int)ended(verdict, syscall(SYS_renameat2, from, old, to, new, flags));
}

int renameat(int from, const char* old, int to, const char* new) {
    return renameat2(from, old, to, new, 0);
}

int rename(const char* old, const char* new) { return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0); }

int linkat(int from, const char* old, int to, const char* new, int flags) {
    const struct Verdict verdict = judge(kName, name_in_state(to, new));
    if (verdict.error != 0) return (int)refused(verdict);
    return (int)ended(verdict, syscall(SYS_linkat, from, old, to, new, flags));
}

int link(const char* old, const char* new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

int symlinkat(const char* target, int folder, const char* name) {
    const struct Verdict verdict = judge(kName, name_in_state(folder, name));
    if (verdict.error != 0) return (int)refused(verdict);
    return (int)ended(verdict, syscall(SYS_symlinkat, target, folder, name));
}

int symlink(const char* target, const char* name) { return symlinkat(target, AT_FDCWD, name); }

int unlinkat(int folder, const char* name, int flags) {
    const struct Verdict verdict = judge(kName, name_in_state(folder, name));
    if (verdict.error != 0) return (int)refused(verdict);
    return (int)ended(verdict, syscall(SYS_unlinkat, folder, name, flags));
}

int unlink(const char* name) { return unlinkat(AT_FDCWD, name, 0); }

int rmdir(const char* name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int folder, const char* name, mode_t mode) {
    const struct Verdict verdict = judge(kName, name_in_state(folder, name));
    if (verdict.error != 0) return (int)refused(verdict);
    return (int)ended(verdict, syscall(SYS_mkdirat, folder, name, mode));
}

int mkdir(const char* name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

// --- The clock
// ------------------------------------------------------------------------------------

/// Seconds by which the wall clock is off just now.
static int64_t jumped(void) {
    int64_t seconds = 0;
    if (control == NULL) return 0;
    for (int i = 0; i < kRules; ++i) {
        const struct Rule* rule = &control->rules[i];
        if (atomic_load(&rule->action) != kClock) continue;
        if (rule->kind >= kKinds || rule->where >= kPlaces) continue;
        const uint64_t now = atomic_load(&control->counted[rule->where][rule->kind]);
        if (now >= rule->first && now <= rule->last) seconds += rule->argument;
    }
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec* time) {
    const long result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && clock == CLOCK_REALTIME) time->tv_sec += jumped();
    return (int)result;
}

int gettimeofday(struct timeval* restrict time, void* restrict zone) {
    (void)zone;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) < 0) return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t* out) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) < 0) return -1;
    if (out != NULL) *out = now.tv_sec;
    return now.tv_sec;
}
