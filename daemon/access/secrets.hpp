// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace volary::access {

/// 128 bits: a code lives ten minutes, is used once, and guesses are limited.
inline constexpr std::size_t kLaunchCodeBytes = 16;
/// 256 bits for what lives for weeks.
inline constexpr std::size_t kCookieBytes = 32;
inline constexpr std::string_view kCookieName = "volary_session";

/// BLAKE2b-256 (libsodium's generichash) in hex: what is stored of a code or cookie. The secrets
/// are random and long, so no salt and no slow hash is needed.
std::string hash_secret(std::string_view secret);

/// True for unpadded base64url text of `bytes` bytes: what random_token() makes.
bool is_token(std::string_view text, std::size_t bytes) noexcept;

/// The session cookie of a Cookie header; nothing when it is absent, malformed, or there twice (a
/// program on another port of this host can set cookies too, and nobody could say which is ours).
std::optional<std::string_view> find_cookie(std::string_view header);

}  // namespace volary::access
