// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace volary::http {

/// The header fields of one message in order of arrival; names compare without case.
///
/// All text lies in one buffer that clear() keeps, so a connection that answers many requests
/// allocates for the first one only. Views that it gives are valid until the next change.
class Headers {
public:
    struct Field {
        std::string_view name;
        std::string_view value;
    };

    Headers() = default;
    Headers(std::initializer_list<std::pair<std::string_view, std::string_view>> fields);

    /// Appends a field. Throws Error{invalid} when the name is not a token (RFC 9110, 5.6.2) or
    /// the value has a control character other than tab: nobody can smuggle a line into a message.
    void add(std::string_view name, std::string_view value);

    /// Replaces every field of that name by one.
    void set(std::string_view name, std::string_view value);

    void remove(std::string_view name);

    /// The value of the first field of that name.
    std::optional<std::string_view> find(std::string_view name) const;

    /// How many fields have that name (more than one Host, for example, is an attack).
    std::size_t count(std::string_view name) const;

    std::size_t size() const noexcept { return fields_.size(); }
    Field operator[](std::size_t index) const;
    void clear() noexcept;

private:
    struct Span {
        std::uint32_t start;
        std::uint32_t name_length;
        std::uint32_t value_length;
    };
    std::string text_;
    std::vector<Span> fields_;
};

/// ASCII comparison without case, as field names and tokens need it (no locale).
bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

/// True when the comma-separated list `value` has `token` (without case), e.g. Connection: a, b.
bool has_token(std::string_view value, std::string_view token) noexcept;

}  // namespace volary::http
