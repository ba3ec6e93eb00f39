// SPDX-License-Identifier: Apache-2.0
// Cages that outlive their daemon: what their shims are given, and how the next daemon finds and
// adopts them (docs/shim.md).
#include "base/error.hpp"
#include "base/log.hpp"
#include "cage/cage.hpp"
#include "cage/found.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "cage/output_pace.hpp"
#include "cage/prepared.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>

namespace volary::cage {
namespace {

constexpr std::string_view kSuffix = ".sock";
/// For a shim that only has to answer; one that is stopped or starved has this long.
constexpr std::chrono::seconds kHello{5};
/// Of a record: parse_record() takes no more.
constexpr std::size_t kMaxRecord = std::size_t{8} << 20U;

/// Binds below a folder of any length: a socket's address holds 107 bytes (unix(7)).
bool name_socket(int folder, const std::string& name, sockaddr_un& out) {
    const auto path = fmt::format("/proc/self/fd/{}/{}", folder, name);
    if (path.size() >= sizeof out.sun_path) return false;
    out.sun_family = AF_UNIX;
    std::memcpy(out.sun_path, path.c_str(), path.size() + 1);
    return true;
}

UniqueFd make_listener(int folder, const std::string& name) {
    UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    if (!socket || !name_socket(folder, name, address)) throw_errno("make socket", name);
    (void)::unlinkat(folder, name.c_str(), 0);
    // Nobody connects before the shim listens, so the mode may come after the name.
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 ||
        ::fchmodat(folder, name.c_str(), 0600, 0) < 0)
        throw_errno("bind socket", name);
    return socket;
}

UniqueFd make_record_file(const std::string& text) {
    UniqueFd file(::memfd_create("volary-record", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!file) throw_errno("make a file in memory");
    if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        throw_errno("write the record of a cage");
    constexpr int kSeals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
    if (::fcntl(file.get(), F_ADD_SEALS, kSeals) < 0) throw_errno("seal the record of a cage");
    return file;
}

std::string read_record_file(const UniqueFd& file) {
    struct stat info{};
    if (::fstat(file.get(), &info) < 0 || static_cast<std::size_t>(info.st_size) > kMaxRecord)
        return {};
    std::string out(static_cast<std::size_t>(info.st_size), '\0');
    return ::pread(file.get(), out.data(), out.size(), 0) == info.st_size ? out : std::string();
}

/// Connected and of our own user, or empty with `problem` in words (empty: nobody listens).
UniqueFd connect_to(int folder, const std::string& name, pid_t& pid, std::string& problem) {
    UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    if (!socket || !name_socket(folder, name, address)) return {};
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
        if (errno != ECONNREFUSED && errno != ENOENT) problem = std::strerror(errno);
        return {};
    }
    ucred who{};
    socklen_t size = sizeof who;
    const bool known = ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) == 0;
    if (!known || who.uid != ::getuid()) {
        problem = "another user listens there";
        return {};
    }
    pid = who.pid;
    return socket;
}

asio::awaitable<bool> receive_within(
    asio::posix::stream_descriptor& socket, Packet& packet, std::chrono::milliseconds limit
) {
    asio::steady_timer timer(socket.get_executor(), limit);
    timer.async_wait([&socket](const boost::system::error_code& error) {
        boost::system::error_code ignored;
        if (!error) socket.cancel(ignored);
    });
    for (;;) {
        const auto got = receive_packet(socket.native_handle(), packet);
        if (got == Received::packet) co_return true;
        if (got == Received::closed) co_return false;
        const auto [error] =
            co_await socket.async_wait(asio::posix::stream_descriptor::wait_read, as_result);
        if (error) co_return false;
    }
}

