// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/headers.hpp"

#include "base/error.hpp"

#include <algorithm>

namespace volary::http {
namespace {

char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

bool is_token_char(char c) noexcept {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
    constexpr std::string_view others = "!#$%&'*+-.^_`|~";
    return others.find(c) != std::string_view::npos;
}

bool is_value_char(char c) noexcept {
    const auto value = static_cast<unsigned char>(c);
    return c == '\t' || (value >= 0x20 && value != 0x7f);
}

std::string_view trim(std::string_view text) noexcept {
    const auto start = text.find_first_not_of(" \t");
    if (start == std::string_view::npos) return {};
    return text.substr(start, text.find_last_not_of(" \t") - start + 1);
}

}  // namespace

Headers::Headers(std::initializer_list<std::pair<std::string_view, std::string_view>> fields) {
    for (const auto& [name, value] : fields) add(name, value);
}

void Headers::add(std::string_view name, std::string_view value) {
    if (name.empty() || !std::all_of(name.begin(), name.end(), is_token_char))
        throw Error(Errc::invalid, "malformed header name");
    if (!std::all_of(value.begin(), value.end(), is_value_char))
        throw Error(Errc::invalid, "control character in header \"" + std::string(name) + "\"");
    const auto start = static_cast<std::uint32_t>(text_.size());
    text_.append(name).append(value);
    fields_.push_back(
        {start, static_cast<std::uint32_t>(name.size()), static_cast<std::uint32_t>(value.size())}
    );
}

void Headers::set(std::string_view name, std::string_view value) {
    remove(name);
    add(name, value);
}

void Headers::remove(std::string_view name) {
    std::erase_if(fields_, [&](const Span& span) {
        return equal_ignoring_case(
            std::string_view(text_).substr(span.start, span.name_length), name
        );
    });
}

std::optional<std::string_view> Headers::find(std::string_view name) const {
    for (std::size_t i = 0; i < fields_.size(); ++i) {
        const auto field = (*this)[i];
        if (equal_ignoring_case(field.name, name)) return field.value;
    }
    return std::nullopt;
}

std::size_t Headers::count(std::string_view name) const {
    std::size_t found = 0;
    for (std::size_t i = 0; i < fields_.size(); ++i) {
        if (equal_ignoring_case((*this)[i].name, name)) ++found;
    }
    return found;
}

Headers::Field Headers::operator[](std::size_t index) const {
    const auto& span = fields_[index];
    const std::string_view text = text_;
    return {
        text.substr(span.start, span.name_length),
        text.substr(span.start + span.name_length, span.value_length)
    };
}

void Headers::clear() noexcept {
    text_.clear();
    fields_.clear();
}

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (lower(a[i]) != lower(b[i])) return false;
    }
    return true;
}

bool has_token(std::string_view value, std::string_view token) noexcept {
    while (true) {
        const auto comma = value.find(',');
        if (equal_ignoring_case(trim(value.substr(0, comma)), token)) return true;
        if (comma == std::string_view::npos) return false;
        value.remove_prefix(comma + 1);
    }
}

}  // namespace volary::http
