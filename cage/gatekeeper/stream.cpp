// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/stream.hpp"

#include <cerrno>
#include <sys/socket.h>

namespace volary::cage {
namespace {

class SocketStream final : public Stream {
public:
    explicit SocketStream(int socket) : socket_(socket) {}

    Moved read(std::span<char> into) override {
        const auto got = ::recv(socket_, into.data(), into.size(), 0);
        if (got == 0) return {State::end, 0};
        return outcome(got, State::wait_read);
    }
    Moved write(std::string_view bytes) override {
        return outcome(
            ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL), State::wait_write
        );
    }
    void finish() override { (void)::shutdown(socket_, SHUT_WR); }
    bool plain() const noexcept override { return true; }

private:
    static Moved outcome(ssize_t moved, State wait) {
        if (moved >= 0) return {State::some, static_cast<std::size_t>(moved)};
        const bool later = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
        return {later ? wait : State::failed, 0};
    }

    int socket_;
};

}  // namespace

std::unique_ptr<Stream> make_socket_stream(int socket) {
    return std::make_unique<SocketStream>(socket);
}

}  // namespace volary::cage
