// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// What the daemon and a volary-shim say to each other (docs/shim.md).
///
/// A SOCK_SEQPACKET pair carries one frame a packet: u8 version, u8 type, then the fields in
/// order. Integers are little endian; a string or list is a u32 count followed by its content.
/// Descriptors travel beside the frame (SCM_RIGHTS) and are named by their index in it.
namespace volary::cage::wire {

constexpr std::uint8_t kVersion = 2;
/// Below the kernel's default send buffer of a socket (208 KiB), so that a frame is never refused
/// with EMSGSIZE.
constexpr std::size_t kMaxFrame = std::size_t{160} * 1024;
/// SCM_RIGHTS carries 253 at most (SCM_MAX_FD in the kernel).
constexpr std::size_t kMaxFds = 240;
/// No launch has more arguments; bwrap itself stops at 9000.
constexpr std::size_t kMaxList = 8192;
/// Bytes of a stream in one frame.
constexpr std::size_t kMaxPiece = std::size_t{32} * 1024;
/// The streams of a runner whose ends the shim keeps.
constexpr std::size_t kOutputs = 3;
enum class Stream : std::uint8_t { out = 0, err = 1, signals = 2 };
/// Stands for a descriptor that is not there.
constexpr std::uint16_t kNone = 0xffff;

enum class Type : std::uint8_t {
    // daemon -> shim
    launch = 1,
    bind = 2,        ///< bind one more socket in the cage's network namespace
    signal = 3,      ///< send a signal to the runner
    kill = 4,        ///< end every process of the cage now
    mount = 5,       ///< bind one more path into the running cage
    resume = 6,      ///< send a stream from an offset on
    want = 7,        ///< a stream may be sent up to an offset
    ack = 8,         ///< what a stream said up to an offset is durable: forget it
    input = 9,       ///< bytes for the runner's standard input
    input_end = 10,  ///< and no more of them
    release = 11,    ///< everything was taken: the shim may end once the cage has
    // shim -> daemon
    sockets = 64,      ///< the plan's sockets in order, then the packet socket; several frames
    started = 65,      ///< the runner has been executed
    exited = 66,       ///< no process of the cage is left; the shim ends after this
    failed = 67,       ///< the launch failed at a step; `exited` follows
    bound = 68,        ///< answer to `bind`
    denied_call = 69,  ///< system calls that were refused by user notification
    mounted = 70,      ///< answer to `mount`
    attached = 71,     ///< first frame to a daemon that connected: what has been so far
    held = 72,         ///< sockets of the cage, as they were bound; several frames
    output = 73,       ///< a piece of a stream
    output_end = 74,   ///< the runner and its children have closed a stream
    input_taken = 75,  ///< how much of the input has gone into the runner's pipe
    dropped = 76       ///< a stream had no room while no daemon was there
};

/// One word of bwrap's command line. The numbers of descriptors are known to the shim alone.
struct Argument {
    enum class Kind : std::uint8_t {
        text = 0,
        fd = 1,       ///< number of the passed descriptor `index`
        fd_path = 2,  ///< "/proc/self/fd/" + that number
        data = 3,     ///< number of a memfd that holds data[index]
        sync = 4,     ///< number of the socket on which volary-init reports to the shim
        lifeline = 5  ///< number of a socket whose other end closes when the shim ends
    };
    Kind kind = Kind::text;
    std::string text;
    std::uint16_t index = 0;
    bool operator==(const Argument&) const = default;
};

/// A socket to bind inside the namespace.
struct BindSpec {
    enum class Kind : std::uint8_t {
        udp = 0,
        tcp = 1,
        outgoing = 2  ///< an unbound, unconnected stream of the address's family
    };
    Kind kind = Kind::tcp;
    std::string address;  ///< IPv4 or IPv6 literal
    std::uint16_t port = 0;
    bool operator==(const BindSpec&) const = default;
};

/// One thing to make in the cage's root, in order; what the native launcher knows how to do.
struct RootStep {
    enum class Kind : std::uint8_t {
        folder = 0,  ///< with `mode`
        link = 1,    ///< a symbolic link to `text`
        file = 2,    ///< a file of the root with data[index] in it
        bind = 3,    ///< the passed descriptor `index`, with what is mounted below it
        data = 4,    ///< a read-only file with data[index] in it, over what is there
        tmpfs = 5,   ///< of `size` bytes and `inodes` files (0: no limit)
        proc = 6,
        devices = 7,  ///< the usual harmless device nodes
        seal = 8      ///< the mount at `target` becomes read-only
    };
    Kind kind = Kind::folder;
    bool writable = false;  ///< of a bind
    bool device = false;    ///< of a bind: device nodes work
    /// The place lies below a bind, so it is never made: it must be there.
    bool must_exist = false;
    std::string target;  ///< absolute, in the cage
    std::string text;
    std::uint16_t index = 0;
    std::uint32_t mode = 0755;
    std::uint64_t size = 0;
    std::uint64_t inodes = 0;
    bool operator==(const RootStep&) const = default;
};

/// How the shim itself builds the cage; absent: bwrap does.
struct Native {
    std::uint32_t uid = 1000, gid = 1000;  ///< in the cage, for this process's own
    std::string hostname;
    std::string folder;            ///< working directory of the runner
    std::uint16_t filter = 0;      ///< data index of the seccomp program
    std::vector<std::string> env;  ///< "NAME=value"
    std::vector<RootStep> steps;
    bool operator==(const Native&) const = default;
};

/// A `cow` rule: the shim mounts an overlay and puts it in place of the descriptor of its source.
struct Overlay {
    std::uint16_t lower = 0;  ///< index of the source
    std::uint16_t layer = 0;  ///< index of a folder with `upper`, `work` and `merged`
    std::string rule;         ///< for errors
    bool operator==(const Overlay&) const = default;
};

/// The shim keeps the runner's streams and outlives the daemon. All are indexes of passed
/// descriptors: our ends of the runner's pipes, a bound unix socket, a folder for the spool.
struct Keep {
    std::uint16_t input = kNone;
    std::uint16_t outputs[kOutputs] = {kNone, kNone, kNone};
    bool lossy[kOutputs] = {false, false, false};  ///< rather dropped than waited for, when alone
    std::uint16_t listener = kNone;
    std::uint16_t folder = kNone;
    std::uint16_t record = kNone;      ///< a file that each daemon is given: what it must know
    std::uint64_t spool = 0;           ///< most bytes kept of each stream
    std::uint64_t output_rate = 0;     ///< bytes a second of all streams together; 0: any
    std::uint32_t orphan_seconds = 0;  ///< how long the cage lives without a daemon
    bool operator==(const Keep&) const = default;
};

struct Launch {
    std::string bwrap;              ///< path of the program
    std::vector<Argument> options;  ///< given to bwrap through --args, unseen by `ps`
    std::vector<Argument> command;  ///< volary-init, its options, `--`, the runner
    std::vector<std::string> data;  ///< contents of small files and the seccomp filter
    std::vector<BindSpec> sockets;
    bool keep_session = false;           ///< a terminal is passed through
    std::uint16_t stdio[3] = {0, 0, 0};  ///< indexes of the passed descriptors
    std::vector<std::uint16_t> joins;  ///< cgroup.procs files that the cage's first process enters
    std::optional<Native> native;      ///< `bwrap` and `options` are then empty
    /// The command line of another launcher, without the command. With `native`: podman's, and the
    /// shim makes that root for it. Without: firejail's, which has the host's root, and runs in no
    /// namespace of the shim (Shim::Place::host).
    std::vector<std::string> launcher;
    std::vector<Overlay> overlays;
    bool notify = false;  ///< volary-init sends the listener of its filter; without it: no start
    std::optional<Keep> keep;  ///< absent: the cage ends with the daemon
    bool operator==(const Launch&) const = default;
};

struct Bind {
    std::uint32_t request = 0;
    BindSpec socket;
    std::string name = {};  ///< whose fake address it is; told to the next daemon
    bool operator==(const Bind&) const = default;
};

/// The source comes as a descriptor with this frame.
struct Mount {
    std::uint32_t request = 0;
    std::string target;  ///< absolute path in the cage
    bool writable = false;
    bool operator==(const Mount&) const = default;
};

/// `step` is what failed; empty: it is mounted.
struct Mounted {
    std::uint32_t request = 0;
    std::string step;
    std::int32_t error = 0;
    bool operator==(const Mounted&) const = default;
};

struct Signal {
    std::int32_t number = 0;
    bool operator==(const Signal&) const = default;
};

struct Sockets {
    std::uint32_t remaining = 0;  ///< descriptors that come with later frames
    bool operator==(const Sockets&) const = default;
};

struct Started {
    std::int32_t runner = 0;  ///< host pid
    std::int32_t init = 0;    ///< host pid of the first process of the pid namespace
    std::uint32_t net_setup_us = 0;
    bool operator==(const Started&) const = default;
};

struct Exited {
    std::int32_t code = 0;
    std::int32_t signal = 0;
    std::uint64_t user_us = 0;
    std::uint64_t system_us = 0;
    std::uint64_t max_rss_kb = 0;  ///< of the largest process
    bool operator==(const Exited&) const = default;
};

/// `step` is what was tried, `subject` on what, `error` the errno (0: the subject says it all).
struct Failed {
    std::string step;
    std::string subject;
    std::int32_t error = 0;
    bool operator==(const Failed&) const = default;
};

struct Bound {
    std::uint32_t request = 0;
    std::int32_t error = 0;  ///< 0: the descriptor comes with this frame
    bool operator==(const Bound&) const = default;
};

/// Refused calls of one kind by processes of one name.
struct DeniedCall {
    std::int32_t number = 0;     ///< of the call; -1: of several kinds, too many to tell apart
    std::uint64_t argument = 0;  ///< what it was refused for: family, flags, ioctl request; else 0
    std::int32_t pid = 0;        ///< host pid of the thread that tried last
    std::string command;         ///< its name as it calls itself; any bytes; empty: it was gone
    std::uint32_t count = 1;     ///< since this was last told
    bool operator==(const DeniedCall&) const = default;
};

/// A stream and a place in it, in bytes since the runner's start: for `ack`, `want`, `output_end`.
struct Mark {
    Stream stream = Stream::out;
    std::uint64_t offset = 0;
    bool operator==(const Mark&) const = default;
};

struct Resume {
    Stream stream = Stream::out;
    std::uint64_t from = 0;
    std::uint64_t up_to = 0;  ///< as `want`
    bool operator==(const Resume&) const = default;
};

/// One message to the runner may come in several frames; it is written when the last is there, and
/// only if no message with this tag was taken before.
struct Input {
    std::string tag;      ///< empty: always written
    bool sticky = false;  ///< the tag is remembered as long as the shim lives
    bool more = false;
    std::string bytes;
    bool operator==(const Input&) const = default;
};

struct Output {
    Stream stream = Stream::out;
    std::uint64_t offset = 0;  ///< of the first byte
    std::string bytes;
    bool operator==(const Output&) const = default;
};

struct Dropped {
    Stream stream = Stream::out;
    std::uint64_t from = 0;
    std::uint64_t bytes = 0;
    bool operator==(const Dropped&) const = default;
};

/// How far a stream has come: [base, end) can be had.
struct StreamState {
    std::uint64_t base = 0, end = 0;
    std::uint64_t dropped = 0;  ///< bytes, in all
    bool ended = false;
    bool operator==(const StreamState&) const = default;
};

/// The record comes as a descriptor with this frame.
struct Attached {
    std::int32_t shim = 0;  ///< its pid
    std::optional<Started> started;
    std::optional<Exited> exited;
    std::optional<Failed> failed;
    StreamState streams[kOutputs];
    std::uint64_t input_taken = 0;
    bool input_ended = false;
    std::vector<std::string> tags;  ///< of input that was taken, oldest first
    std::uint64_t alone_ms = 0;     ///< how long no daemon was there
    bool operator==(const Attached&) const = default;
};

/// One of the sockets that come with a `held` frame, in the order of their descriptors.
struct HeldSocket {
    BindSpec socket;
    std::string name;
    bool operator==(const HeldSocket&) const = default;
};

/// Sockets as the launch and later `bind`s named them; with remaining 0 the last is the packet
/// socket, unnamed.
struct Held {
    std::uint32_t remaining = 0;
    std::vector<HeldSocket> sockets;
    bool operator==(const Held&) const = default;
};

std::string encode(const Launch& message);
std::string encode(const Bind& message);
std::string encode(const Signal& message);
std::string encode(const Mount& message);
std::string encode(const Mounted& message);
std::string encode_kill();
std::string encode(const Sockets& message);
std::string encode(const Started& message);
std::string encode(const Exited& message);
std::string encode(const Failed& message);
std::string encode(const Bound& message);
std::string encode(const DeniedCall& message);
/// `type` is ack, want or output_end.
std::string encode(Type type, const Mark& message);
std::string encode(const Resume& message);
std::string encode(const Input& message);
std::string encode_input_end();
std::string encode_release();
std::string encode(const Attached& message);
std::string encode(const Held& message);
std::string encode(const Output& message);
std::string encode_input_taken(std::uint64_t bytes);
std::string encode(const Dropped& message);

/// The type of a frame; nothing for a frame of another version or too short to be one.
std::optional<Type> type_of(std::string_view frame) noexcept;

/// Each answers nothing when the frame is of another type, cut off, too long or has a tail.
std::optional<Launch> decode_launch(std::string_view frame);
std::optional<Bind> decode_bind(std::string_view frame);
std::optional<Signal> decode_signal(std::string_view frame);
std::optional<Sockets> decode_sockets(std::string_view frame);
std::optional<Started> decode_started(std::string_view frame);
std::optional<Exited> decode_exited(std::string_view frame);
std::optional<Failed> decode_failed(std::string_view frame);
std::optional<Bound> decode_bound(std::string_view frame);
std::optional<Mount> decode_mount(std::string_view frame);
std::optional<Mounted> decode_mounted(std::string_view frame);
std::optional<DeniedCall> decode_denied_call(std::string_view frame);
std::optional<Mark> decode_mark(Type type, std::string_view frame);
std::optional<Resume> decode_resume(std::string_view frame);
std::optional<Input> decode_input(std::string_view frame);
std::optional<Attached> decode_attached(std::string_view frame);
std::optional<Held> decode_held(std::string_view frame);
std::optional<Output> decode_output(std::string_view frame);
std::optional<std::uint64_t> decode_input_taken(std::string_view frame);
std::optional<Dropped> decode_dropped(std::string_view frame);

}  // namespace volary::cage::wire
