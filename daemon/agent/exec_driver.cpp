// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.hpp"
#include "base/error.hpp"
#include "base/json.hpp"
#include "cage/cage.hpp"
#include "cage/spawner.hpp"
#include "daemon/agent/drivers.hpp"
#include "daemon/agent/output_log.hpp"
#include "daemon/agent/streams.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::agent {
namespace {

constexpr std::size_t kMaxResult = 8 * 1024;  // what a parent gets to read
constexpr std::size_t kMaxSignalLine = 128 * 1024;

/// Signals come as JSON objects already; a task in words is wrapped.
std::string as_input(const std::string& input) {
    const auto parsed = parse_json(input);
    if (parsed && parsed->is_object() && parsed->contains("signal")) return input;
    return dump_json(Json{{"task", input}});
}

class ExecDriver final : public Driver {
public:
    ExecDriver(const asio::any_io_executor& executor, Worker& worker, Host& host)
        : worker_(worker),
          host_(host),
          stdout_(worker, host, "stdout"),
          stderr_(worker, host, "stderr"),
          quiet_(executor),
          scope_(executor, log_task_errors()) {}

    asio::awaitable<std::optional<Ending>> run() override {
        auto& streams = worker_.cage->streams();
        worker_.on_durable = [&streams](cage::Stream stream, std::uint64_t offset) {
            streams.ack(stream, offset);
        };
        if (worker_.resume) tail_ = worker_.resume->tail;
        scope_.spawn("stdin", write_input());
        open_ = 3;
        scope_.spawn("stderr", until_end(stderr_.drain(cage::Stream::err)));
        scope_.spawn("signals", until_end(read_signals()));
        scope_.spawn("stdout", until_end(read_stdout()));
        while (open_ > 0) co_await quiet_.wait();
        co_return std::nullopt;
    }

    asio::awaitable<void> close() override {
        co_await scope_.close();
        worker_.on_durable = nullptr;
    }

    std::string result() const override { return tail_; }

private:
    asio::awaitable<void> write_input() {
        auto& streams = worker_.cage->streams();
        auto input = as_input(worker_.input) + "\n";
        // By its tag it is written once, whichever daemon does it.
        co_await streams.write(std::move(input), "input", true);
        streams.close_input();
    }

    asio::awaitable<void> until_end(asio::awaitable<void> reading) {
        try {
            co_await std::move(reading);
        } catch (...) {
            stream_ended();
            throw;
        }
        stream_ended();
    }

    void stream_ended() {
        --open_;
        quiet_.notify();
    }

    asio::awaitable<void> read_stdout() {
        // The tail is kept beside the log: a parent reads it as the result.
        auto take = [this](std::string chunk, std::uint64_t end) {
            return take_stdout(std::move(chunk), end);
        };
        return read_chunks(&worker_.cage->streams(), cage::Stream::out, std::move(take));
    }

    asio::awaitable<void> take_stdout(std::string chunk, std::uint64_t end) {
        tail_ += chunk;
        if (tail_.size() > kMaxResult) tail_.erase(0, tail_.size() - kMaxResult);
        co_await stdout_.take(std::move(chunk), worker_.place(cage::Stream::out, end));
    }

    asio::awaitable<void> read_signals() {
        auto take = [this](std::string line, std::uint64_t end) {
            return take_signal(std::move(line), end);
        };
        constexpr auto kSignals = cage::Stream::signals;
        return read_lines(
            &worker_.cage->streams(), kSignals, worker_.applied(kSignals), kMaxSignalLine,
            std::move(take)
        );
    }

    asio::awaitable<void> take_signal(std::string line, std::uint64_t end) {
        auto origin = worker_.origin;
        origin.place = worker_.place(cage::Stream::signals, end);
        std::string problem;
        try {
            co_await emit(line, origin);
        } catch (const Error& error) {
            problem = error.what();
        }
        if (problem.empty()) co_return;
        auto text = fmt::format("signal refused: {}: {}\n", problem, utf8_prefix(line, 200));
        co_await host_.output(std::move(origin), "stderr", std::move(text));
    }

    asio::awaitable<void> emit(std::string line, Origin origin) {
        const auto parsed = parse_json(line);
        if (!parsed) throw Error(Errc::invalid, parsed.error());
        Fields fields(*parsed, "signal line");
        auto name = fields.string("signal");
        const auto* data = fields.optional_value("data");
        fields.done();
        auto text = data == nullptr ? std::string("{}") : dump_json(*data);
        co_await host_.signal(std::move(origin), std::move(name), std::move(text), {});
    }

    Worker& worker_;
    Host& host_;
    int open_ = 0;
    std::string tail_;
    OutputLog stdout_;
    OutputLog stderr_;
    Notifier quiet_;
    TaskScope scope_;
};

}  // namespace

std::unique_ptr<Driver> make_exec_driver(
    const asio::any_io_executor& executor, Worker& worker, Host& host
) {
    return std::make_unique<ExecDriver>(executor, worker, host);
}

}  // namespace volary::agent
