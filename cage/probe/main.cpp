// SPDX-License-Identifier: Apache-2.0
// volary-probe: small attacks that `volary doctor` runs inside a cage. Each line that it prints is
// "NAME RESULT": what became of one attack. It knows nothing of what is expected; cage/doctor.cpp
// does. Run outside of a cage it harms nothing: every attack is one that an ordinary user may try.
#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

constexpr int kWaitMs = 2000;
/// More than the cage of the test may have, few enough for any host.
constexpr int kForks = 200;

void say(const char* name, const std::string& result) {
    std::printf("%s %s\n", name, result.c_str());
    std::fflush(stdout);
}

/// "ok" for what worked, else the errno's name.
std::string outcome(long result) { return result >= 0 ? "ok" : ::strerrorname_np(errno); }

std::string read_file(const char* path) {
    std::string out;
    const int file = ::open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return out;
    char part[1024];
    for (ssize_t got = 0; (got = ::read(file, part, sizeof part)) > 0;)
        out.append(part, static_cast<std::size_t>(got));
    ::close(file);
    return out;
}

std::string open_for_writing(const char* path, int flags = 0) {
    const int file = ::open(path, O_WRONLY | O_CLOEXEC | flags, 0600);
    auto out = outcome(file);
    if (file >= 0) ::close(file);
    return out;
}

/// The signal that ended a child which runs `attack`, or "ok".
template <class Attack>
std::string in_child(Attack attack) {
    const pid_t child = ::fork();
    if (child < 0) return outcome(-1);
    if (child == 0) {
        attack();
        ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (!WIFSIGNALED(status)) return "ok";
    return WTERMSIG(status) == SIGSYS ? "SIGSYS" : "signal " + std::to_string(WTERMSIG(status));
}

void probe_calls() {
    say("mount", outcome(::syscall(SYS_mount, nullptr, nullptr, nullptr, 0, nullptr)));
    say("keyctl", outcome(::syscall(SYS_keyctl, 0, -3, 1, 0, 0)));
    say("userfaultfd", outcome(::syscall(SYS_userfaultfd, 1)));
    say("io_uring", outcome(::syscall(SYS_io_uring_setup, 0, nullptr)));
    say("userns", outcome(::unshare(CLONE_NEWUSER)));
    say("clone3", outcome(::syscall(SYS_clone3, nullptr, 0)));
    say("tiocsti", outcome(::ioctl(0, TIOCSTI, "")));
    say("vsock", outcome(::socket(AF_VSOCK, SOCK_STREAM, 0)));
    say("packet", outcome(::socket(AF_PACKET, SOCK_RAW, 0)));
    say("listener", outcome(::syscall(SYS_seccomp, 1, 1U << 3U, nullptr)));
    const pid_t child = ::fork();
    if (child == 0) {
        ::pause();
        ::_exit(0);
    }
    say("ptrace", outcome(::ptrace(PTRACE_SEIZE, child, nullptr, nullptr)));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
#ifdef __x86_64__
    // getpid by the table of i386.
    say("i386", in_child([] {
            long result = 20;
            asm volatile("int $0x80" : "+a"(result) : : "memory");
        }));
#else
    say("i386", "SIGSYS");
#endif
}

void probe_privileges() {
    const auto status = read_file("/proc/self/status");
    for (const char* name : {"CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs"}) {
        const auto at = status.find(std::string(name) + ":\t");
        const auto from = at == std::string::npos ? at : at + std::strlen(name) + 2;
        const auto end = status.find('\n', from);
        say(name, from == std::string::npos ? "unknown" : status.substr(from, end - from));
    }
    int open = 0;
    for (int fd = 3; fd < 256; ++fd)
        if (::fcntl(fd, F_GETFD) >= 0) ++open;
    say("descriptors", std::to_string(open));
}

void probe_files() {
    say("root", open_for_writing("/volary-doctor", O_CREAT));
    say("usr", open_for_writing("/usr/volary-doctor", O_CREAT));
    // The mount of /proc is writable and so is this file: only Landlock is in the way.
    say("landlock", open_for_writing("/proc/self/comm"));
    say("first", open_for_writing("/proc/1/mem"));
    say("kcore", outcome(::open("/proc/kcore", O_RDONLY | O_CLOEXEC)));
    say("sysctl", open_for_writing("/proc/sys/kernel/core_pattern"));
    say("sys", outcome(::access("/sys/kernel", F_OK)));
    say("machine-id", outcome(::access("/etc/machine-id", F_OK)));
    say("shadow", outcome(::access("/etc/shadow", F_OK)));
    utsname host{};
    ::uname(&host);
    say("hostname", host.nodename);
    int processes = 0;
    if (DIR* folder = ::opendir("/proc")) {
        while (const auto* entry = ::readdir(folder))
            if (std::atoi(entry->d_name) > 0) ++processes;
        ::closedir(folder);
    }
    say("processes", std::to_string(processes));
}

sockaddr_in address_of(const char* text, int port) {
    sockaddr_in out{};
    out.sin_family = AF_INET;
    out.sin_port = htons(static_cast<std::uint16_t>(port));
    ::inet_pton(AF_INET, text, &out.sin_addr);
    return out;
}

std::string connect_to(const char* address, int port) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket < 0) return outcome(-1);
    const timeval wait{kWaitMs / 1000, 0};
    ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    const auto to = address_of(address, port);
    auto out = outcome(::connect(socket, reinterpret_cast<const sockaddr*>(&to), sizeof to));
    ::close(socket);
    return out;
}

