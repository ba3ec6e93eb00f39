// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/builtin/shell_tool.hpp"

#include "base/bytes.hpp"
#include "base/child.hpp"
#include "base/error.hpp"

#include <cerrno>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#include <utility>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::builtin {
namespace {

using namespace asio::experimental::awaitable_operators;

struct Pipe {
    UniqueFd read;
    UniqueFd write;
};

Pipe make_pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) throw_errno("make a pipe");
    return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

std::vector<std::string> own_environment() {
    std::vector<std::string> out;
    for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry)
        out.emplace_back(*entry);
    return out;
}

/// Kills a process group when it goes. The leader must not have been reaped before: its pid is
/// what keeps the group's number from being given to somebody else.
class GroupKiller {
public:
    explicit GroupKiller(pid_t leader) : leader_(leader) {}
    GroupKiller(const GroupKiller&) = delete;
    GroupKiller& operator=(const GroupKiller&) = delete;
    ~GroupKiller() { kill(); }

    void kill() noexcept {
        if (const auto leader = std::exchange(leader_, 0); leader > 0) ::kill(-leader, SIGKILL);
    }

private:
    pid_t leader_;
};

asio::awaitable<void> collect(
    asio::posix::stream_descriptor* pipe, CappedText* text, const OnOutput* on_output
) {
    std::string buffer(std::size_t{32} << 10U, '\0');
    while (true) {
        const auto [error, size] = co_await pipe->async_read_some(asio::buffer(buffer), as_result);
        if (error) co_return;
        const auto bytes = std::string_view(buffer).substr(0, size);
        text->add(bytes);
        if (*on_output) (*on_output)(bytes);
    }
}

/// Waits until the leader has ended without reaping it, ends its group, then reaps it. Past the
/// deadline the group is ended at once.
asio::awaitable<ExitStatus> supervise(
    Child* child, GroupKiller* group, std::chrono::seconds timeout, bool* timed_out
) {
    const auto executor = co_await asio::this_coro::executor;
    asio::posix::stream_descriptor ended(executor, ::fcntl(child->pidfd(), F_DUPFD_CLOEXEC, 0));
    asio::steady_timer deadline(executor, timeout);
    const auto first = co_await (
        ended.async_wait(asio::posix::stream_descriptor::wait_read, as_result) ||
        deadline.async_wait(as_result)
    );
    *timed_out = first.index() == 1;
    group->kill();
    const auto status = co_await child->wait();
    co_return status;
}

struct ShellRequest {
    std::string command;
    std::chrono::seconds timeout = ShellTool::kDefaultTimeout;
};

ShellRequest parse_request(const std::string& input) {
    const auto doc = parse_json(input, {std::size_t{4} << 20U, 16});
    if (!doc) throw Error(Errc::invalid, "shell: the arguments are no JSON: " + doc.error());
    Fields fields(*doc, "shell");
    ShellRequest request;
    request.command = fields.string("command");
    const auto seconds = fields.optional_integer("timeout_s");
    if (seconds && (*seconds < 1 || *seconds > ShellTool::kMaxTimeout.count()))
        fields.problem("timeout_s", fmt::format("must be 1 to {}", ShellTool::kMaxTimeout.count()));
    if (seconds) request.timeout = std::chrono::seconds(*seconds);
    fields.done();
    return request;
}

asio::awaitable<ToolOutcome> run_command(
    ShellRequest request, std::string folder, OnOutput on_output
) {
    const auto executor = co_await asio::this_coro::executor;
    auto out = make_pipe();
    auto err = make_pipe();
    ChildSpec spec;
    spec.argv = {"/bin/sh", "-c", request.command};
    spec.env = own_environment();
    spec.fds = {{out.write.get(), 1}, {err.write.get(), 2}};
    spec.working_directory = folder;
    auto child = Child::spawn(spec);
    // Dies before `child`, whose destructor waits for the leader.
    GroupKiller group(child.pid());
    out.write.reset();
    err.write.reset();
    asio::posix::stream_descriptor out_pipe(executor, out.read.release());
    asio::posix::stream_descriptor err_pipe(executor, err.read.release());
    CappedText out_text(ShellTool::kKeptBytes);
    CappedText err_text(ShellTool::kKeptBytes);
    bool timed_out = false;
    const auto status = co_await (
        collect(&out_pipe, &out_text, &on_output) && collect(&err_pipe, &err_text, &on_output) &&
        supervise(&child, &group, request.timeout, &timed_out)
    );
    Json answer = {
        {"exit_code", status.shell_code()},
        {"stdout", out_text.text()},
        {"stderr", err_text.text()},
    };
    if (timed_out) {
        answer["timed_out"] = true;
        answer["timeout_s"] = request.timeout.count();
    }
    co_return ToolOutcome{!timed_out && status.ok(), dump_json(answer)};
}

}  // namespace

void CappedText::add(std::string_view bytes) {
    if (head_.size() < half_) {
        const auto part = bytes.substr(0, half_ - head_.size());
        head_ += part;
        bytes.remove_prefix(part.size());
    }
    tail_ += bytes;
    // Cut now and then, not at each byte.
    if (tail_.size() <= 2 * half_) return;
    const auto over = tail_.size() - half_;
    tail_.erase(0, over);
    cut_ += over;
}

std::string CappedText::text() const {
    auto tail = std::string_view(tail_);
    auto cut = cut_;
    if (tail.size() > half_) {
        cut += tail.size() - half_;
        tail.remove_prefix(tail.size() - half_);
    }
    if (cut == 0) return to_valid_utf8(head_ + tail_);
    return to_valid_utf8(fmt::format("{}\n[... {} bytes cut ...]\n{}", head_, cut, tail));
}

asio::awaitable<std::vector<ToolSpec>> ShellTool::list() {
    ToolSpec spec;
    spec.name = kName;
    spec.title = "Shell";
    spec.kind = "execute";
    spec.description =
        "Runs a command with /bin/sh -c in the workspace. Answers with JSON: exit_code, stdout, "
        "stderr. Very long output is cut in the middle. Background processes are ended when the "
        "command ends.";
    spec.schema = std::make_shared<const Json>(Json::parse(R"({
        "type": "object", "required": ["command"], "additionalProperties": false,
        "properties": {
            "command": {"type": "string"},
            "timeout_s": {"type": "integer", "minimum": 1, "maximum": 3600,
                          "description": "seconds, 120 unless given"}}})"));
    std::vector<ToolSpec> tools;
    tools.push_back(std::move(spec));
    co_return tools;
}

asio::awaitable<ToolOutcome> ShellTool::call(
    std::string /*name*/, std::string input, OnOutput on_output
) {
    auto request = parse_request(input);
    auto outcome = co_await run_command(std::move(request), folder_, std::move(on_output));
    co_return outcome;
}

}  // namespace volary::builtin
