// SPDX-License-Identifier: Apache-2.0
#include "cage/shim/protocol.hpp"

#include "cage/shim/channel.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;

namespace {

wire::Launch sample() {
    wire::Launch launch;
    launch.bwrap = "/usr/bin/bwrap";
    launch.options = {
        {wire::Argument::Kind::text, "--ro-bind-fd", 0}, {wire::Argument::Kind::fd, "", 300}
    };
    launch.command = {{wire::Argument::Kind::sync, "", 0}};
    launch.data = {std::string("a\0b", 3), ""};
    launch.sockets = {{wire::BindSpec::Kind::udp, "127.0.0.53", 53}};
    launch.keep_session = true;
    launch.stdio[2] = 7;
    launch.joins = {8, 9};
    wire::Native native;
    native.hostname = "cage";
    native.folder = "/workspace";
    native.filter = 1;
    native.env = {"A=b"};
    native.steps = {
        {wire::RootStep::Kind::bind, true, false, true, "/workspace", "", 4, 0755, 0, 0},
        {wire::RootStep::Kind::tmpfs, false, false, false, "/tmp", "", 0, 01777, 1U << 30U, 99},
    };
    launch.native = native;
    launch.launcher = {"/usr/bin/podman", "run"};
    launch.notify = true;
    launch.keep =
        wire::Keep{4, {5, 6, wire::kNone}, {true, true, false}, 7, 8, 9, 1U << 24U, 100, 60};
    return launch;
}

}  // namespace

TEST_CASE("each message comes back as it was sent", "[shim]") {
    CHECK(wire::decode_launch(wire::encode(sample())) == sample());
    const wire::Bind bind{7, {wire::BindSpec::Kind::tcp, "fd00::1", 443}};
    CHECK(wire::decode_bind(wire::encode(bind)) == bind);
    const wire::Bind outgoing{8, {wire::BindSpec::Kind::outgoing, "127.0.0.1", 0}};
    CHECK(wire::decode_bind(wire::encode(outgoing)) == outgoing);
    const wire::Bind named{9, {wire::BindSpec::Kind::tcp, "198.18.0.9", 443}, "a.example"};
    CHECK(wire::decode_bind(wire::encode(named)) == named);
    const wire::Signal signal{-1};
    CHECK(wire::decode_signal(wire::encode(signal)) == signal);
    CHECK(wire::type_of(wire::encode_kill()) == wire::Type::kill);
    const wire::Sockets sockets{3};
    CHECK(wire::decode_sockets(wire::encode(sockets)) == sockets);
    const wire::Started started{10, 11, 1200};
    CHECK(wire::decode_started(wire::encode(started)) == started);
    const wire::Exited exited{1, 9, std::uint64_t{1} << 40U, 2, 3};
    CHECK(wire::decode_exited(wire::encode(exited)) == exited);
    const wire::Failed failed{"bind", "127.0.0.1", 98};
    CHECK(wire::decode_failed(wire::encode(failed)) == failed);
    const wire::Bound bound{4, 13};
    CHECK(wire::decode_bound(wire::encode(bound)) == bound);
    const wire::DeniedCall call{165, std::uint64_t{1} << 33U, 12, "sh", 4};
    CHECK(wire::decode_denied_call(wire::encode(call)) == call);
}

