// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace volary::cage {

/// A non-blocking byte stream to a peer outside: a socket, or TLS over another stream. Owns no
/// descriptor. What is to be waited for is always the one socket at the bottom.
class Stream {
public:
    enum class State {
        some,        ///< `bytes` were moved
        end,         ///< the peer sends no more
        wait_read,   ///< again once the socket is readable
        wait_write,  ///< again once the socket is writable
        failed       ///< broken; problem() may know why
    };
    struct Moved {
        State state = State::failed;
        std::size_t bytes = 0;
    };

    virtual ~Stream() = default;
    virtual Moved read(std::span<char> into) = 0;
    virtual Moved write(std::string_view bytes) = 0;
    /// Nothing more will be written; reading goes on. Best effort.
    virtual void finish() = 0;
    /// True when bytes may go around this object, straight through the socket.
    virtual bool plain() const noexcept = 0;
};

/// The socket itself.
std::unique_ptr<Stream> make_socket_stream(int socket);

}  // namespace volary::cage
