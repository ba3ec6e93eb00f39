// SPDX-License-Identifier: Apache-2.0
#include "base/ids.hpp"

#include "base/bytes.hpp"

#include <array>
#include <cstdint>
#include <span>

namespace volary {
namespace {

constexpr std::string_view kCrockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::size_t kUlidLength = 26;

struct Last {
    UnixMillis at = -1;
    std::array<std::byte, 10> random{};
};

// Monotonic within a millisecond: the random part is counted up as one big-endian number.
void next_random(Last& last, UnixMillis at) {
    if (last.at != at) {
        last.at = at;
        fill_random(last.random);
        return;
    }
    for (auto byte = last.random.rbegin(); byte != last.random.rend(); ++byte) {
        *byte = static_cast<std::byte>(static_cast<std::uint8_t>(*byte) + 1U);
        if (*byte != std::byte{0}) return;
    }
}

}  // namespace

std::string make_ulid(UnixMillis at) {
    // Ids are made on the control thread and, in tests, on others: each keeps its own counter.
    thread_local Last last;
    next_random(last, at);
    std::string out(kUlidLength, '0');
    auto time = static_cast<std::uint64_t>(at);
    for (std::size_t i = 10; i-- > 0; time >>= 5U) out[i] = kCrockford[time & 31U];
    std::uint64_t bits = 0;
    unsigned held = 0;
    std::size_t at_char = 10;
    for (const auto byte : last.random) {
        bits = (bits << 8U) | static_cast<std::uint64_t>(byte);
        held += 8;
        while (held >= 5) {
            held -= 5;
            out[at_char++] = kCrockford[(bits >> held) & 31U];
        }
    }
    return out;
}

bool is_id(std::string_view text, std::string_view prefix) {
    if (text.size() != prefix.size() + 1 + kUlidLength) return false;
    if (!text.starts_with(prefix) || text[prefix.size()] != '_') return false;
    return text.substr(prefix.size() + 1).find_first_not_of(kCrockford) == std::string_view::npos;
}

}  // namespace volary
