// SPDX-License-Identifier: Apache-2.0
#include "cage/shim/protocol.hpp"

#include <type_traits>

namespace volary::cage::wire {
namespace {

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
    /// True when everything was there and nothing is left.
    bool done() const noexcept { return good_ && rest_.empty(); }

private:
    std::string_view rest_;
    bool good_ = false;
};

void put(Writer& out, const Argument& argument) {
    out.integer(static_cast<std::uint8_t>(argument.kind));
    out.text(argument.text);
    out.integer(argument.index);
}

Argument get_argument(Reader& in) {
    Argument out;
    out.kind = static_cast<Argument::Kind>(in.integer<std::uint8_t>());
    out.text = in.text();
    out.index = in.integer<std::uint16_t>();
    return out;
}

void put(Writer& out, const BindSpec& spec) {
    out.integer(static_cast<std::uint8_t>(spec.kind));
    out.text(spec.address);
    out.integer(spec.port);
}

BindSpec get_bind_spec(Reader& in) {
    BindSpec out;
    out.kind = static_cast<BindSpec::Kind>(in.integer<std::uint8_t>());
    out.address = in.text();
    out.port = in.integer<std::uint16_t>();
    return out;
}

void put(Writer& out, const RootStep& step) {
    out.integer(static_cast<std::uint8_t>(step.kind));
    for (const bool flag : {step.writable, step.device, step.must_exist}) out.flag(flag);
    out.text(step.target);
    out.text(step.text);
    out.integer(step.index);
    out.integer(step.mode);
    out.integer(step.size);
    out.integer(step.inodes);
}

RootStep get_root_step(Reader& in) {
    RootStep out;
    out.kind = static_cast<RootStep::Kind>(in.integer<std::uint8_t>());
    for (bool* flag : {&out.writable, &out.device, &out.must_exist}) *flag = in.flag();
    out.target = in.text();
    out.text = in.text();
    out.index = in.integer<std::uint16_t>();
    out.mode = in.integer<std::uint32_t>();
    out.size = in.integer<std::uint64_t>();
    out.inodes = in.integer<std::uint64_t>();
    return out;
}

void put(Writer& out, const std::optional<Native>& native) {
    out.flag(native.has_value());
    if (!native) return;
    out.integer(native->uid);
    out.integer(native->gid);
    out.text(native->hostname);
    out.text(native->folder);
    out.integer(native->filter);
    out.list(native->env, [&](auto& entry) { out.text(entry); });
    out.list(native->steps, [&](auto& step) { put(out, step); });
}

std::optional<Native> get_native(Reader& in) {
    if (!in.flag()) return std::nullopt;
    Native out;
    out.uid = in.integer<std::uint32_t>();
    out.gid = in.integer<std::uint32_t>();
    out.hostname = in.text();
    out.folder = in.text();
    out.filter = in.integer<std::uint16_t>();
    in.list([&] { out.env.push_back(in.text()); });
    in.list([&] { out.steps.push_back(get_root_step(in)); });
    return out;
}

void put(Writer& out, const Overlay& overlay) {
    out.integer(overlay.lower);
    out.integer(overlay.layer);
    out.text(overlay.rule);
}

Overlay get_overlay(Reader& in) {
    Overlay out;
    out.lower = in.integer<std::uint16_t>();
    out.layer = in.integer<std::uint16_t>();
    out.rule = in.text();
    return out;
}

template <class T>
std::optional<T> finish(const Reader& in, T message) {
    if (!in.done()) return std::nullopt;
    return message;
}

}  // namespace

std::optional<Type> type_of(std::string_view frame) noexcept {
    if (frame.size() < 2 || static_cast<std::uint8_t>(frame[0]) != kVersion) return std::nullopt;
    return static_cast<Type>(static_cast<std::uint8_t>(frame[1]));
}

std::string encode(const Launch& message) {
    Writer out(Type::launch);
    out.text(message.bwrap);
    out.list(message.options, [&](auto& a) { put(out, a); });
    out.list(message.command, [&](auto& a) { put(out, a); });
    out.list(message.data, [&](auto& d) { out.text(d); });
    out.list(message.sockets, [&](auto& s) { put(out, s); });
    out.flag(message.keep_session);
    for (const auto index : message.stdio) out.integer(index);
    out.list(message.joins, [&](auto index) { out.integer(index); });
    put(out, message.native);
    out.list(message.launcher, [&](auto& word) { out.text(word); });
    out.list(message.overlays, [&](auto& o) { put(out, o); });
    out.flag(message.notify);
    return out.take();
}

std::optional<Launch> decode_launch(std::string_view frame) {
    Reader in(frame, Type::launch);
    Launch out;
    out.bwrap = in.text();
    in.list([&] { out.options.push_back(get_argument(in)); });
    in.list([&] { out.command.push_back(get_argument(in)); });
    in.list([&] { out.data.push_back(in.text()); });
    in.list([&] { out.sockets.push_back(get_bind_spec(in)); });
    out.keep_session = in.flag();
    for (auto& index : out.stdio) index = in.integer<std::uint16_t>();
    in.list([&] { out.joins.push_back(in.integer<std::uint16_t>()); });
    out.native = get_native(in);
    in.list([&] { out.launcher.push_back(in.text()); });
    in.list([&] { out.overlays.push_back(get_overlay(in)); });
    out.notify = in.flag();
    return finish(in, std::move(out));
}

