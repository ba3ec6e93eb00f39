// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dsl/yaml.hpp"

#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace volary::dsl {

/// Bytes of a document that become others.
struct Change {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::string text;
};

/// What goes behind a new key, in both styles.
struct NewValue {
    std::string flow;                ///< on one line: "{ allow: [ \"a.com:443\" ] }"
    std::vector<std::string> lines;  ///< below the key, relative to it; empty: as `flow`
};

/// Finds where a text that parse_yaml() took has to be changed. Every error is one sentence.
class EditedText {
public:
    using Result = std::expected<Change, std::string>;

    explicit EditedText(std::string_view text);

    /// `entry` as one more item, in the list's own style. `entry` is flow.
    Result append_item(const Node& list, const std::string& entry) const;

    /// One more key; in a block map it comes before the key `before` if that is there.
    Result append_member(
        const Node& map, const std::string& key, const NewValue& value, std::string_view before
    ) const;

    /// Another text for a scalar or a flow collection.
    Result replace(const Node& node, std::string text) const;

    std::string apply(const Change& change) const;

    /// Indentation of one level, as far as `map` below `parent` tells.
    static std::string step(const Node& parent, const Node& map);

private:
    struct Last;
    Result append_flow(
        const Node& collection, const Last* last, const std::string& entry, std::string_view pad
    ) const;
    std::expected<std::size_t, std::string> last_line(const Node& node, std::size_t line) const;
    std::size_t line_of(std::size_t offset) const;
    std::size_t offset_of(const Mark& mark) const;
    std::size_t line_start(std::size_t line) const;
    std::size_t line_end(std::size_t line) const;
    Change insert_lines(std::size_t after, const std::vector<std::string>& lines) const;

    std::string_view text_;
    std::string_view newline_;
    std::vector<std::size_t> starts_;  // Of each line.
};

/// A scalar in flow style, quoted where it has to be.
std::string quote(std::string_view text);

/// Any value of a project file in flow style.
std::string to_flow(const Node& node);

/// Unified, 3 lines of context, one hunk; `name` follows "a/" and "b/".
std::string unified_diff(std::string_view before, std::string_view after, std::string_view name);

}  // namespace volary::dsl