/// Asks the cage's name server for an A record (RFC 1035); the address, or "rcode N".
std::string ask_name(const std::string& name) {
    std::string query("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
    for (std::size_t at = 0; at < name.size();) {
        const auto end = std::min(name.find('.', at), name.size());
        query.push_back(static_cast<char>(end - at));
        query.append(name, at, end - at);
        at = end + 1;
    }
    query.append(std::string("\0\0\1\0\1", 5));
    const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (socket < 0) return outcome(-1);
    const timeval wait{kWaitMs / 1000, 0};
    ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    const auto to = address_of("127.0.0.53", 53);
    ::sendto(
        socket, query.data(), query.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to
    );
    unsigned char answer[512];
    const auto got = ::recv(socket, answer, sizeof answer, 0);
    ::close(socket);
    if (got < 12) return outcome(-1);
    const int code = answer[3] & 0x0f;
    if (code != 0 || got < 16) return "rcode " + std::to_string(code);
    // The answer holds one A record, and its address comes last unless there is an OPT record.
    char text[INET_ADDRSTRLEN] = {};
    ::inet_ntop(AF_INET, answer + got - 4, text, sizeof text);
    return text;
}

void probe_network(const char* allowed) {
    say("address", connect_to("1.1.1.1", 443));
    say("metadata", connect_to("169.254.169.254", 80));
    say("name", ask_name("volary-doctor.invalid"));
    const auto fake = ask_name(allowed);
    say("allowed-name", fake);
    say("allowed", connect_to(fake.c_str(), 443));
    std::string devices;
    if (auto* list = ::if_nameindex()) {
        for (const auto* each = list; each->if_index != 0; ++each)
            devices += (devices.empty() ? "" : ",") + std::string(each->if_name);
        ::if_freenameindex(list);
    }
    say("devices", devices);
}

/// How many processes can be had at once.
void probe_pids() {
    pid_t children[kForks];
    int count = 0;
    std::string end = "ok";
    while (count < kForks) {
        const pid_t child = ::fork();
        if (child < 0) {
            end = outcome(-1);
            break;
        }
        if (child == 0) {
            ::pause();
            ::_exit(0);
        }
        children[count++] = child;
    }
    for (int i = 0; i < count; ++i) ::kill(children[i], SIGKILL);
    for (int i = 0; i < count; ++i) ::waitpid(children[i], nullptr, 0);
    say("forks", std::to_string(count) + " " + end);
}

int probe_inside(const char* allowed) {
    probe_privileges();
    probe_files();
    probe_network(allowed);
    probe_pids();
    probe_calls();
    say("done", "ok");
    return 0;
}

/// Takes `megabytes` and says so; a cage that allows less ends it, or refuses the memory.
int probe_memory(std::size_t megabytes) {
    const auto size = megabytes << 20U;
    void* memory =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        say("memory", outcome(-1));
        return 0;
    }
    std::memset(memory, 1, size);
    // Time for those who only look now and then.
    ::poll(nullptr, 0, kWaitMs);
    say("memory", "ok");
    return 0;
}

/// Leaves processes of sessions of their own behind, which ignore SIGTERM.
int probe_linger() {
    for (int i = 0; i < 3; ++i) {
        if (::fork() != 0) continue;
        ::setsid();
        ::signal(SIGTERM, SIG_IGN);
        ::signal(SIGHUP, SIG_IGN);
        if (::fork() != 0) ::_exit(0);
        while (true) ::pause();
    }
    // Whoever looks now shall see those that stay, not those that are about to go.
    for (int i = 0; i < 3; ++i) ::wait(nullptr);
    say("linger", "ok");
    while (true) ::pause();
}

bool write_text(const char* path, const std::string& text) {
    const int file = ::open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0) return false;
    const bool good = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    ::close(file);
    return good;
}

/// Outside of a cage: can an ordinary user mount an overlay in a user namespace (for `cow`)?
int probe_overlay() {
    const auto uid = std::to_string(::getuid());
    const auto gid = std::to_string(::getgid());
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) return say("overlay", outcome(-1)), 1;
    write_text("/proc/self/setgroups", "deny");
    write_text("/proc/self/uid_map", "0 " + uid + " 1");
    write_text("/proc/self/gid_map", "0 " + gid + " 1");
    bool good = ::mount("volary", "/tmp", "tmpfs", 0, nullptr) == 0;
    for (const char* folder : {"/tmp/lower", "/tmp/upper", "/tmp/work", "/tmp/all"})
        good = good && ::mkdir(folder, 0700) == 0;
    good = good && ::mount(
                       "volary", "/tmp/all", "overlay", 0,
                       "lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work,userxattr"
                   ) == 0;
    say("overlay", outcome(good ? 0 : -1));
    return good ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string verb = argc > 1 ? argv[1] : "";
    if (verb == "--version") return std::puts("volary-probe " VOLARY_VERSION), 0;
    if (verb == "inside" && argc == 3) return probe_inside(argv[2]);
    if (verb == "memory" && argc == 3)
        return probe_memory(static_cast<std::size_t>(std::atoi(argv[2])));
    if (verb == "linger") return probe_linger();
    if (verb == "overlay") return probe_overlay();
    std::fputs("volary-probe: started by volary doctor, in a cage\n", stderr);
    return 2;
}
