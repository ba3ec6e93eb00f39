// SPDX-License-Identifier: Apache-2.0
#include "dsl/grammar.hpp"
#include "dsl/load.hpp"

#include <nlohmann/json.hpp>

namespace volary::dsl {
namespace {

using Ordered = nlohmann::ordered_json;

/// Walks the table once; named types become definitions, so that the recursion of agents ends.
class SchemaWriter {
public:
    Ordered write(const Type& type);
    Ordered definitions() { return std::move(definitions_); }

private:
    Ordered body(const Type& type);
    Ordered scalar(const Type& type);
    Ordered object(const Type& type);
    Ordered map(const Type& type);

    Ordered definitions_ = Ordered::object();
};

Ordered SchemaWriter::write(const Type& type) {
    if (type.name.empty()) return body(type);
    const std::string name(type.name);
    if (!definitions_.contains(name)) {
        definitions_[name] = nullptr;  // Taken: a type below may be this one.
        auto made = body(type);
        definitions_[name] = std::move(made);
    }
    return {{"$ref", "#/$defs/" + name}};
}

Ordered SchemaWriter::body(const Type& type) {
    switch (type.kind) {
        case Type::Kind::scalar:
            return scalar(type);
        case Type::Kind::object:
            return object(type);
        case Type::Kind::map:
            return map(type);
        case Type::Kind::list: {
            Ordered out{
                {"type", "array"}, {"items", write(*type.item)}, {"maxItems", type.max_items}
            };
            if (type.min_items > 0) out["minItems"] = type.min_items;
            return out;
        }
        case Type::Kind::either: {
            Ordered choices = Ordered::array();
            for (const auto* each : type.alternatives) choices.push_back(write(*each));
            return {{"anyOf", std::move(choices)}};
        }
        case Type::Kind::later:
            break;
    }
    // Known by name, refused: an empty "not" accepts nothing.
    return {{"not", Ordered::object()}};
}

Ordered SchemaWriter::scalar(const Type& type) {
    Ordered out = Ordered::object();
    if (!type.words.empty()) {
        out["enum"] = type.words;
        return out;
    }
    Ordered types = Ordered::array();
    if (type.accepts_text) types.push_back("string");
    if (type.accepts_number) {
        types.push_back("number");
    } else if (type.accepts_integer) {
        types.push_back("integer");
    }
    if (type.accepts_boolean) types.push_back("boolean");
    if (type.accepts_null) types.push_back("null");
    out["type"] = types.size() == 1 ? types.front() : types;
    if (!type.pattern.empty()) out["pattern"] = type.pattern;
    if (type.max_length != 0) out["maxLength"] = type.max_length;
    if (type.accepts_integer || type.accepts_number) {
        out["minimum"] = type.min;
        out["maximum"] = type.max;
    }
    return out;
}

Ordered SchemaWriter::object(const Type& type) {
    Ordered properties = Ordered::object();
    Ordered required = Ordered::array();
    for (const auto& key : type.keys) {
        auto value = write(*key.type);
        const bool refused = key.type->kind == Type::Kind::later;
        if (type.null_removes && !refused) {
            value = {{"anyOf", {std::move(value), Ordered{{"type", "null"}}}}};
        }
        auto about = std::string(key.about);
        if (refused) about += " Not supported yet.";
        value["description"] = std::move(about);
        properties[std::string(key.name)] = std::move(value);
        if (key.need == Key::Need::required) required.push_back(key.name);
    }
    Ordered out{
        {"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}
    };
    if (!required.empty()) out["required"] = std::move(required);
    if (type.one_key) {
        out["minProperties"] = 1;
        out["maxProperties"] = 1;
    }
    return out;
}

Ordered SchemaWriter::map(const Type& type) {
    return {
        {"type", "object"},
        {"propertyNames", {{"pattern", type.key->pattern}}},
        {"additionalProperties", write(*type.item)},
        {"maxProperties", type.max_items}
    };
}

}  // namespace

std::string json_schema() {
    SchemaWriter writer;
    auto root = writer.write(project_type());
    Ordered out{
        {"$schema", "https://json-schema.org/draft/2020-12/schema"},
        {"title", "volary project file, version 1"},
        {"type", "object"}
    };
    out.update(root);
    out["$defs"] = writer.definitions();
    return out.dump(2) + "\n";
}

}  // namespace volary::dsl