TEST_CASE("each message about what a shim keeps comes back as it was sent", "[shim]") {
    const wire::Mark mark{wire::Stream::err, std::uint64_t{1} << 41U};
    for (const auto type : {wire::Type::want, wire::Type::ack, wire::Type::output_end}) {
        CHECK(wire::decode_mark(type, wire::encode(type, mark)) == mark);
        CHECK_FALSE(wire::decode_mark(wire::Type::resume, wire::encode(type, mark)));
    }
    const wire::Resume resume{wire::Stream::signals, 7, 9};
    CHECK(wire::decode_resume(wire::encode(resume)) == resume);
    const wire::Input input{"q 3 session/prompt s", true, true, std::string("a\0b", 3)};
    CHECK(wire::decode_input(wire::encode(input)) == input);
    CHECK(wire::type_of(wire::encode_input_end()) == wire::Type::input_end);
    CHECK(wire::type_of(wire::encode_release()) == wire::Type::release);
    wire::Attached attached;
    attached.shim = 77;
    attached.started = wire::Started{1, 2, 3};
    attached.exited = wire::Exited{0, 9, 1, 2, 3};
    attached.streams[1] = {4, 5, 6, true};
    attached.input_taken = 12;
    attached.tags = {"a 1", "q 2 x "};
    attached.alone_ms = 81;
    CHECK(wire::decode_attached(wire::encode(attached)) == attached);
    attached.failed = wire::Failed{"step", "subject", 5};
    attached.started.reset();
    CHECK(wire::decode_attached(wire::encode(attached)) == attached);
    const wire::Held held{3, {{{wire::BindSpec::Kind::udp, "127.0.0.53", 53}, "a.example"}}};
    CHECK(wire::decode_held(wire::encode(held)) == held);
    const wire::Output output{wire::Stream::out, 99, "text"};
    CHECK(wire::decode_output(wire::encode(output)) == output);
    CHECK(wire::decode_input_taken(wire::encode_input_taken(5)) == 5U);
    const wire::Dropped dropped{wire::Stream::err, 1, 2};
    CHECK(wire::decode_dropped(wire::encode(dropped)) == dropped);
    // A stream that nobody knows must not become an index.
    auto strange = wire::encode(output);
    strange[2] = 3;
    CHECK_FALSE(wire::decode_output(strange));
}

TEST_CASE("a frame that is cut off, has a tail or another version is refused", "[shim]") {
    const auto frame = wire::encode(sample());
    for (std::size_t size = 0; size < frame.size(); ++size)
        CHECK_FALSE(wire::decode_launch(std::string_view(frame).substr(0, size)));
    CHECK_FALSE(wire::decode_launch(frame + "x"));
    auto other = frame;
    other[0] = 1;
    CHECK_FALSE(wire::decode_launch(other));
    CHECK_FALSE(wire::decode_signal(frame));
    // A count beyond any launch must not be believed.
    std::string huge{"\x02\x01\0\0\0\0\xff\xff\xff\x7f", 10};
    CHECK_FALSE(wire::decode_launch(huge));
}

TEST_CASE("descriptors travel beside a packet, closed on exec", "[shim]") {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    UniqueFd left(pair[0]);
    const UniqueFd right(pair[1]);
    Packet packet;
    CHECK(receive_packet(right.get(), packet) == Received::again);
    REQUIRE(send_packet(left.get(), "hello", {left.get(), right.get()}));
    REQUIRE(receive_packet(right.get(), packet) == Received::packet);
    CHECK(packet.bytes == "hello");
    REQUIRE(packet.fds.size() == 2);
    CHECK((::fcntl(packet.fds[0].get(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK_FALSE(send_packet(left.get(), std::string(wire::kMaxFrame + 1, 'x')));
    CHECK(send_packet(left.get(), std::string(wire::kMaxFrame, 'x')));
    packet = {};
    REQUIRE(receive_packet(right.get(), packet) == Received::packet);
    packet = {};
    left.reset();
    CHECK(receive_packet(right.get(), packet) == Received::closed);
}

TEST_CASE("what a peer said last is read, also when it did not read all before it ended") {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    UniqueFd left(pair[0]);
    const UniqueFd right(pair[1]);
    REQUIRE(send_packet(right.get(), "never read"));
    REQUIRE(send_packet(left.get(), "last words"));
    left.reset();
    Packet packet;
    REQUIRE(receive_packet(right.get(), packet) == Received::packet);
    CHECK(packet.bytes == "last words");
    CHECK(receive_packet(right.get(), packet) == Received::closed);
}

TEST_CASE("a live bind and its answer come back unchanged", "[protocol]") {
    const wire::Mount mount{7, "/opt/data", true};
    CHECK(wire::decode_mount(wire::encode(mount)) == mount);
    const wire::Mounted mounted{7, "mount at \"/opt/data\"", 13};
    CHECK(wire::decode_mounted(wire::encode(mounted)) == mounted);
    wire::Launch launch;
    launch.overlays = {{4, 9, "fs[0] (project.yaml:3)"}};
    CHECK(wire::decode_launch(wire::encode(launch)) == launch);
    auto cut = wire::encode(mount);
    cut.pop_back();
    CHECK_FALSE(wire::decode_mount(cut));
}
