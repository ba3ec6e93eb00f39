// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dsl/yaml.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace volary::dsl {

/// The one table of the project file: validation (validate.hpp), the JSON Schema (schema.cpp) and
/// the test of docs/dsl.md walk it. A key that is not here does not exist.

/// What is wrong with a scalar that has the right type.
struct ScalarProblem {
    std::string message;
    std::string hint;
};
using ScalarCheck = std::optional<ScalarProblem> (*)(const Node& node);

struct Key;

struct Type {
    enum class Kind {
        scalar,
        object,  ///< a map whose keys are known
        map,     ///< a map whose keys are names that the operator chooses
        list,
        either,  ///< alternatives told apart by the kind of node
        later    ///< known, not built yet: refused by name
    };
    Kind kind = Kind::scalar;
    /// Name of the definition in the schema; empty: written out in place.
    std::string_view name;
    /// Completes "expected ...", e.g. "a size such as 512M".
    std::string_view expected;

    // Scalars.
    bool accepts_text = false;
    bool accepts_integer = false;
    bool accepts_number = false;
    bool accepts_boolean = false;
    bool accepts_null = false;
    std::string_view pattern = {};  ///< ECMA regular expression over text, for the schema
    std::span<const std::string_view> words = {};        ///< the only texts allowed
    std::span<const std::string_view> later_words = {};  ///< known, not built yet
    double min = 0;                                      ///< of numbers
    double max = 0;
    std::size_t max_length = 0;  ///< of text, in characters; 0: by the pattern
    ScalarCheck check = nullptr;

    // Collections.
    std::span<const Key> keys = {};  ///< of an object
    /// Exactly one key of the object must be there.
    bool one_key = false;
    /// A null value stands for an absent key, as in an overlay.
    bool null_removes = false;
    const Type* item = nullptr;  ///< of a list or a map
    const Type* key = nullptr;   ///< a map's keys: a text scalar
    std::size_t min_items = 0;
    std::size_t max_items = 0;
    std::span<const Type* const> alternatives = {};
};

struct Key {
    enum class Need { required, optional };
    std::string_view name;
    const Type* type;
    Need need;
    std::string_view about;  ///< one line for editors
};

const Type& project_type();
/// One `cage` mapping, for policy files.
const Type& cage_type();

inline constexpr std::size_t kMaxAgentDepth = 16;       ///< deeper trees are loops by mistake
inline constexpr std::size_t kMaxSubagents = 64;        ///< a level; a model cannot choose of more
inline constexpr std::size_t kMaxNetRules = 256;        ///< each is a socket in the cage
inline constexpr std::size_t kMaxFsRules = 64;          ///< each is a mount in the cage
inline constexpr std::size_t kMaxPorts = 16;            ///< a page shows them all
inline constexpr std::size_t kMaxDevices = 32;          ///< a graphics card has three
inline constexpr std::size_t kMaxCalls = 64;            ///< more is another profile
inline constexpr std::size_t kMaxInterconnect = 256;    ///< all are looked at for every signal
inline constexpr std::size_t kMaxDescription = 280;     ///< it goes into the parent's context
inline constexpr std::size_t kMaxPromptBytes = 262144;  ///< 64k tokens: a quarter of a context

}  // namespace volary::dsl
