// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace volary {

/// A size in bytes; sizes in the project file are `512M`, `4K`, `1G` (powers of 1024).
struct ByteCount {
    std::uint64_t value = 0;
    auto operator<=>(const ByteCount&) const = default;
};

/// Fills from the kernel's random source, getrandom(2). Never fails once the system has booted.
void fill_random(std::span<std::byte> out);

/// `bytes` random bytes in unpadded base64url (RFC 4648, section 5): tokens and codes.
std::string random_token(std::size_t bytes);

std::string to_hex(std::span<const std::byte> bytes);
std::string to_base64url(std::span<const std::byte> bytes);

/// Compares without telling by its duration where two secrets differ (their length may show).
bool equal_constant_time(std::string_view a, std::string_view b) noexcept;

/// True when `text` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms).
bool is_utf8(std::string_view text) noexcept;

/// `text` with each malformed byte replaced by U+FFFD, for what processes print.
std::string to_valid_utf8(std::string_view text);

/// How many bytes at the end of `text` begin a UTF-8 character without ending it, at most 3: what a
/// reader keeps back until the rest has arrived.
std::size_t utf8_unfinished_tail(std::string_view text) noexcept;

/// The start of `text`, at most `max` bytes long, never cutting a UTF-8 character.
std::string_view utf8_prefix(std::string_view text, std::size_t max) noexcept;

}  // namespace volary
