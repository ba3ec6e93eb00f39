// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/shim/protocol.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

/// How a frame's fields are written and read. Private to the protocol's sources.
namespace volary::cage::wire {

class Writer {
public:
    explicit Writer(Type type) {
        integer(kVersion);
        integer(static_cast<std::uint8_t>(type));
    }

    template <class T>
    void integer(T value) {
        auto bits = static_cast<std::make_unsigned_t<T>>(value);
        for (std::size_t i = 0; i < sizeof(T); ++i) {
            out_.push_back(static_cast<char>(bits & 0xffU));
            if constexpr (sizeof(T) > 1) bits = static_cast<decltype(bits)>(bits >> 8U);
        }
    }
    void flag(bool value) { integer(static_cast<std::uint8_t>(value ? 1 : 0)); }
    void text(std::string_view value) {
        integer(static_cast<std::uint32_t>(value.size()));
        out_.append(value);
    }
    template <class List, class Each>
    void list(const List& items, Each each) {
        integer(static_cast<std::uint32_t>(items.size()));
        for (const auto& item : items) each(item);
    }
    std::string take() { return std::move(out_); }

private:
    std::string out_;
};

/// Reads in order; after the first fault every value is empty and good() is false.
class Reader {
public:
    Reader(std::string_view frame, Type type) : rest_(frame) {
        good_ = type_of(frame) == type && frame.size() <= kMaxFrame;
        if (good_) rest_.remove_prefix(2);
    }

    template <class T>
    T integer() {
        if (!good_ || rest_.size() < sizeof(T)) {
            good_ = false;
            return {};
        }
        std::make_unsigned_t<T> bits = 0;
        for (std::size_t i = 0; i < sizeof(T); ++i) {
            const auto byte =
                static_cast<std::make_unsigned_t<T>>(static_cast<unsigned char>(rest_[i]));
            bits =
                static_cast<decltype(bits)>(bits | static_cast<decltype(bits)>(byte << (8U * i)));
        }
        rest_.remove_prefix(sizeof(T));
        return static_cast<T>(bits);
    }
    bool flag() { return integer<std::uint8_t>() != 0; }
    std::string text() {
        const auto size = integer<std::uint32_t>();
        if (!good_ || size > rest_.size()) {
            good_ = false;
            return {};
        }
        std::string out(rest_.substr(0, size));
        rest_.remove_prefix(size);
        return out;
    }
    template <class Each>
    void list(Each each) {
        const auto count = integer<std::uint32_t>();
        if (count > kMaxList) good_ = false;
        for (std::uint32_t i = 0; good_ && i < count; ++i) each();
    }
    void spoil() noexcept { good_ = false; }
    /// True when everything was there and nothing is left.
    bool done() const noexcept { return good_ && rest_.empty(); }

private:
    std::string_view rest_;
    bool good_ = false;
};

inline void put(Writer& out, const BindSpec& spec) {
    out.integer(static_cast<std::uint8_t>(spec.kind));
    out.text(spec.address);
    out.integer(spec.port);
}

inline BindSpec get_bind_spec(Reader& in) {
    BindSpec out;
    out.kind = static_cast<BindSpec::Kind>(in.integer<std::uint8_t>());
    out.address = in.text();
    out.port = in.integer<std::uint16_t>();
    return out;
}

inline Stream get_stream(Reader& in) {
    const auto number = in.integer<std::uint8_t>();
    if (number >= kOutputs) in.spoil();
    return static_cast<Stream>(number);
}

inline void put(Writer& out, const Started& started) {
    out.integer(started.runner);
    out.integer(started.init);
    out.integer(started.net_setup_us);
}

inline Started get_started(Reader& in) {
    Started out;
    out.runner = in.integer<std::int32_t>();
    out.init = in.integer<std::int32_t>();
    out.net_setup_us = in.integer<std::uint32_t>();
    return out;
}

inline void put(Writer& out, const Exited& exited) {
    out.integer(exited.code);
    out.integer(exited.signal);
    out.integer(exited.user_us);
    out.integer(exited.system_us);
    out.integer(exited.max_rss_kb);
}

inline Exited get_exited(Reader& in) {
    Exited out;
    out.code = in.integer<std::int32_t>();
    out.signal = in.integer<std::int32_t>();
    out.user_us = in.integer<std::uint64_t>();
    out.system_us = in.integer<std::uint64_t>();
    out.max_rss_kb = in.integer<std::uint64_t>();
    return out;
}

inline void put(Writer& out, const Failed& failed) {
    out.text(failed.step);
    out.text(failed.subject);
    out.integer(failed.error);
}

inline Failed get_failed(Reader& in) {
    Failed out;
    out.step = in.text();
    out.subject = in.text();
    out.error = in.integer<std::int32_t>();
    return out;
}

template <class T>
void put_optional(Writer& out, const std::optional<T>& value) {
    out.flag(value.has_value());
    if (value) put(out, *value);
}

template <class T>
std::optional<T> get_optional(Reader& in, T (*get)(Reader&)) {
    if (!in.flag()) return std::nullopt;
    return get(in);
}

template <class T>
std::optional<T> finish(const Reader& in, T message) {
    if (!in.done()) return std::nullopt;
    return message;
}

}  // namespace volary::cage::wire
