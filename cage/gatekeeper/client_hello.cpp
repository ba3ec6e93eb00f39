// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/client_hello.hpp"

#include <algorithm>
#include <optional>

namespace volary::cage {
namespace {

constexpr std::size_t kRecordHeader = 5;
constexpr std::size_t kMaxRecord = 16384;  // RFC 8446, 5.1: plaintext records
constexpr std::size_t kHandshakeHeader = 4;
constexpr std::uint8_t kTypeClientHello = 1;
constexpr std::size_t kRandom = 32;
constexpr std::size_t kMaxSessionId = 32;
constexpr std::size_t kMaxServerName = 255;

constexpr unsigned kExtensionServerName = 0;
constexpr unsigned kExtensionEncryptedHello = 0xFE0D;  // RFC 9849 (encrypted_client_hello)

using Bytes = std::span<const std::uint8_t>;

std::optional<unsigned> take_number(Bytes& bytes, std::size_t size) {
    if (bytes.size() < size) return std::nullopt;
    unsigned value = 0;
    for (const auto byte : bytes.first(size)) value = value << 8U | byte;
    bytes = bytes.subspan(size);
    return value;
}

/// A vector with a length of `size` bytes before it.
std::optional<Bytes> take_vector(Bytes& bytes, std::size_t size) {
    const auto length = take_number(bytes, size);
    if (!length || bytes.size() < *length) return std::nullopt;
    const auto taken = bytes.first(*length);
    bytes = bytes.subspan(*length);
    return taken;
}

std::size_t message_size(const std::string& message) {
    const auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(message[i]); };
    return kHandshakeHeader + (at(1) * 65536U + at(2) * 256U + at(3));
}

}  // namespace

ClientHelloParser::State ClientHelloParser::fail(const char* problem) {
    problem_ = problem;
    return state_ = State::malformed;
}

ClientHelloParser::State ClientHelloParser::feed(Bytes bytes) {
    while (state_ == State::more && !bytes.empty()) {
        if (wire_ >= kMaxClientHelloWire) return fail("the hello is too large");
        if (record_left_ > 0) {
            take_payload(bytes);
            continue;
        }
        header_.push_back(static_cast<char>(bytes.front()));
        bytes = bytes.subspan(1);
        ++wire_;
        if (header_.size() == kRecordHeader) finish_header();
    }
    return state_;
}

ClientHelloParser::State ClientHelloParser::finish_header() {
    const auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(header_[i]); };
    if (at(0) != kTlsHandshake) return fail("another record inside the hello");
    if (at(1) != 3) return fail("not a TLS record");
    record_left_ = at(3) * 256U + at(4);
    header_.clear();
    if (record_left_ == 0) return fail("an empty record");
    if (record_left_ > kMaxRecord) return fail("a record is too large");
    return state_;
}

ClientHelloParser::State ClientHelloParser::take_payload(Bytes& bytes) {
    const auto count = std::min(record_left_, bytes.size());
    const auto payload = bytes.first(count);
    bytes = bytes.subspan(count);
    record_left_ -= count;
    wire_ += count;
    message_.append(payload.begin(), payload.end());
    if (static_cast<std::uint8_t>(message_[0]) != kTypeClientHello) return fail("not a hello");
    if (message_.size() < kHandshakeHeader) return state_;
    const auto size = message_size(message_);
    if (size > kMaxClientHello) return fail("the hello is too large");
    if (message_.size() < size) return state_;
    // No client may send a second message before it heard the server: what follows in the same
    // record could only be meant for somebody who reads the boundary differently.
    if (message_.size() > size || record_left_ > 0) return fail("more than one message");
    if (!parse_hello()) return fail(*problem_ != '\0' ? problem_ : "the hello is malformed");
    return state_ = State::done;
}

bool ClientHelloParser::parse_hello() {
    Bytes rest(reinterpret_cast<const std::uint8_t*>(message_.data()), message_.size());
    rest = rest.subspan(kHandshakeHeader);
    if (rest.size() < 2 + kRandom || rest[0] != 3) return false;
    rest = rest.subspan(2 + kRandom);
    const auto session = take_vector(rest, 1);
    if (!session || session->size() > kMaxSessionId) return false;
    const auto suites = take_vector(rest, 2);
    if (!suites || suites->empty() || suites->size() % 2 != 0) return false;
    const auto compression = take_vector(rest, 1);
    if (!compression || compression->empty()) return false;
    if (rest.empty()) return true;  // TLS 1.2 without extensions: no server name
    const auto extensions = take_vector(rest, 2);
    return extensions && rest.empty() && parse_extensions(*extensions);
}

bool ClientHelloParser::parse_extensions(Bytes extensions) {
    bool named = false;
    while (!extensions.empty()) {
        const auto type = take_number(extensions, 2);
        if (!type) return false;
        const auto body = take_vector(extensions, 2);
        if (!body) return false;
        if (*type == kExtensionEncryptedHello) encrypted_hello_ = true;
        if (*type != kExtensionServerName) continue;
        if (named) {
            problem_ = "two server names";
            return false;
        }
        named = true;
        if (!parse_server_name(*body)) return false;
    }
    return true;
}

bool ClientHelloParser::parse_server_name(Bytes list) {
    auto names = take_vector(list, 2);
    if (!names || !list.empty()) return false;
    const auto type = take_number(*names, 1);
    if (!type || *type != 0) return false;
    const auto name = take_vector(*names, 2);
    if (!name || name->empty() || name->size() > kMaxServerName) return false;
    if (!names->empty()) {
        problem_ = "two server names";
        return false;
    }
    for (const auto byte : *name) {
        const bool upper = byte >= 'A' && byte <= 'Z';
        const bool plain = (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
                           byte == '-' || byte == '_' || byte == '.';
        if (!upper && !plain) {
            problem_ = "the server name holds bytes that no name has";
            return false;
        }
        server_name_.push_back(static_cast<char>(upper ? byte + ('a' - 'A') : byte));
    }
    return true;
}

}  // namespace volary::cage
