// SPDX-License-Identifier: Apache-2.0
#include "dsl/grammar.hpp"
#include "dsl/load.hpp"
#include "tests/dsl/temp_project.hpp"

#include <algorithm>
#include <functional>
#include <regex>
#include <set>
#include <sstream>

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::dsl {
namespace {

using Json = nlohmann::json;

/// As much of draft 2020-12 as the schema uses; an unknown keyword fails the test.
class Checker {
public:
    explicit Checker(const Json& schema) : root_(schema) {}
    bool valid(const Json& value, const Json& schema);

private:
    bool keyword(const std::string& key, const Json& rule, const Json& value, const Json& schema);
    bool properties(const Json& value, const Json& schema);
    static bool has_type(const Json& value, const std::string& type);
    const Json& root_;
};

bool Checker::has_type(const Json& value, const std::string& type) {
    if (type == "object") return value.is_object();
    if (type == "array") return value.is_array();
    if (type == "string") return value.is_string();
    if (type == "integer") return value.is_number_integer();
    if (type == "number") return value.is_number();
    if (type == "boolean") return value.is_boolean();
    return value.is_null();
}

bool Checker::properties(const Json& value, const Json& schema) {
    if (!value.is_object()) return true;
    const auto known = schema.value("properties", Json::object());
    for (const auto& [key, member] : value.items()) {
        if (known.contains(key)) {
            if (!valid(member, known[key])) return false;
        } else if (schema.contains("additionalProperties")) {
            const auto& more = schema["additionalProperties"];
            if (more.is_boolean() ? !more.get<bool>() : !valid(member, more)) return false;
        }
        if (schema.contains("propertyNames") && !valid(key, schema["propertyNames"])) return false;
    }
    return true;
}

bool Checker::keyword(
    const std::string& key, const Json& rule, const Json& value, const Json& schema
) {
    if (key == "type") {
        if (rule.is_string()) return has_type(value, rule);
        return std::ranges::any_of(rule, [&](const Json& each) { return has_type(value, each); });
    }
    if (key == "$ref") {
        const auto name = rule.get<std::string>().substr(std::string("#/$defs/").size());
        return valid(value, root_["$defs"].at(name));
    }
    if (key == "enum") return std::ranges::find(rule, value) != rule.end();
    if (key == "not") return !valid(value, rule);
    if (key == "anyOf")
        return std::ranges::any_of(rule, [&](const Json& each) { return valid(value, each); });
    if (key == "pattern") {
        return !value.is_string() ||
               std::regex_search(value.get<std::string>(), std::regex(rule.get<std::string>()));
    }
    if (key == "maxLength")
        return !value.is_string() || value.get<std::string>().size() <= rule.get<std::size_t>();
    if (key == "minimum") return !value.is_number() || value.get<double>() >= rule.get<double>();
    if (key == "maximum") return !value.is_number() || value.get<double>() <= rule.get<double>();
    if (key == "items") {
        return !value.is_array() ||
               std::ranges::all_of(value, [&](const Json& each) { return valid(each, rule); });
    }
    if (key == "minItems") return !value.is_array() || value.size() >= rule.get<std::size_t>();
    if (key == "maxItems") return !value.is_array() || value.size() <= rule.get<std::size_t>();
    if (key == "minProperties")
        return !value.is_object() || value.size() >= rule.get<std::size_t>();
    if (key == "maxProperties")
        return !value.is_object() || value.size() <= rule.get<std::size_t>();
    if (key == "required") {
        return !value.is_object() ||
               std::ranges::all_of(rule, [&](const Json& each) { return value.contains(each); });
    }
    if (key == "properties") return properties(value, schema);
    const std::set<std::string> others{
        "$schema", "title", "$defs", "description", "additionalProperties", "propertyNames"
    };
    INFO(key);
    REQUIRE(others.contains(key));
    return key == "additionalProperties" && !schema.contains("properties")
               ? properties(value, schema)
               : true;
}

bool Checker::valid(const Json& value, const Json& schema) {
    for (const auto& [key, rule] : schema.items()) {
        if (!keyword(key, rule, value, schema)) return false;
    }
    return true;
}

Json to_json(const Node& node) {
    switch (node.kind) {
        case Node::Kind::boolean:
            return node.boolean;
        case Node::Kind::integer:
            return static_cast<std::int64_t>(node.number);
        case Node::Kind::number:
            return node.number;
        case Node::Kind::text:
            return node.text;
        case Node::Kind::sequence: {
            Json out = Json::array();
            for (const auto& item : node.items) out.push_back(to_json(item));
            return out;
        }
        case Node::Kind::mapping: {
            Json out = Json::object();
            for (const auto& member : node.members) out[member.key] = to_json(member.value);
            return out;
        }
        default:
            return nullptr;
    }
}

Json yaml(std::string_view text) {
    const auto parsed = parse_yaml(text, 0);
    REQUIRE(parsed.complete);
    return to_json(parsed.root);
}

/// Every object of the table, once.
void each_object(
    const Type& type, std::set<const Type*>& seen, const std::function<void(const Type&)>& visit
) {
    if (!seen.insert(&type).second) return;
    if (type.kind == Type::Kind::object) visit(type);
    for (const auto& key : type.keys) each_object(*key.type, seen, visit);
    for (const auto* alternative : type.alternatives) each_object(*alternative, seen, visit);
    if (type.item != nullptr) each_object(*type.item, seen, visit);
}

TEST_CASE("every key of the table is in the schema, refused ones as refused", "[dsl]") {
    const auto schema = Json::parse(json_schema());
    std::set<const Type*> seen;
    std::size_t keys = 0;
    each_object(project_type(), seen, [&](const Type& type) {
        INFO(type.name);
        REQUIRE_FALSE(type.name.empty());
        const auto& properties = schema["$defs"].at(std::string(type.name))["properties"];
        CHECK(properties.size() == type.keys.size());
        for (const auto& key : type.keys) {
            INFO(key.name);
            ++keys;
            REQUIRE(properties.contains(std::string(key.name)));
            const auto& property = properties[std::string(key.name)];
            CHECK_FALSE(property["description"].get<std::string>().empty());
            CHECK(property.contains("not") == (key.type->kind == Type::Kind::later));
        }
    });
    CHECK(keys > 70);
}

TEST_CASE("the schema accepts what loads", "[dsl]") {
    const auto schema = Json::parse(json_schema());
    Checker checker(schema);
    CHECK(checker.valid(yaml(kStory), schema));
    CHECK(checker.valid(yaml(kSmallest), schema));
    CHECK(checker.valid(
        yaml(R"(version: 1
project: ab
cage_defaults: { seccomp: relaxed, limits: { memory: 4096, cpu: 0.5 }, env: { A: b } }
primary:
  model: [a, b]
  runner: { exec: [x] }
  cage: { limits: { memory: null }, net: { allow: [{ to: a.b, sni: c.d }] } }
  tools: { "x_*": null }
  subagents:
    s: { cage: disabled, runner: builtin }
    t:
      cage:
        fs: [ { path: "project:/x", mode: cow } ]
        net:
          allow: [ { to: "a.b:443", credential: k, methods: [GET], paths: [/v1/*] } ]
          ports: [ { name: web, port: 80, public: true } ]
        limits: { swap: 1G, output: 4096 }
        seccomp: { add: [bpf], remove: [ptrace] }
        state: kept
        backend: native
        require: [landlock, cgroup]
        devices: [/dev/kvm]
        detached: true
interconnect: [ { on: s, from: "*", invoke: s, dedupe: { by: [/a], window: 5m }, on_limit: drop } ]
)"),
        schema
    ));
}

TEST_CASE("the schema refuses what the table refuses", "[dsl]") {
    const auto schema = Json::parse(json_schema());
    Checker checker(schema);
    const auto* more = GENERATE(
        "colour: red", "plugins: {}", "description: 5", "interconnect: {}",
        "cage_defaults: disabled", "cage_defaults: { fs: [ { path: /x, mode: ro } ] }",
        "cage_defaults: { fs: [ { path: 'project:/x', mode: cwo } ] }",
        "cage_defaults: { limits: { memory: lots } }", "cage_defaults: { limits: { pids: 0 } }",
        "cage_defaults: { net: { ports: [ { name: a } ] } }", "cage_defaults: { env: { 1x: y } }",
        "interconnect: [ { on: a, from: b } ]",
        "interconnect: [ { on: a, from: b, invoke: c, max_depth: 17 } ]"
    );
    INFO(more);
    const TempProject folder;
    folder.project(std::string(kSmallest) + more + "\n");
    CHECK_FALSE(load_project(folder.root()).project.has_value());
    CHECK_FALSE(checker.valid(yaml(std::string(kSmallest) + more + "\n"), schema));
}

TEST_CASE("require takes every layer that there is", "[dsl]") {
    const auto schema = Json::parse(json_schema());
    const auto& words = schema["$defs"]["cage"]["properties"]["require"]["anyOf"][0]["items"];
    std::vector<std::string> layers;
    for (const auto layer : layer_names()) layers.emplace_back(layer);
    CHECK(words["enum"].get<std::vector<std::string>>() == layers);
}

TEST_CASE("the manual speaks of every key and its example loads", "[dsl]") {
    std::ifstream in(std::filesystem::path(VOLARY_SOURCE_ROOT) / "docs/dsl.md");
    std::ostringstream text;
    text << in.rdbuf();
    const auto manual = text.str();
    std::set<const Type*> seen;
    each_object(project_type(), seen, [&](const Type& type) {
        for (const auto& key : type.keys) {
            INFO(type.name << "." << key.name);
            CHECK(manual.find(fmt::format("`{}`", key.name)) != std::string::npos);
        }
    });
    CHECK(manual.find(std::string(kStory)) != std::string::npos);
}

}  // namespace
}  // namespace volary::dsl
