// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace volary {

using Json = nlohmann::json;

/// Bounds on foreign JSON. The defaults suit a request body; a caller that needs more says so.
struct JsonLimits {
    std::size_t bytes = std::size_t{1} << 20U;  ///< a message with an attachment fits in 1 MiB
    int depth = 64;                             ///< deeper than any shape of ours, shallow enough
};

/// Parses foreign text without exceptions; the error is one sentence with the byte where it is.
/// Refuses what is larger, deeper or not UTF-8.
std::expected<Json, std::string> parse_json(std::string_view text, JsonLimits limits = {});

/// Reads the members of one foreign object and collects every problem instead of the first.
///
///     Fields fields(doc, "body");
///     auto text = fields.string("text");
///     auto session = fields.optional_string("session");
///     fields.done();   // throws Error{invalid} with all problems, unknown members included
class Fields {
public:
    /// `where` names the object in messages ("body", "body.limits"). `object` must outlive this.
    Fields(const Json& object, std::string where);

    std::string string(std::string_view key);
    std::optional<std::string> optional_string(std::string_view key);
    std::int64_t integer(std::string_view key);
    std::optional<std::int64_t> optional_integer(std::string_view key);
    std::optional<bool> optional_boolean(std::string_view key);
    /// The member itself, of any type; null when it is absent (which is a problem if required).
    const Json* value(std::string_view key);
    const Json* optional_value(std::string_view key);

    /// Adds a problem that the caller found, e.g. `problem("text", "must not be empty")`.
    void problem(std::string_view key, std::string_view what);

    const std::vector<std::string>& problems() const noexcept { return problems_; }

    /// Refuses members that nobody asked for, then throws Error{invalid} if there is a problem.
    void done();

private:
    const Json* find(std::string_view key);
    const Json* require(std::string_view key, std::string_view type);

    const Json& object_;
    std::string where_;
    std::vector<std::string> seen_;
    std::vector<std::string> problems_;
};

/// `doc.dump()` that never throws: malformed UTF-8 becomes U+FFFD.
std::string dump_json(const Json& doc);

/// `object[key]` if it is a string, else `fallback`: for shapes that we wrote ourselves.
std::string string_or(const Json& object, std::string_view key, std::string fallback = {});

}  // namespace volary
