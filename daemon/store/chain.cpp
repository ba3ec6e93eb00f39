// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/chain.hpp"

#include "base/bytes.hpp"
#include "base/error.hpp"

#include <cstring>
#include <span>

#include <fmt/format.h>
#include <sodium.h>

namespace volary::store {
namespace {

class Digest {
public:
    Digest() {
        if (::sodium_init() < 0) throw Error(Errc::internal, "libsodium does not start");
        ::crypto_hash_sha256_init(&state_);
    }

    void add(std::string_view bytes) {
        const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
        ::crypto_hash_sha256_update(&state_, data, bytes.size());
    }

    void add_netstring(std::string_view bytes) {
        add(fmt::format("{}:", bytes.size()));
        add(bytes);
        add(",");
    }

    EventHash end() {
        EventHash out;
        ::crypto_hash_sha256_final(&state_, reinterpret_cast<unsigned char*>(out.data()));
        return out;
    }

private:
    ::crypto_hash_sha256_state state_{};
};

}  // namespace

EventHash hash_after(const EventHash& previous, const EventView& event) {
    Digest digest;
    digest.add(bytes_of(previous));
    digest.add_netstring(event.session);
    digest.add_netstring(fmt::to_string(event.seq));
    digest.add_netstring(fmt::to_string(event.at));
    digest.add_netstring(event.kind);
    digest.add_netstring(event.actor);
    digest.add_netstring(event.run);
    digest.add_netstring(event.body);
    return digest.end();
}

std::optional<EventHash> hash_from_bytes(std::string_view bytes) {
    EventHash out;
    if (bytes.size() != out.size()) return std::nullopt;
    std::memcpy(out.data(), bytes.data(), out.size());
    return out;
}

std::string_view bytes_of(const EventHash& hash) noexcept {
    return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

std::string hex_of(const EventHash& hash) { return to_hex(std::span(hash)); }

bool ChainCheck::take(const EventView& event, std::string_view stored) {
    if (!problem_.empty()) return false;
    if (event.seq != events_ + 1) {
        problem_ =
            fmt::format("event {} is missing: {} follows {}", events_ + 1, event.seq, events_);
        return false;
    }
    const auto hash = hash_after(head_, event);
    if (stored != bytes_of(hash) && stored != hex_of(hash)) {
        problem_ = fmt::format("event {} ({}) is not what was written", event.seq, event.kind);
        return false;
    }
    events_ = event.seq;
    head_ = hash;
    return true;
}

}  // namespace volary::store
