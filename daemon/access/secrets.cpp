// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/secrets.hpp"

#include "base/bytes.hpp"
#include "base/error.hpp"

#include <array>
#include <span>

#include <sodium.h>

namespace volary::access {

std::string hash_secret(std::string_view secret) {
    if (::sodium_init() < 0) throw Error(Errc::internal, "libsodium does not start");
    std::array<unsigned char, crypto_generichash_BYTES> digest{};
    const auto* bytes = reinterpret_cast<const unsigned char*>(secret.data());
    ::crypto_generichash(digest.data(), digest.size(), bytes, secret.size(), nullptr, 0);
    return to_hex(std::as_bytes(std::span(digest)));
}

bool is_token(std::string_view text, std::size_t bytes) noexcept {
    constexpr std::string_view alphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    return text.size() == (bytes * 4 + 2) / 3 &&
           text.find_first_not_of(alphabet) == std::string_view::npos;
}

std::optional<std::string_view> find_cookie(std::string_view header) {
    std::optional<std::string_view> found;
    while (!header.empty()) {
        const auto end = header.find(';');
        auto pair = header.substr(0, end);
        header.remove_prefix(end == std::string_view::npos ? header.size() : end + 1);
        const auto start = pair.find_first_not_of(" \t");
        if (start == std::string_view::npos) continue;
        pair.remove_prefix(start);
        if (!pair.starts_with(kCookieName) || pair.size() <= kCookieName.size() ||
            pair[kCookieName.size()] != '=')
            continue;
        if (found) return std::nullopt;
        found = pair.substr(kCookieName.size() + 1);
    }
    if (found && !is_token(*found, kCookieBytes)) return std::nullopt;
    return found;
}

}  // namespace volary::access
