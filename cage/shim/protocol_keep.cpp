// SPDX-License-Identifier: Apache-2.0
// The frames of a shim that keeps its runner's streams and outlives the daemon.
#include "cage/shim/codec.hpp"

namespace volary::cage::wire {

std::string encode(Type type, const Mark& message) {
    Writer out(type);
    out.integer(static_cast<std::uint8_t>(message.stream));
    out.integer(message.offset);
    return out.take();
}

std::optional<Mark> decode_mark(Type type, std::string_view frame) {
    Reader in(frame, type);
    Mark out;
    out.stream = get_stream(in);
    out.offset = in.integer<std::uint64_t>();
    return finish(in, out);
}

std::string encode(const Resume& message) {
    Writer out(Type::resume);
    out.integer(static_cast<std::uint8_t>(message.stream));
    out.integer(message.from);
    out.integer(message.up_to);
    return out.take();
}

std::optional<Resume> decode_resume(std::string_view frame) {
    Reader in(frame, Type::resume);
    Resume out;
    out.stream = get_stream(in);
    out.from = in.integer<std::uint64_t>();
    out.up_to = in.integer<std::uint64_t>();
    return finish(in, out);
}

std::string encode(const Input& message) {
    Writer out(Type::input);
    out.text(message.tag);
    out.flag(message.sticky);
    out.flag(message.more);
    out.text(message.bytes);
    return out.take();
}

std::optional<Input> decode_input(std::string_view frame) {
    Reader in(frame, Type::input);
    Input out;
    out.tag = in.text();
    out.sticky = in.flag();
    out.more = in.flag();
    out.bytes = in.text();
    return finish(in, std::move(out));
}

std::string encode_input_end() { return Writer(Type::input_end).take(); }

std::string encode_release() { return Writer(Type::release).take(); }

std::string encode(const Attached& message) {
    Writer out(Type::attached);
    out.integer(message.shim);
    put_optional(out, message.started);
    put_optional(out, message.exited);
    put_optional(out, message.failed);
    for (const auto& stream : message.streams) {
        out.integer(stream.base);
        out.integer(stream.end);
        out.integer(stream.dropped);
        out.flag(stream.ended);
    }
    out.integer(message.input_taken);
    out.flag(message.input_ended);
    out.list(message.tags, [&](auto& tag) { out.text(tag); });
    out.integer(message.alone_ms);
    return out.take();
}

std::optional<Attached> decode_attached(std::string_view frame) {
    Reader in(frame, Type::attached);
    Attached out;
    out.shim = in.integer<std::int32_t>();
    out.started = get_optional(in, get_started);
    out.exited = get_optional(in, get_exited);
    out.failed = get_optional(in, get_failed);
    for (auto& stream : out.streams) {
        stream.base = in.integer<std::uint64_t>();
        stream.end = in.integer<std::uint64_t>();
        stream.dropped = in.integer<std::uint64_t>();
        stream.ended = in.flag();
    }
    out.input_taken = in.integer<std::uint64_t>();
    out.input_ended = in.flag();
    in.list([&] { out.tags.push_back(in.text()); });
    out.alone_ms = in.integer<std::uint64_t>();
    return finish(in, std::move(out));
}

std::string encode(const Held& message) {
    Writer out(Type::held);
    out.integer(message.remaining);
    out.list(message.sockets, [&](auto& held) {
        put(out, held.socket);
        out.text(held.name);
    });
    return out.take();
}

std::optional<Held> decode_held(std::string_view frame) {
    Reader in(frame, Type::held);
    Held out;
    out.remaining = in.integer<std::uint32_t>();
    in.list([&] {
        auto socket = get_bind_spec(in);
        out.sockets.push_back({std::move(socket), in.text()});
    });
    return finish(in, std::move(out));
}

std::string encode(const Output& message) {
    Writer out(Type::output);
    out.integer(static_cast<std::uint8_t>(message.stream));
    out.integer(message.offset);
    out.text(message.bytes);
    return out.take();
}

std::optional<Output> decode_output(std::string_view frame) {
    Reader in(frame, Type::output);
    Output out;
    out.stream = get_stream(in);
    out.offset = in.integer<std::uint64_t>();
    out.bytes = in.text();
    return finish(in, std::move(out));
}

std::string encode_input_taken(std::uint64_t bytes) {
    Writer out(Type::input_taken);
    out.integer(bytes);
    return out.take();
}

std::optional<std::uint64_t> decode_input_taken(std::string_view frame) {
    Reader in(frame, Type::input_taken);
    const auto bytes = in.integer<std::uint64_t>();
    return finish(in, bytes);
}

std::string encode(const Dropped& message) {
    Writer out(Type::dropped);
    out.integer(static_cast<std::uint8_t>(message.stream));
    out.integer(message.from);
    out.integer(message.bytes);
    return out.take();
}

std::optional<Dropped> decode_dropped(std::string_view frame) {
    Reader in(frame, Type::dropped);
    Dropped out;
    out.stream = get_stream(in);
    out.from = in.integer<std::uint64_t>();
    out.bytes = in.integer<std::uint64_t>();
    return finish(in, out);
}

}  // namespace volary::cage::wire