std::string encode(const Bind& message) {
    Writer out(Type::bind);
    out.integer(message.request);
    put(out, message.socket);
    return out.take();
}

std::optional<Bind> decode_bind(std::string_view frame) {
    Reader in(frame, Type::bind);
    Bind out;
    out.request = in.integer<std::uint32_t>();
    out.socket = get_bind_spec(in);
    return finish(in, std::move(out));
}

std::string encode(const Signal& message) {
    Writer out(Type::signal);
    out.integer(message.number);
    return out.take();
}

std::optional<Signal> decode_signal(std::string_view frame) {
    Reader in(frame, Type::signal);
    Signal out;
    out.number = in.integer<std::int32_t>();
    return finish(in, out);
}

std::string encode_kill() { return Writer(Type::kill).take(); }

std::string encode(const Sockets& message) {
    Writer out(Type::sockets);
    out.integer(message.remaining);
    return out.take();
}

std::optional<Sockets> decode_sockets(std::string_view frame) {
    Reader in(frame, Type::sockets);
    Sockets out;
    out.remaining = in.integer<std::uint32_t>();
    return finish(in, out);
}

std::string encode(const Started& message) {
    Writer out(Type::started);
    out.integer(message.runner);
    out.integer(message.init);
    out.integer(message.net_setup_us);
    return out.take();
}

std::optional<Started> decode_started(std::string_view frame) {
    Reader in(frame, Type::started);
    Started out;
    out.runner = in.integer<std::int32_t>();
    out.init = in.integer<std::int32_t>();
    out.net_setup_us = in.integer<std::uint32_t>();
    return finish(in, out);
}

std::string encode(const Exited& message) {
    Writer out(Type::exited);
    out.integer(message.code);
    out.integer(message.signal);
    out.integer(message.user_us);
    out.integer(message.system_us);
    out.integer(message.max_rss_kb);
    return out.take();
}

std::optional<Exited> decode_exited(std::string_view frame) {
    Reader in(frame, Type::exited);
    Exited out;
    out.code = in.integer<std::int32_t>();
    out.signal = in.integer<std::int32_t>();
    out.user_us = in.integer<std::uint64_t>();
    out.system_us = in.integer<std::uint64_t>();
    out.max_rss_kb = in.integer<std::uint64_t>();
    return finish(in, out);
}

std::string encode(const Failed& message) {
    Writer out(Type::failed);
    out.text(message.step);
    out.text(message.subject);
    out.integer(message.error);
    return out.take();
}

std::optional<Failed> decode_failed(std::string_view frame) {
    Reader in(frame, Type::failed);
    Failed out;
    out.step = in.text();
    out.subject = in.text();
    out.error = in.integer<std::int32_t>();
    return finish(in, std::move(out));
}

std::string encode(const Bound& message) {
    Writer out(Type::bound);
    out.integer(message.request);
    out.integer(message.error);
    return out.take();
}

std::optional<Bound> decode_bound(std::string_view frame) {
    Reader in(frame, Type::bound);
    Bound out;
    out.request = in.integer<std::uint32_t>();
    out.error = in.integer<std::int32_t>();
    return finish(in, out);
}

std::string encode(const Mount& message) {
    Writer out(Type::mount);
    out.integer(message.request);
    out.text(message.target);
    out.flag(message.writable);
    return out.take();
}

std::optional<Mount> decode_mount(std::string_view frame) {
    Reader in(frame, Type::mount);
    Mount out;
    out.request = in.integer<std::uint32_t>();
    out.target = in.text();
    out.writable = in.flag();
    return finish(in, std::move(out));
}

std::string encode(const Mounted& message) {
    Writer out(Type::mounted);
    out.integer(message.request);
    out.text(message.step);
    out.integer(message.error);
    return out.take();
}

std::optional<Mounted> decode_mounted(std::string_view frame) {
    Reader in(frame, Type::mounted);
    Mounted out;
    out.request = in.integer<std::uint32_t>();
    out.step = in.text();
    out.error = in.integer<std::int32_t>();
    return finish(in, std::move(out));
}

std::string encode(const DeniedCall& message) {
    Writer out(Type::denied_call);
    out.integer(message.number);
    out.integer(message.argument);
    out.integer(message.pid);
    out.text(message.command);
    out.integer(message.count);
    return out.take();
}

std::optional<DeniedCall> decode_denied_call(std::string_view frame) {
    Reader in(frame, Type::denied_call);
    DeniedCall out;
    out.number = in.integer<std::int32_t>();
    out.argument = in.integer<std::uint64_t>();
    out.pid = in.integer<std::int32_t>();
    out.command = in.text();
    out.count = in.integer<std::uint32_t>();
    return finish(in, std::move(out));
}

}  // namespace volary::cage::wire