/// Reads what a shim says of itself; the problem in words, empty when all is there.
asio::awaitable<std::string> hear(Spawner::Found* found) {
    Packet packet;
    bool got = co_await receive_within(found->control, packet, kHello);
    if (!got) co_return "it does not answer";
    if (const auto refused = wire::decode_failed(packet.bytes)) co_return refused->subject;
    if (packet.bytes.size() >= 2 && static_cast<std::uint8_t>(packet.bytes[0]) != wire::kVersion)
        co_return fmt::format(
            "it speaks version {} of the protocol, this daemon version {}",
            static_cast<std::uint8_t>(packet.bytes[0]), wire::kVersion
        );
    auto state = wire::decode_attached(packet.bytes);
    if (!state || packet.fds.empty()) co_return "it is no shim of volary";
    found->state = std::move(*state);
    auto record = parse_record(read_record_file(packet.fds.front()));
    if (!record) co_return "its record cannot be read";
    found->record = std::move(*record);
    for (bool more = true; more;) {
        got = co_await receive_within(found->control, packet, kHello);
        const auto held = got ? wire::decode_held(packet.bytes) : std::nullopt;
        if (!held) co_return "it does not hand over its sockets";
        more = held->remaining > 0;
        const auto count = held->sockets.size();
        if (packet.fds.size() < count) co_return "it does not hand over its sockets";
        for (std::size_t i = 0; i < count; ++i)
            found->held.push_back({held->sockets[i], std::move(packet.fds[i])});
        if (!more && packet.fds.size() > count) found->packet = std::move(packet.fds[count]);
    }
    co_return std::string();
}

SocketSpec::Kind kind_of(const wire::BindSpec& spec, const std::vector<SocketSpec>& planned) {
    if (spec.kind == wire::BindSpec::Kind::udp) return SocketSpec::Kind::dns_udp;
    for (const auto& each : planned)
        if (each.kind == SocketSpec::Kind::dns_tcp && each.address == spec.address &&
            each.port == spec.port)
            return SocketSpec::Kind::dns_tcp;
    return SocketSpec::Kind::listen;
}

struct Sockets {
    std::vector<UniqueFd> planned;
    std::vector<Gatekeeper::Restored> later;
};

/// Throws Error{io} when one that the plan names is missing.
Sockets sort_sockets(Spawner::Found& found, const NetPlan& plan) {
    Sockets out;
    out.planned.resize(plan.sockets.size());
    for (auto& held : found.held) {
        const auto& wire = held.what.socket;
        SocketSpec spec{kind_of(wire, plan.sockets), wire.address, wire.port};
        const auto at = std::ranges::find(plan.sockets, spec);
        const auto index = static_cast<std::size_t>(at - plan.sockets.begin());
        if (at != plan.sockets.end() && !out.planned[index])
            out.planned[index] = std::move(held.socket);
        else
            out.later.push_back({std::move(spec), held.what.name, std::move(held.socket)});
    }
    for (std::size_t i = 0; i < out.planned.size(); ++i)
        if (!out.planned[i])
            throw Error(
                Errc::io, fmt::format(
                              "its socket {} port {} is missing", plan.sockets[i].address,
                              plan.sockets[i].port
                          )
            );
    return out;
}

}  // namespace

