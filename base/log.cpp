// SPDX-License-Identifier: Apache-2.0
#include "base/log.hpp"

#include "base/clock.hpp"
#include "base/json_text.hpp"

#include <unistd.h>

namespace volary::log {
namespace {

// Set once at start, before any other thread exists.
Level threshold = Level::info;
Format chosen = Format::auto_detect;

std::string_view name(Level level) {
    switch (level) {
        case Level::debug:
            return "debug";
        case Level::info:
            return "info";
        case Level::warning:
            return "warning";
        case Level::error:
            return "error";
    }
    return "error";
}

bool is_plain(std::string_view value) {
    constexpr std::string_view special = " \"=\\";
    for (const char c : value) {
        if (static_cast<unsigned char>(c) < 0x20 || special.find(c) != std::string_view::npos)
            return false;
    }
    return !value.empty();
}

}  // namespace

void set_level(Level level) noexcept { threshold = level; }
void set_format(Format format) noexcept { chosen = format; }

std::string render(
    Level level, std::string_view message, std::initializer_list<Field> fields, Format format,
    std::string_view time
) {
    std::string line;
    if (format == Format::json) {
        line.append("{\"at\":").append(json_quote(time));
        line.append(",\"level\":").append(json_quote(name(level)));
        for (const auto& field : fields) {
            line.append(",").append(json_quote(field.key));
            line.append(":").append(json_quote(field.value));
        }
        return line.append(",\"message\":").append(json_quote(message)).append("}");
    }
    line.append(time).append(" ").append(name(level)).append(" ").append(message);
    for (const auto& field : fields) {
        line.append(" ").append(field.key).append("=");
        line.append(is_plain(field.value) ? field.value : json_quote(field.value));
    }
    return line;
}

void write(Level level, std::string_view message, std::initializer_list<Field> fields) {
    if (level < threshold) return;
    auto format = chosen;
    if (format == Format::auto_detect)
        format = ::isatty(STDERR_FILENO) != 0 ? Format::human : Format::json;
    auto line = render(level, message, fields, format, format_rfc3339(SystemClock().now_ms()));
    line.push_back('\n');
    // A log that cannot be written must not stop what it reports on.
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace volary::log
