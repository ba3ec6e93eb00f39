// SPDX-License-Identifier: Apache-2.0
#include "cage/shim/codec.hpp"

namespace volary::cage::wire {
namespace {

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

void put(Writer& out, const std::optional<Keep>& keep) {
    out.flag(keep.has_value());
    if (!keep) return;
    out.integer(keep->input);
    for (const auto index : keep->outputs) out.integer(index);
    for (const bool lossy : keep->lossy) out.flag(lossy);
    out.integer(keep->listener);
    out.integer(keep->folder);
    out.integer(keep->record);
    out.integer(keep->spool);
    out.integer(keep->output_rate);
    out.integer(keep->orphan_seconds);
}

std::optional<Keep> get_keep(Reader& in) {
    if (!in.flag()) return std::nullopt;
    Keep out;
    out.input = in.integer<std::uint16_t>();
    for (auto& index : out.outputs) index = in.integer<std::uint16_t>();
    for (auto& lossy : out.lossy) lossy = in.flag();
    out.listener = in.integer<std::uint16_t>();
    out.folder = in.integer<std::uint16_t>();
    out.record = in.integer<std::uint16_t>();
    out.spool = in.integer<std::uint64_t>();
    out.output_rate = in.integer<std::uint64_t>();
    out.orphan_seconds = in.integer<std::uint32_t>();
    return out;
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
    put(out, message.keep);
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
    out.keep = get_keep(in);
    return finish(in, std::move(out));
}

std::string encode(const Bind& message) {
    Writer out(Type::bind);
    out.integer(message.request);
    put(out, message.socket);
    out.text(message.name);
    return out.take();
}

std::optional<Bind> decode_bind(std::string_view frame) {
    Reader in(frame, Type::bind);
    Bind out;
    out.request = in.integer<std::uint32_t>();
    out.socket = get_bind_spec(in);
    out.name = in.text();
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
    put(out, message);
    return out.take();
}

std::optional<Started> decode_started(std::string_view frame) {
    Reader in(frame, Type::started);
    const auto out = get_started(in);
    return finish(in, out);
}

std::string encode(const Exited& message) {
    Writer out(Type::exited);
    put(out, message);
    return out.take();
}

std::optional<Exited> decode_exited(std::string_view frame) {
    Reader in(frame, Type::exited);
    const auto out = get_exited(in);
    return finish(in, out);
}

std::string encode(const Failed& message) {
    Writer out(Type::failed);
    put(out, message);
    return out.take();
}

std::optional<Failed> decode_failed(std::string_view frame) {
    Reader in(frame, Type::failed);
    auto out = get_failed(in);
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
