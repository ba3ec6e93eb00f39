// SPDX-License-Identifier: Apache-2.0
#include "cage/shim/spool.hpp"

#include "cage/shim/channel.hpp"
#include "cage/shim/streams.hpp"

#include <algorithm>
#include <dirent.h>
#include <fcntl.h>
#include <filesystem>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;

namespace {

/// A folder for spools, and a stream in it of which byte n is known.
struct Place {
    Place() {
        char pattern[] = "/tmp/volary-spool-XXXXXX";
        path = ::mkdtemp(pattern);
        folder.reset(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    }
    ~Place() { std::filesystem::remove_all(path); }

    std::filesystem::path path;
    UniqueFd folder;
};

std::string bytes_at(std::uint64_t from, std::size_t count) {
    std::string out(count, '\0');
    for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<char>('a' + (from + i) % 23);
    return out;
}

void fill(Spool& spool, std::size_t count) {
    while (count > 0) {
        const auto piece = std::min<std::size_t>(count, 10'000);
        spool.append(bytes_at(spool.end(), piece));
        count -= piece;
    }
}

/// Everything from `from` on; stops where nothing comes.
std::string read_all(const Spool& spool, std::uint64_t from) {
    std::string out;
    while (from + out.size() < spool.end()) {
        const auto piece = spool.read(from + out.size(), 7000);
        if (piece.empty()) break;
        out += piece;
    }
    return out;
}

/// Descriptors of this process that name an unlinked file below `path`.
int open_spool_file(const std::string& path) {
    for (int fd = 3; fd < 256; ++fd) {
        char target[512];
        const auto link = "/proc/self/fd/" + std::to_string(fd);
        const auto size = ::readlink(link.c_str(), target, sizeof target);
        if (size <= 0) continue;
        const std::string name(target, static_cast<std::size_t>(size));
        if (name.starts_with(path + "/") && name.ends_with("(deleted)")) return fd;
    }
    return -1;
}

}  // namespace

TEST_CASE("a spool gives back what it took, from memory and file", "[shim]") {
    const Place place;
    Spool spool(place.folder.get(), 1U << 20U);
    fill(spool, 300'000);
    CHECK(spool.base() == 0);
    CHECK(spool.end() == 300'000);
    CHECK(read_all(spool, 0) == bytes_at(0, 300'000));
    CHECK(read_all(spool, 123'456) == bytes_at(123'456, 300'000 - 123'456));
    CHECK(spool.room() == (1U << 20U) - 300'000);

    spool.forget(200'001);
    CHECK(spool.base() == 200'001);
    CHECK(read_all(spool, 200'001) == bytes_at(200'001, 99'999));
    // Never back, never beyond the end.
    spool.forget(5);
    CHECK(spool.base() == 200'001);
    spool.forget(999'999);
    CHECK(spool.base() == 300'000);
    CHECK(open_spool_file(place.path) == -1);
    fill(spool, 100);
    CHECK(read_all(spool, 300'000) == bytes_at(300'000, 100));
}

TEST_CASE("a spool has no name in its folder", "[shim]") {
    const Place place;
    Spool spool(place.folder.get(), 1U << 20U);
    fill(spool, 300'000);
    REQUIRE(open_spool_file(place.path) >= 0);
    CHECK(std::filesystem::is_empty(place.path));
}

TEST_CASE("a spool without a folder is its memory", "[shim]") {
    Spool spool(-1, 1U << 20U);
    CHECK(spool.room() == Spool::kMemory);
    fill(spool, Spool::kMemory - 1);
    CHECK(spool.room() == 1);
    spool.forget(10);
    CHECK(spool.room() == 11);
}

TEST_CASE("a spool whose file was cut says where bytes are again", "[shim]") {
    const Place place;
    Spool spool(place.folder.get(), 1U << 20U);
    fill(spool, 300'000);
    const int file = open_spool_file(place.path);
    REQUIRE(file >= 0);
    REQUIRE(::ftruncate(file, 50'000) == 0);
    CHECK(read_all(spool, 0) == bytes_at(0, 50'000));
    CHECK(spool.read(60'000, 100).empty());
    const auto whole = spool.next_whole();
    CHECK(whole > 60'000);
    CHECK(read_all(spool, whole) == bytes_at(whole, 300'000 - whole));
}

namespace {

/// The streams of a runner whose ends the test holds, and the daemon's end of the socket.
struct Bench {
    explicit Bench(bool lossy, std::uint64_t most) {
        int pipe[2];
        int input[2];
        int pair[2];
        REQUIRE(::pipe2(pipe, O_CLOEXEC | O_NONBLOCK) == 0);
        REQUIRE(::pipe2(input, O_CLOEXEC | O_NONBLOCK) == 0);
        REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
        runner.reset(pipe[1]);
        stdin_end.reset(input[0]);
        ours.reset(pair[0]);
        daemon.reset(pair[1]);
        REQUIRE(::fcntl(daemon.get(), F_SETFL, O_NONBLOCK) == 0);
        std::vector<UniqueFd> fds;
        fds.emplace_back(input[1]);
        fds.emplace_back(pipe[0]);
        wire::Keep keep;
        keep.input = 0;
        keep.outputs[0] = 1;
        keep.lossy[0] = lossy;
        keep.spool = most;
        streams.take(keep, fds, place.folder.get());
    }

    /// The runner says `count` bytes more, as far as the pipe and the shim take them; how many.
    std::size_t say(std::size_t count, bool attached) {
        std::size_t said = 0;
        while (said < count) {
            const auto piece = bytes_at(at, std::min<std::size_t>(count - said, 4096));
            const auto put = ::write(runner.get(), piece.data(), piece.size());
            if (put > 0) {
                at += static_cast<std::uint64_t>(put);
                said += static_cast<std::size_t>(put);
            }
            const auto before = described().end;
            turn(attached);
            if (put <= 0 && described().end == before) break;
        }
        for (auto before = described().end + 1; before != described().end;) {
            before = described().end;
            turn(attached);
        }
        return said;
    }

    void turn(bool attached) {
        pollfd polls[Streams::kPolls];
        streams.fill(polls, attached, 0);
        (void)::poll(polls, Streams::kPolls, 0);
        streams.serve(polls, attached, 0);
        if (attached) (void)streams.send(ours.get());
    }

    wire::StreamState described() const {
        wire::Attached all;
        streams.describe(all);
        return all.streams[0];
    }

    /// What the daemon gets now: bytes, and how many are told as lost.
    std::string hear(std::uint64_t& lost) {
        std::string out;
        Packet packet;
        (void)streams.send(ours.get());
        while (receive_packet(daemon.get(), packet) == Received::packet) {
            if (const auto piece = wire::decode_output(packet.bytes)) out += piece->bytes;
            if (const auto gap = wire::decode_dropped(packet.bytes)) lost += gap->bytes;
            (void)streams.send(ours.get());
        }
        return out;
    }

    Place place;
    UniqueFd runner, stdin_end, ours, daemon;
    Streams streams;
    std::uint64_t at = 0;
};

std::string heard_input(const UniqueFd& fd) {
    char bytes[4096];
    const auto got = ::read(fd.get(), bytes, sizeof bytes);
    return got > 0 ? std::string(bytes, static_cast<std::size_t>(got)) : std::string();
}

}  // namespace

TEST_CASE("what nobody has confirmed is sent again to the next daemon", "[shim]") {
    Bench bench(false, 1U << 20U);
    bench.streams.resume({wire::Stream::out, 0, 1U << 30U});
    bench.say(100'000, true);
    std::uint64_t lost = 0;
    CHECK(bench.hear(lost) == bytes_at(0, 100'000));
    bench.streams.ack({wire::Stream::out, 40'000});
    bench.streams.detach();
    bench.say(5'000, false);
    CHECK(bench.described() == wire::StreamState{40'000, 105'000, 0, false});

    bench.streams.resume({wire::Stream::out, 40'000, 1U << 30U});
    CHECK(bench.hear(lost) == bytes_at(40'000, 65'000));
    CHECK(lost == 0);
}

TEST_CASE("a daemon is sent no more than it wants", "[shim]") {
    Bench bench(false, 1U << 20U);
    bench.streams.resume({wire::Stream::out, 0, 1000});
    bench.say(50'000, true);
    std::uint64_t lost = 0;
    CHECK(bench.hear(lost).size() == 1000);
    bench.streams.want({wire::Stream::out, 1500});
    CHECK(bench.hear(lost).size() == 500);
}

TEST_CASE("a full spool makes the runner wait", "[shim]") {
    Bench bench(false, 200'000);
    const auto said = bench.say(10'000'000, false);
    CHECK(said < 400'000);  // the spool and a pipe
    CHECK(bench.described().dropped == 0);
    CHECK(bench.described().end <= 200'000);
}

TEST_CASE("a lossy stream drops the oldest while nobody is there, and says so", "[shim]") {
    Bench bench(true, 200'000);
    CHECK(bench.say(1'000'000, false) == 1'000'000);
    const auto state = bench.described();
    CHECK(state.end == 1'000'000);
    CHECK(state.end - state.base <= 200'000);
    CHECK(state.dropped == state.base);
    std::uint64_t lost = 0;
    bench.streams.resume({wire::Stream::out, 0, 1U << 30U});
    const auto rest = bench.hear(lost);
    CHECK(lost == state.base);
    CHECK(rest == bytes_at(state.base, state.end - state.base));
}

TEST_CASE("input with a tag is written once", "[shim]") {
    Bench bench(false, 1U << 20U);
    bench.streams.input({"q 1 a ", true, false, "one\n"});
    bench.streams.input({"q 1 a ", true, false, "one\n"});
    bench.streams.input({"a 7", false, true, "tw"});
    bench.streams.input({"a 7", false, false, "o\n"});
    bench.streams.input({"a 7", false, false, "two\n"});
    bench.streams.input({"", false, false, "three\n"});
    bench.streams.input({"", false, false, "three\n"});
    CHECK(heard_input(bench.stdin_end) == "one\ntwo\nthree\nthree\n");
    wire::Attached all;
    bench.streams.describe(all);
    CHECK(all.tags == std::vector<std::string>{"q 1 a ", "a 7"});
    CHECK(all.input_taken == 20);
}

TEST_CASE("half a message of a daemon that died is not written", "[shim]") {
    Bench bench(false, 1U << 20U);
    bench.streams.input({"a 1", false, true, "ha"});
    bench.streams.detach();
    bench.streams.input({"a 1", false, false, "whole\n"});
    CHECK(heard_input(bench.stdin_end) == "whole\n");
}

TEST_CASE("a tag that is too long to be remembered makes no message unheard", "[shim]") {
    Bench bench(false, 1U << 20U);
    const std::string tag(100'000, 'x');
    bench.streams.input({tag, true, false, "one\n"});
    bench.streams.input({tag, true, false, "two\n"});
    CHECK(heard_input(bench.stdin_end) == "one\ntwo\n");
    wire::Attached all;
    bench.streams.describe(all);
    CHECK(all.tags.empty());
}
