// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/streams.hpp"

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "daemon/agent/output_log.hpp"
#include "tests/daemon/agent/fake_host.hpp"
#include "tests/support/loop.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#include <vector>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::agent;
using namespace boost::asio::experimental::awaitable_operators;

namespace {

constexpr std::size_t kChunk = 16 * 1024;
const std::string kEuro = "\xe2\x82\xac";

struct Pipe {
    Pipe() {
        int fds[2];
        if (::pipe2(fds, O_CLOEXEC) != 0) throw_errno("make a pipe");
        read = UniqueFd(fds[0]);
        write = UniqueFd(fds[1]);
    }
    UniqueFd read;
    UniqueFd write;
};

/// What a reader was given, and where it stood after each piece.
struct Taken {
    std::vector<std::string> pieces;
    std::vector<std::uint64_t> places;
};

asio::awaitable<void> keep(Taken* taken, std::string piece, std::uint64_t end) {
    taken->pieces.push_back(std::move(piece));
    taken->places.push_back(end);
    co_return;
}

TakeChunk keeper(Taken& taken) {
    return [&taken](std::string piece, std::uint64_t end) {
        return keep(&taken, std::move(piece), end);
    };
}

/// A runner of which only the standard output speaks.
std::unique_ptr<cage::RunnerStreams> streams_of(test::Loop& loop, UniqueFd out) {
    return cage::make_pipe_streams(
        loop.executor(), UniqueFd(), std::move(out), UniqueFd(), UniqueFd()
    );
}

asio::awaitable<void> write_text(cage::RunnerStreams* to, std::string text) {
    co_await to->write(std::move(text), {}, false);
    to->close_input();
}

Taken take_chunks(std::string text) {
    test::Loop loop;
    Pipe pipe;
    Taken taken;
    const auto streams = streams_of(loop, std::move(pipe.read));
    const auto writer = cage::make_pipe_streams(
        loop.executor(), std::move(pipe.write), UniqueFd(), UniqueFd(), UniqueFd()
    );
    loop.run(
        read_chunks(streams.get(), cage::Stream::out, keeper(taken)) &&
        write_text(writer.get(), std::move(text))
    );
    return taken;
}

std::vector<std::string> chunks_of(std::string text) { return take_chunks(std::move(text)).pieces; }

std::vector<std::string> lines_of(std::string text, std::size_t max = 100) {
    test::Loop loop;
    Pipe pipe;
    Taken taken;
    const auto streams = streams_of(loop, std::move(pipe.read));
    const auto writer = cage::make_pipe_streams(
        loop.executor(), std::move(pipe.write), UniqueFd(), UniqueFd(), UniqueFd()
    );
    loop.run(
        read_lines(streams.get(), cage::Stream::out, 0, max, keeper(taken)) &&
        write_text(writer.get(), std::move(text))
    );
    return taken.pieces;
}

std::string join(const std::vector<std::string>& pieces) {
    std::string out;
    for (const auto& piece : pieces) out += piece;
    return out;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("a stream comes whole in pieces that never cut a character", "[agent]") {
    std::string text(static_cast<std::size_t>(GENERATE(0, 1, 2)), 'x');
    while (text.size() < 5 * kChunk) text += kEuro;
    const auto pieces = chunks_of(text);
    CHECK(join(pieces) == text);
    CHECK(pieces.size() >= 5);
    for (const auto& piece : pieces) {
        CHECK(piece.size() <= kChunk + 3);
        CHECK(is_utf8(piece));
    }
}

TEST_CASE("each piece says where the stream stands behind it", "[agent]") {
    std::string text(1, 'x');
    while (text.size() < 3 * kChunk) text += kEuro;
    const auto taken = take_chunks(text);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < taken.pieces.size(); ++i) {
        sum += taken.pieces[i].size();
        CHECK(taken.places[i] == sum);
    }
}

TEST_CASE("half a character at the end of a stream is not lost", "[agent]") {
    CHECK(join(chunks_of("a" + kEuro.substr(0, 2))) == "a" + kEuro.substr(0, 2));
    CHECK(chunks_of("").empty());
}

TEST_CASE("bytes that are no text pass as they are", "[agent]") {
    const std::string bytes("\xff\x80\x80\x80\x80\0\xfe", 7);
    CHECK(join(chunks_of(bytes)) == bytes);
}

TEST_CASE("lines come without their newline, the last one also without it", "[agent]") {
    CHECK(lines_of("a\nbc\n\nd") == Lines{"a", "bc", "", "d"});
    CHECK(lines_of("").empty());
    CHECK(lines_of("\n") == Lines{""});
}

TEST_CASE("a line that is too long is cut, what follows is not", "[agent]") {
    CHECK(lines_of("abcdefgh\nij\n", 3) == Lines{"abc", "def", "gh", "ij"});
    CHECK(lines_of("abc\nd\n", 3) == Lines{"abc", "d"});
    const auto lines = lines_of(std::string(100'000, 'y') + "\nend\n", 4096);
    CHECK(lines.back() == "end");
    CHECK(join(lines).size() == 100'003);
    for (const auto& line : lines) CHECK(line.size() <= 4096);
}

TEST_CASE("a reader that is gone does not fail the writer", "[agent]") {
    // As every program of ours does at its start.
    ::signal(SIGPIPE, SIG_IGN);
    test::Loop loop;
    Pipe pipe;
    pipe.read.reset();
    const auto writer = cage::make_pipe_streams(
        loop.executor(), std::move(pipe.write), UniqueFd(), UniqueFd(), UniqueFd()
    );
    CHECK_NOTHROW(loop.run(write_text(writer.get(), std::string(1 << 20, 'x'))));
}

TEST_CASE("what a cage prints beyond its limit is read but told once", "[agent]") {
    test::Loop loop;
    FakeHost host;
    Worker worker(loop.executor(), {SessionId("ses_1"), InvocationId("inv_1"), "primary"});
    OutputLog log(worker, host, "stdout");
    const std::string megabyte(1 << 20, 'z');
    std::vector<std::uint64_t> forgotten;
    worker.on_durable = [&](cage::Stream, std::uint64_t offset) { forgotten.push_back(offset); };
    for (std::uint64_t i = 1; i <= 12; ++i)
        loop.run(log.take(megabyte, worker.place(cage::Stream::out, i << 20U)));
    std::size_t logged = 0;
    for (const auto& [stream, text] : host.outputs) {
        CHECK(stream == "stdout");
        logged += text.size();
    }
    CHECK(logged >= 7 << 20);
    CHECK(logged <= 8 << 20);
    REQUIRE(host.limits.size() == 1);
    CHECK(host.limits.front().first == "output");
    // What is not logged is not kept for another daemon either.
    REQUIRE_FALSE(forgotten.empty());
    CHECK(forgotten.back() == std::uint64_t{12} << 20U);
}
