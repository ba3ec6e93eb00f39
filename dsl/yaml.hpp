// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace volary::dsl {

/// Where a node stands. `file` is an index into the caller's list of files.
struct Mark {
    int file = 0;
    int line = 1;    ///< from 1
    int column = 1;  ///< from 1, in characters
    auto operator<=>(const Mark&) const = default;
};

struct Member;

/// One node of a YAML document, typed by the core schema of YAML 1.2 (section 10.3.2): `yes`, `on`
/// and `0777` are text, text and a number.
struct Node {
    enum class Kind {
        invalid,  ///< something refused stood here and has been told; nothing more is said of it
        null,
        boolean,
        integer,
        number,
        text,
        sequence,
        mapping
    };
    Kind kind = Kind::null;
    Mark mark;
    /// The scalar as written, escapes resolved; empty for collections.
    std::string text;
    std::vector<Node> items;      ///< of a sequence
    std::vector<Member> members;  ///< of a mapping, keys are unique, in file order
    bool boolean = false;
    double number = 0;  ///< of an integer or a number
    /// How it is written.
    enum class Style : std::uint8_t {
        plain,
        quoted,
        lines,  ///< "|" or ">"
        flow,   ///< [a] or {a: b}
        block
    };
    Style style = Style::plain;
    /// Bytes of the document from its first character up to behind its last one. 0 and 0 for an
    /// empty value and for a block collection: those are where their children are.
    std::size_t begin = 0;
    std::size_t end = 0;

    /// The member's value, or null. The pointer lives until the mapping changes.
    const Node* find(std::string_view key) const;
    Node* find(std::string_view key);
    bool is(Kind wanted) const noexcept { return kind == wanted; }
};

struct Member {
    std::string key;
    Mark mark;  ///< of the key
    Node value;
};

/// "nothing", "true or false", "a whole number", "a number", "text", "a list", "a map".
std::string_view describe(Node::Kind kind) noexcept;

struct YamlProblem {
    Mark mark;
    std::string message;
    std::string hint;
};

/// Bounds on a document: together they keep the costliest text that passes below 100 ms and 50 MB.
inline constexpr std::size_t kMaxYamlBytes = std::size_t{1} << 20U;  ///< a large project: 40 KiB
/// A real file of 1 MiB has some 35,000 lines.
inline constexpr std::size_t kMaxYamlLines = 40'000;
/// The parser looks for a ":" up to the end of a line and keeps what it has read until then.
inline constexpr std::size_t kMaxYamlLineBytes = 8192;
inline constexpr std::size_t kMaxYamlNodes = 20'000;  ///< 400 agents of 50 values each
inline constexpr std::size_t kMaxYamlDepth = 48;      ///< 16 agents take 2 levels each, a rule 6
inline constexpr std::size_t kMaxYamlProblems = 100;  ///< nobody reads more at once

struct YamlResult {
    Node root;
    std::vector<YamlProblem> problems;
    /// False when parsing stopped early, so that what is missing says nothing about the file.
    bool complete = false;
};

/// Parses one document. Refuses anchors, aliases, tags, duplicate and non-text keys, a second
/// document, NUL, malformed UTF-8, and what is larger or deeper than the bounds above.
/// `file` goes into every mark. Never throws for what `text` says.
YamlResult parse_yaml(std::string_view text, int file);

}  // namespace volary::dsl
