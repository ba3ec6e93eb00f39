// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace volary::cage {

/// The first byte of a TLS connection: content type handshake (RFC 8446, 5.1).
constexpr std::uint8_t kTlsHandshake = 0x16;
/// Largest ClientHello that is read. Post-quantum key shares make some 1.8 KiB; session tickets
/// are a few KiB; nothing real comes near.
constexpr std::size_t kMaxClientHello = 32U * 1024U;
/// Largest number of bytes that may carry it: a hello split over records of one byte each grows
/// sixfold, and only somebody who hides does that.
constexpr std::size_t kMaxClientHelloWire = 48U * 1024U;

/// Reads the server name out of a TLS ClientHello (RFC 8446, 4.1.2; RFC 6066, 3) that arrives in
/// pieces of any size, split over records of any size. Each byte is looked at once. Pure.
class ClientHelloParser {
public:
    enum class State { more, done, malformed };

    /// Feeds what follows what was fed before; bytes after the hello are ignored.
    State feed(std::span<const std::uint8_t> bytes);

    State state() const noexcept { return state_; }
    /// Lower case; "" when the hello names no server. Valid once done.
    const std::string& server_name() const noexcept { return server_name_; }
    /// True when the hello offers Encrypted ClientHello, real or as grease: then server_name() is
    /// the outer name.
    bool encrypted_hello() const noexcept { return encrypted_hello_; }
    /// What is wrong, once malformed; "" otherwise.
    const char* problem() const noexcept { return problem_; }

private:
    State fail(const char* problem);
    State finish_header();
    State take_payload(std::span<const std::uint8_t>& bytes);
    bool parse_hello();
    bool parse_extensions(std::span<const std::uint8_t> extensions);
    bool parse_server_name(std::span<const std::uint8_t> list);

    State state_ = State::more;
    const char* problem_ = "";
    std::size_t wire_ = 0;
    std::string header_;
    std::size_t record_left_ = 0;
    /// The handshake message without record headers.
    std::string message_;
    std::string server_name_;
    bool encrypted_hello_ = false;
};

}  // namespace volary::cage
