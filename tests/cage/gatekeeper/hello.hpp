// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

namespace volary::cage::test {

inline std::string sized(std::size_t bytes, const std::string& body) {
    std::string out;
    for (std::size_t i = bytes; i > 0; --i)
        out.push_back(static_cast<char>(body.size() >> (8 * (i - 1)) & 0xFF));
    return out + body;
}

inline std::string extension(unsigned type, const std::string& body) {
    std::string out{static_cast<char>(type >> 8U), static_cast<char>(type & 0xFFU)};
    return out + sized(2, body);
}

inline std::string server_name(const std::string& name) {
    return extension(0, sized(2, std::string(1, '\0') + sized(2, name)));
}

/// The handshake message of a ClientHello with these extensions.
inline std::string hello_message(const std::string& extensions) {
    std::string body = "\x03\x03" + std::string(32, 'r') + sized(1, std::string(32, 's'));
    body += sized(2, "\x13\x01") + sized(1, std::string(1, '\0')) + sized(2, extensions);
    return "\x01" + sized(3, body);
}

/// `message` in records of at most `record` bytes.
inline std::string records(const std::string& message, std::size_t record = 16384) {
    std::string out;
    for (std::size_t at = 0; at < message.size(); at += record)
        out += "\x16\x03\x01" + sized(2, message.substr(at, record));
    return out;
}

inline std::string hello(const std::string& name) {
    return records(hello_message(extension(43, "\x02\x03\x04") + server_name(name)));
}

}  // namespace volary::cage::test
