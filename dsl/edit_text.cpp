// SPDX-License-Identifier: Apache-2.0
#include "dsl/edit_text.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace volary::dsl {
namespace {

std::unexpected<std::string> unsafe(std::size_t line, std::string_view why) {
    return std::unexpected(fmt::format("line {} cannot be edited safely: {}", line + 1, why));
}

bool is_blank(std::string_view text) {
    return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

/// True when a comma stands in `text`, what is behind "#" left out.
bool has_comma(std::string_view text) {
    bool comment = false;
    for (const char c : text) {
        if (c == '#') comment = true;
        if (c == '\n') comment = false;
        if (c == ',' && !comment) return true;
    }
    return false;
}

bool is_plain(std::string_view text) {
    // Less than YAML would take without quotes, and never what it would take for a number or null.
    if (text.starts_with("project:/") || text.starts_with("config:/"))
        text.remove_prefix(text.find('/') + 1);
    else if (text.empty() || !((text[0] >= 'a' && text[0] <= 'z') || text[0] == '/'))
        return false;
    if (text == "null" || text == "true" || text == "false") return false;
    return std::ranges::all_of(text, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-' || c == '.' || c == '/';
    });
}

}  // namespace

/// The last child of a flow collection.
struct EditedText::Last {
    std::size_t begin;
    std::size_t end;
};

EditedText::EditedText(std::string_view text) : text_(text) {
    starts_.push_back(0);
    for (std::size_t i = 0; i < text.size(); ++i)
        if (text[i] == '\n') starts_.push_back(i + 1);
    const bool dos = starts_.size() > 1 && starts_[1] >= 2 && text[starts_[1] - 2] == '\r';
    newline_ = dos ? "\r\n" : "\n";
}

std::size_t EditedText::line_of(std::size_t offset) const {
    const auto after = std::ranges::upper_bound(starts_, offset);
    return static_cast<std::size_t>(after - starts_.begin()) - 1;
}

std::size_t EditedText::line_start(std::size_t line) const { return starts_[line]; }

/// Behind the last character, before the line break.
std::size_t EditedText::line_end(std::size_t line) const {
    if (line + 1 == starts_.size()) return text_.size();
    const auto next = starts_[line + 1];
    return next >= 2 && text_[next - 2] == '\r' ? next - 2 : next - 1;
}

std::size_t EditedText::offset_of(const Mark& mark) const {
    auto at = line_start(static_cast<std::size_t>(mark.line) - 1);
    for (int column = 1; column < mark.column && at < text_.size(); ++column) {
        ++at;
        while (at < text_.size() && (static_cast<unsigned char>(text_[at]) & 0xC0U) == 0x80U) ++at;
    }
    return at;
}

/// Where `node` ends; `line` is that of its key or dash.
std::expected<std::size_t, std::string> EditedText::last_line(const Node& node, std::size_t line)
    const {
    if (node.style == Node::Style::lines) return unsafe(line, "it holds a block of text");
    if (node.style != Node::Style::block) return node.end == 0 ? line : line_of(node.end - 1);
    if (!node.items.empty()) {
        const auto& item = node.items.back();
        return last_line(item, static_cast<std::size_t>(item.mark.line) - 1);
    }
    if (node.members.empty()) return line;
    const auto& member = node.members.back();
    return last_line(member.value, static_cast<std::size_t>(member.mark.line) - 1);
}

Change EditedText::insert_lines(std::size_t after, const std::vector<std::string>& lines) const {
    Change change;
    change.begin = change.end = line_end(after);
    for (const auto& line : lines) change.text += fmt::format("{}{}", newline_, line);
    return change;
}

EditedText::Result EditedText::append_flow(
    const Node& collection, const Last* last, const std::string& entry, std::string_view pad
) const {
    const auto first_line = line_of(collection.begin);
    if (collection.end < collection.begin + 2) return unsafe(first_line, "its end is not known");
    const auto inside = collection.begin + 1;
    const auto close = collection.end - 1;
    if (last == nullptr) {
        if (!is_blank(text_.substr(inside, close - inside)))
            return unsafe(first_line, "an empty collection holds a comment");
        return Change{inside, close, fmt::format("{}{}{}", pad, entry, pad)};
    }
    if (last->end <= last->begin || last->end > close)
        return unsafe(first_line, "its last value is empty");
    const auto line = line_of(last->begin);
    const auto start = line_start(line);
    const auto indent = text_.substr(start, last->begin - start);
    const bool own_line = line != first_line && is_blank(indent);
    if (!own_line) return Change{last->end, last->end, ", " + entry};
    // One value a line, the comment behind the last one stays with it.
    const auto tail = text_.substr(last->end, close - last->end);
    const auto comma = has_comma(tail);
    const auto end = line_end(line_of(last->end - 1));
    if (close < end) {
        if (comma) return unsafe(line, "a comma stands before its end");
        return Change{last->end, last->end, fmt::format(",{}{}{}", newline_, indent, entry)};
    }
    const auto rest = text_.substr(last->end, end - last->end);
    return Change{
        last->end, end,
        fmt::format(
            "{}{}{}{}{}{}", comma ? "" : ",", rest, newline_, indent, entry, comma ? "," : ""
        )
    };
}

