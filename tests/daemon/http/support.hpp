// SPDX-License-Identifier: Apache-2.0
// A server on a loop of its own, and raw sockets that speak to it byte by byte.
#pragma once

#include "daemon/http/client.hpp"
#include "daemon/http/server.hpp"

#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>

namespace volary::http {

constexpr std::chrono::seconds kTestDeadline{10};

/// Runs the loop until `condition` holds; fails the test after the deadline.
inline void run_until(asio::io_context& loop, const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + kTestDeadline;
    while (!condition()) {
        REQUIRE(std::chrono::steady_clock::now() < until);
        loop.restart();
        loop.run_one_for(std::chrono::milliseconds(5));
    }
}

/// Runs one coroutine to its end and rethrows its error.
inline void run(asio::io_context& loop, asio::awaitable<void> task) {
    std::exception_ptr failure;
    bool done = false;
    asio::co_spawn(loop, std::move(task), [&](const std::exception_ptr& error) {
        failure = error;
        done = true;
    });
    run_until(loop, [&] { return done; });
    if (failure) std::rethrow_exception(failure);
}

/// A blocking-connect, non-blocking-read socket to a unix path.
class RawClient {
public:
    RawClient(asio::io_context& loop, const std::string& path)
        : loop_(loop), fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
        REQUIRE(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    }

    RawClient(asio::io_context& loop, UniqueFd fd) : loop_(loop), fd_(std::move(fd)) {}

    void send(std::string_view text) {
        while (!text.empty()) {
            const auto sent =
                ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) return;
            if (sent > 0) text.remove_prefix(static_cast<std::size_t>(sent));
            poll_loop();
        }
    }
    void end() { ::shutdown(fd_.get(), SHUT_WR); }
    void close() { fd_.reset(); }

    /// Reads until `condition(everything so far)` or the end of the stream.
    std::string read_until(const std::function<bool(const std::string&)>& condition) {
        run_until(loop_, [&] {
            pull();
            return condition(received_) || ended_;
        });
        return received_;
    }
    std::string read_all() {
        return read_until([](const std::string&) { return false; });
    }
    /// One answer with Content-Length; what follows stays for the next call.
    std::string read_answer() {
        std::size_t total = 0;
        read_until([&](const std::string& text) {
            const auto end = text.find("\r\n\r\n");
            if (end == std::string::npos) return false;
            const auto at = text.find("Content-Length: ");
            const auto length = at < end ? std::stoul(text.substr(at + 16)) : 0;
            total = end + 4 + length;
            return text.size() >= total;
        });
        auto out = received_.substr(0, total);
        received_.erase(0, total);
        return out;
    }
    bool ended() {
        pull();
        return ended_;
    }
    int fd() const { return fd_.get(); }

private:
    void poll_loop() {
        loop_.restart();
        loop_.poll();
    }
    void pull() {
        char buffer[65536];
        while (true) {
            const auto got = ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
            if (got > 0) received_.append(buffer, static_cast<std::size_t>(got));
            if (got == 0 || (got < 0 && errno == ECONNRESET)) ended_ = true;
            if (got <= 0) return;
        }
    }

    asio::io_context& loop_;
    UniqueFd fd_;
    std::string received_;
    bool ended_ = false;
};

/// A server on a unix socket in a folder of its own.
struct ServerFixture {
    explicit ServerFixture(ServerOptions with = {}, Guard guard = {}) {
        char folder[] = "/tmp/volary-http-XXXXXX";
        REQUIRE(::mkdtemp(folder) != nullptr);
        directory = folder;
        path = directory + "/http.sock";
        options = std::move(with);
        server.emplace(loop.get_executor(), router, std::move(guard), options);
    }
    ~ServerFixture() {
        stop();
        std::filesystem::remove_all(directory);
    }
    /// For the destructor of whoever adds members that handlers use.
    void stop() {
        if (server) run(loop, server->close());
        server.reset();
    }
    ServerFixture(const ServerFixture&) = delete;
    ServerFixture& operator=(const ServerFixture&) = delete;

    void listen() { server->listen_unix(path, 0600, "operator"); }
    RawClient connect() { return {loop, path}; }
    /// One exchange on a connection of its own.
    std::string ask(std::string_view request) {
        auto client = connect();
        client.send(request);
        return client.read_answer();
    }

    asio::io_context loop;
    Router router;
    ServerOptions options;
    std::string directory;
    std::string path;
    std::optional<Server> server;
};

}  // namespace volary::http
