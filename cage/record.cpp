// SPDX-License-Identifier: Apache-2.0
#include "cage/record.hpp"

#include "base/json.hpp"

#include <nlohmann/json.hpp>

namespace volary::cage {
namespace {

/// The paths of a large policy and its rules; far below what a frame of the API may be.
constexpr JsonLimits kRecord{std::size_t{8} << 20U, 8};

template <class T>
Json optional_json(const std::optional<T>& value) {
    return value ? Json(*value) : Json();
}

Json bytes_json(const std::optional<ByteCount>& value) {
    return value ? Json(value->value) : Json();
}

template <class T>
std::optional<T> optional_of(const Json& value) {
    if (value.is_null()) return std::nullopt;
    return value.get<T>();
}

std::optional<ByteCount> bytes_of(const Json& value) {
    if (value.is_null()) return std::nullopt;
    return ByteCount{value.get<std::uint64_t>()};
}

Json to_json(const CageLimits& limits) {
    return {
        {"memory", bytes_json(limits.memory)},
        {"swap", bytes_json(limits.swap)},
        {"cpu", optional_json(limits.cpu)},
        {"pids", optional_json(limits.pids)},
        {"wall_ms", limits.wall ? Json(limits.wall->count()) : Json()},
        {"disk", bytes_json(limits.disk)},
        {"files", optional_json(limits.files)},
        {"output", bytes_json(limits.output)}
    };
}

CageLimits limits_of(const Json& doc) {
    CageLimits out;
    out.memory = bytes_of(doc.at("memory"));
    out.swap = bytes_of(doc.at("swap"));
    out.cpu = optional_of<double>(doc.at("cpu"));
    out.pids = optional_of<std::uint32_t>(doc.at("pids"));
    if (!doc.at("wall_ms").is_null())
        out.wall = std::chrono::milliseconds(doc.at("wall_ms").get<std::int64_t>());
    out.disk = bytes_of(doc.at("disk"));
    out.files = optional_of<std::uint32_t>(doc.at("files"));
    out.output = bytes_of(doc.at("output"));
    return out;
}

Json to_json(const NetRule& rule) {
    return {
        {"kind", static_cast<int>(rule.kind)},
        {"host", rule.host},
        {"port", rule.port},
        {"private", rule.allow_private},
        {"sni", rule.sni},
        {"text", rule.text},
        {"credential", rule.credential},
        {"methods", rule.methods},
        {"paths", rule.paths},
        {"origin", rule.origin}
    };
}

NetRule rule_of(const Json& doc) {
    NetRule out;
    const auto kind = doc.at("kind").get<int>();
    if (kind < 0 || kind > static_cast<int>(NetRule::Kind::host))
        throw std::out_of_range("kind of a rule");
    out.kind = static_cast<NetRule::Kind>(kind);
    doc.at("host").get_to(out.host);
    doc.at("port").get_to(out.port);
    doc.at("private").get_to(out.allow_private);
    doc.at("sni").get_to(out.sni);
    doc.at("text").get_to(out.text);
    doc.at("credential").get_to(out.credential);
    doc.at("methods").get_to(out.methods);
    doc.at("paths").get_to(out.paths);
    doc.at("origin").get_to(out.origin);
    return out;
}

Json to_json(const PublishedPort& port) {
    return {{"name", port.name}, {"port", port.port}, {"public", port.is_public}};
}

Json to_json(const UnheldPath& path) {
    return {{"path", path.path}, {"kind", static_cast<int>(path.kind)}, {"target", path.target}};
}

template <class List>
Json list_json(const List& list) {
    Json out = Json::array();
    for (const auto& each : list) out.push_back(to_json(each));
    return out;
}

KeptRecord read(const Json& doc) {
    KeptRecord out;
    out.id = CageId(doc.at("cage").get<std::string>());
    doc.at("owner").get_to(out.owner);
    out.limits = limits_of(doc.at("limits"));
    for (const auto& rule : doc.at("net")) out.net.push_back(rule_of(rule));
    doc.at("internal_names").get_to(out.internal_names);
    for (const auto& port : doc.at("ports"))
        out.ports.push_back({port.at("name"), port.at("port"), port.at("public")});
    doc.at("workspace").get_to(out.workspace);
    doc.at("places").get_to(out.places);
    doc.at("writable").get_to(out.writable);
    doc.at("private_folders").get_to(out.private_folders);
    for (const auto& path : doc.at("unheld"))
        out.unheld.push_back(
            {path.at("path"), static_cast<PathKind>(path.at("kind").get<int>()), path.at("target")}
        );
    doc.at("layers").get_to(out.layers);
    doc.at("limits_backend").get_to(out.limits_backend);
    doc.at("layers_folder").get_to(out.layers_folder);
    doc.at("overlay_targets").get_to(out.overlay_targets);
    doc.at("made_at_us").get_to(out.made_at_us);
    return out;
}

}  // namespace

std::string to_text(const KeptRecord& record) {
    const Json doc = {
        {"cage", record.id.str()},
        {"owner", record.owner},
        {"limits", to_json(record.limits)},
        {"net", list_json(record.net)},
        {"internal_names", record.internal_names},
        {"ports", list_json(record.ports)},
        {"workspace", record.workspace},
        {"places", record.places},
        {"writable", record.writable},
        {"private_folders", record.private_folders},
        {"unheld", list_json(record.unheld)},
        {"layers", record.layers},
        {"limits_backend", record.limits_backend},
        {"layers_folder", record.layers_folder},
        {"overlay_targets", record.overlay_targets},
        {"made_at_us", record.made_at_us},
    };
    return dump_json(doc);
}

std::optional<KeptRecord> parse_record(std::string_view text) {
    const auto doc = parse_json(text, kRecord);
    if (!doc) return std::nullopt;
    try {
        return read(*doc);
    } catch (const std::exception&) {
        return std::nullopt;
    }
}

}  // namespace volary::cage
