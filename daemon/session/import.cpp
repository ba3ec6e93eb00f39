// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/import.hpp"

#include "base/error.hpp"
#include "base/json.hpp"
#include "daemon/store/chain.hpp"

#include <cstddef>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::session {
namespace {

constexpr std::string_view kFormat = "volary-session";
constexpr int kVersion = 1;
/// A line holds one event: a message of 256 KiB, or an answer of 64 KiB, and what JSON adds.
constexpr JsonLimits kLine{std::size_t{8} << 20U, 128};

[[noreturn]] void refuse(std::size_t line, std::string_view why) {
    throw Error(Errc::invalid, fmt::format("line {} of the export: {}", line, why));
}

/// The lines of a text, counted from 1.
class Lines {
public:
    explicit Lines(std::string_view text) : rest_(text) {}

    std::optional<Json> next() {
        if (rest_.empty()) return std::nullopt;
        const auto end = rest_.find('\n');
        const auto line = rest_.substr(0, end);
        rest_ = end == std::string_view::npos ? std::string_view() : rest_.substr(end + 1);
        ++number_;
        auto parsed = parse_json(line, kLine);
        if (!parsed) refuse(number_, parsed.error());
        if (!parsed->is_object()) refuse(number_, "must be a JSON object");
        return std::move(*parsed);
    }
    std::size_t number() const noexcept { return number_; }

private:
    std::string_view rest_;
    std::size_t number_ = 0;
};

struct Header {
    SessionExport out;
    std::int64_t events = 0;
};

Header read_header(Lines& lines) {
    const auto doc = lines.next();
    if (!doc) throw Error(Errc::invalid, "the export is empty");
    if (string_or(*doc, "format") != kFormat)
        refuse(1, "is no export of a session: \"format\" must be \"volary-session\"");
    Fields fields(*doc, "line 1");
    Header header;
    (void)fields.string("format");
    const auto version = fields.integer("version");
    header.out.session = SessionId(fields.string("session"));
    header.out.project = fields.string("project");
    header.events = fields.integer("events");
    header.out.head = fields.string("head");
    if (version != kVersion)
        refuse(1, fmt::format("is of version {}, this program knows {}", version, kVersion));
    if (!is_id(header.out.session.str(), SessionTag::prefix))
        fields.problem("session", "must be a session id");
    if (header.events < 1) fields.problem("events", "must be at least 1");
    fields.done();
    return header;
}

Event read_event(const Json& doc, std::size_t line) {
    try {
        Event event;
        event.session = SessionId(doc.at("session").get<std::string>());
        event.seq = doc.at("seq").get<std::int64_t>();
        event.at = doc.at("at").get<UnixMillis>();
        event.kind = doc.at("kind").get<std::string>();
        event.actor = doc.at("actor").get<std::string>();
        if (!doc.at("run").is_null()) event.run = RunId(doc.at("run").get<std::string>());
        event.body = dump_json(doc.at("body"));
        return event;
    } catch (const Json::exception&) {
        refuse(line, "is no event: session, seq, at, kind, actor, run, body and hash are needed");
    }
}

}  // namespace

std::string export_header(
    const SessionId& session, const std::string& project, std::int64_t events,
    const std::string& head
) {
    const Json doc = {{"format", kFormat},  {"version", kVersion}, {"session", session.str()},
                      {"project", project}, {"events", events},    {"head", head}};
    return dump_json(doc);
}

SessionExport parse_export(std::string_view text) {
    Lines lines(text);
    auto header = read_header(lines);
    auto& out = header.out;
    store::ChainCheck check(out.session);
    while (const auto doc = lines.next()) {
        auto event = read_event(*doc, lines.number());
        if (event.session != out.session)
            refuse(lines.number(), "belongs to session " + event.session.str());
        if (!check.take(view_of(event), string_or(*doc, "hash")))
            refuse(lines.number(), check.problem());
        out.log.push_back(std::move(event));
    }
    if (check.events() != header.events)
        throw Error(
            Errc::invalid,
            fmt::format(
                "the export ends at event {}, its first line says {}: it was cut short",
                check.events(), header.events
            )
        );
    if (store::hex_of(check.head()) != out.head)
        throw Error(Errc::invalid, "the last event of the export is not the one of its first line");
    return std::move(out);
}

}  // namespace volary::session