EditedText::Result EditedText::append_item(const Node& list, const std::string& entry) const {
    if (list.style == Node::Style::flow) {
        const bool empty = list.items.empty();
        const Last last = empty ? Last{} : Last{list.items.back().begin, list.items.back().end};
        return append_flow(list, empty ? nullptr : &last, entry, "");
    }
    const auto line = static_cast<std::size_t>(list.mark.line) - 1;
    if (list.items.empty()) return unsafe(line, "the list is empty");
    const auto& item = list.items.back();
    const auto item_line = static_cast<std::size_t>(item.mark.line) - 1;
    const auto start = line_start(item_line);
    const auto dash = text_.find_first_not_of(' ', start);
    if (dash == text_.npos || text_[dash] != '-' || dash + 1 >= offset_of(item.mark) ||
        !is_blank(text_.substr(dash + 1, offset_of(item.mark) - dash - 1)))
        return unsafe(item_line, "the item does not stand behind its dash");
    const auto end = last_line(item, item_line);
    if (!end) return std::unexpected(end.error());
    const auto indent = text_.substr(start, dash - start);
    return insert_lines(*end, {fmt::format("{}- {}", indent, entry)});
}

EditedText::Result EditedText::append_member(
    const Node& map, const std::string& key, const NewValue& value, std::string_view before
) const {
    const auto entry = fmt::format("{}: {}", key, value.flow);
    const auto line = static_cast<std::size_t>(map.mark.line) - 1;
    if (map.style == Node::Style::flow) {
        if (map.members.empty()) return append_flow(map, nullptr, entry, " ");
        const auto& member = map.members.back();
        const Last last{offset_of(member.mark), member.value.end};
        return append_flow(map, &last, entry, " ");
    }
    if (map.members.empty()) return unsafe(line, "the map is empty");
    auto next = std::ranges::find(map.members, before, &Member::key);
    if (next == map.members.begin()) next = map.members.end();
    const auto& member = *std::prev(next);
    const auto end = last_line(member.value, static_cast<std::size_t>(member.mark.line) - 1);
    if (!end) return std::unexpected(end.error());
    const std::string indent(static_cast<std::size_t>(member.mark.column) - 1, ' ');
    if (value.lines.empty()) return insert_lines(*end, {indent + entry});
    std::vector<std::string> lines{fmt::format("{}{}:", indent, key)};
    for (const auto& each : value.lines) lines.push_back(indent + each);
    return insert_lines(*end, lines);
}

EditedText::Result EditedText::replace(const Node& node, std::string text) const {
    const bool fine = node.style != Node::Style::block && node.style != Node::Style::lines;
    if (!fine || node.end <= node.begin)
        return unsafe(static_cast<std::size_t>(node.mark.line) - 1, "it is no single value");
    return Change{node.begin, node.end, std::move(text)};
}

std::string EditedText::apply(const Change& change) const {
    std::string out(text_.substr(0, change.begin));
    out += change.text;
    out += text_.substr(change.end);
    return out;
}

std::string EditedText::step(const Node& parent, const Node& map) {
    constexpr int kUsual = 2;
    int columns = kUsual;
    if (!parent.members.empty() && !map.members.empty()) {
        const auto found = map.members.front().mark.column - parent.members.front().mark.column;
        if (map.style == Node::Style::block && found > 0 && found <= 8) columns = found;
    }
    return std::string(static_cast<std::size_t>(columns), ' ');
}

std::string quote(std::string_view text) {
    if (is_plain(text)) return std::string(text);
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
            out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        else
            out += c;
    }
    return out + '"';
}

std::string to_flow(const Node& node) {
    std::string out;
    switch (node.kind) {
        case Node::Kind::sequence:
            for (const auto& item : node.items) out += (out.empty() ? "[" : ", ") + to_flow(item);
            return out.empty() ? "[]" : out + "]";
        case Node::Kind::mapping:
            for (const auto& member : node.members)
                out += fmt::format(
                    "{}{}: {}", out.empty() ? "{ " : ", ", quote(member.key), to_flow(member.value)
                );
            return out.empty() ? "{}" : out + " }";
        case Node::Kind::text:
            return quote(node.text);
        default:
            return node.text.empty() ? "null" : node.text;
    }
}

namespace {

std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> out;
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size() - 1) + 1;
        out.push_back(text.substr(0, end));
        text.remove_prefix(end);
    }
    return out;
}

void add_line(std::string& out, char sign, std::string_view line) {
    out += sign;
    out += line;
    if (!line.ends_with('\n')) out += "\n\\ No newline at end of file\n";
}

/// "3,7" or "3": the first line and how many.
std::string range(std::size_t first, std::size_t count) {
    // Of no line at all the format names the one before.
    const auto start = count == 0 ? first : first + 1;
    return count == 1 ? fmt::format("{}", start) : fmt::format("{},{}", start, count);
}

}  // namespace

std::string unified_diff(std::string_view before, std::string_view after, std::string_view name) {
    constexpr std::size_t kContext = 3;
    const auto a = lines_of(before);
    const auto b = lines_of(after);
    std::size_t head = 0;
    while (head < a.size() && head < b.size() && a[head] == b[head]) ++head;
    std::size_t tail = 0;
    while (tail < a.size() - head && tail < b.size() - head &&
           a[a.size() - 1 - tail] == b[b.size() - 1 - tail])
        ++tail;
    if (head == a.size() && head == b.size()) return {};
    const auto from = head - std::min(head, kContext);
    const auto rest = std::min(tail, kContext);
    const auto a_end = a.size() - tail;
    const auto b_end = b.size() - tail;
    auto out = fmt::format(
        "--- a/{}\n+++ b/{}\n@@ -{} +{} @@\n", name, name, range(from, a_end + rest - from),
        range(from, b_end + rest - from)
    );
    for (auto i = from; i < head; ++i) add_line(out, ' ', a[i]);
    for (auto i = head; i < a_end; ++i) add_line(out, '-', a[i]);
    for (auto i = head; i < b_end; ++i) add_line(out, '+', b[i]);
    for (auto i = a_end; i < a_end + rest; ++i) add_line(out, ' ', a[i]);
    return out;
}

}  // namespace volary::dsl