void Spawner::add_keep(const SpawnRequest& request, Cage& cage, Prepared& prepared) {
    const auto& wanted = *request.keep;
    wire::Keep keep;
    keep.input = add_fd(prepared, std::move(prepared.kept[0]));
    for (std::size_t i = 1; i < prepared.kept.size(); ++i)
        keep.outputs[i - 1] = add_fd(prepared, std::move(prepared.kept[i]));
    keep.lossy[0] = wanted.lossy_output;
    keep.lossy[1] = true;
    UniqueFd folder(::open(wanted.folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder) throw_errno("open", wanted.folder);
    keep.listener = add_fd(prepared, make_listener(folder.get(), cage.id().str() + ".sock"));
    keep.record =
        add_fd(prepared, make_record_file(to_text(cage.record(request, prepared.compiled))));
    keep.folder = add_fd(prepared, std::move(folder));
    keep.spool = wanted.spool.value;
    keep.output_rate = cage.limits_.output ? cage.limits_.output->value : 0;
    keep.orphan_seconds = static_cast<std::uint32_t>(wanted.orphan_ttl.count());
    prepared.launch.keep = keep;
    cage.keep_streams();
    cage.socket_ = fmt::format("{}/{}.sock", wanted.folder, cage.id().str());
}

void Spawner::serve(const std::shared_ptr<Cage>& cage) {
    const auto name = "cage " + cage->id_.str();
    tasks_.spawn(name, Cage::serve(cage));
    if (cage->kept_ == nullptr) return;
    tasks_.spawn(name, Cage::push_frames(cage));
    tasks_.spawn(name, Cage::conclude(cage));
}

asio::awaitable<std::vector<Spawner::FoundPtr>> Spawner::find_kept(std::string folder) {
    std::vector<FoundPtr> out;
    const UniqueFd place(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!place) co_return out;
    std::error_code failed;
    for (const auto& entry : std::filesystem::directory_iterator(folder, failed)) {
        const auto name = entry.path().filename().string();
        if (!name.ends_with(kSuffix)) continue;
        pid_t pid = -1;
        std::string problem;
        auto socket = connect_to(place.get(), name, pid, problem);
        if (!problem.empty())
            log::warning(
                "a socket in the folder of the shims is left alone",
                {{"socket", entry.path().string()}, {"problem", problem}}
            );
        // Nobody listens: its shim has gone.
        if (!socket && problem.empty()) (void)::unlinkat(place.get(), name.c_str(), 0);
        if (!socket) continue;
        auto found = std::make_shared<Found>(executor_);
        found->socket = entry.path().string();
        found->process.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
        found->control.assign(socket.release());
        out.push_back(std::move(found));
    }
    // All were asked above and answer at the same time.
    for (auto& found : out) {
        const auto problem = co_await hear(found.get());
        if (problem.empty()) continue;
        log::warning("a shim is left alone", {{"socket", found->socket}, {"problem", problem}});
        found.reset();
    }
    std::erase(out, nullptr);
    co_return out;
}

void Spawner::leave_kept() {
    for (const auto& weak : cages_)
        if (const auto cage = weak.lock()) cage->leave();
}

void Spawner::dismiss(FoundPtr found) {
    (void)send_packet(found->control.native_handle(), wire::encode_release());
    (void)send_packet(found->control.native_handle(), wire::encode_kill());
    (void)::unlink(found->socket.c_str());
}

std::shared_ptr<Cage> Spawner::adopt(FoundPtr found) {
    const auto& record = found->record;
    SpawnRequest request;
    request.id = record.id;
    request.policy.ports = record.ports;
    auto cage = std::shared_ptr<Cage>(new Cage(executor_, std::move(request), hooks_));
    try {
        if (!found->process) throw Error(Errc::io, "its shim is gone");
        cage->keep_streams();
        cage->adopted_shim_ = std::move(found->process);
        cage->socket_ = found->socket;
        if (record.limits_backend != to_string(LimitsBackend::rlimits))
            cage->cgroup_ = CageCgroup::adopt(cgroups_, record.id);
        cage->take_over(record, found->state);
        const auto plan = plan_network(record.net, record.internal_names);
        auto sockets = sort_sockets(*found, plan);
        if (!found->state.exited)
            gatekeeper_.attach(
                record.id, record.net, plan, std::move(sockets.planned), std::move(found->packet),
                Cage::binder(cage), std::move(sockets.later)
            );
    } catch (const Error&) {
        dismiss(found);
        throw;
    }
    cage->control_.assign(found->control.release());
    cage->detach_ = [this, id = cage->id_] { return gatekeeper_.detach(id); };
    remember(cage);
    serve(cage);
    watch(cage);
    return cage;
}

}  // namespace volary::cage
