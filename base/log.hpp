// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace volary::log {

/// error = we broke a promise; warning = a peer or the environment did; info = life cycle;
/// debug = free.
enum class Level { debug, info, warning, error };

/// One `key=value` of a log line. Identity first: session, run, cage.
struct Field {
    std::string_view key;
    std::string value;
};

/// Writes one line to standard error: human when it is a terminal, JSON otherwise.
/// One write(2) a line, so lines of several processes do not mix.
void write(Level level, std::string_view message, std::initializer_list<Field> fields = {});

inline void debug(std::string_view message, std::initializer_list<Field> fields = {}) {
    write(Level::debug, message, fields);
}
inline void info(std::string_view message, std::initializer_list<Field> fields = {}) {
    write(Level::info, message, fields);
}
inline void warning(std::string_view message, std::initializer_list<Field> fields = {}) {
    write(Level::warning, message, fields);
}
inline void error(std::string_view message, std::initializer_list<Field> fields = {}) {
    write(Level::error, message, fields);
}

/// Lines below this level are dropped; info at start.
void set_level(Level level) noexcept;

/// How a line is rendered; `auto_detect` asks whether standard error is a terminal.
enum class Format { auto_detect, human, json };
void set_format(Format format) noexcept;

/// The line without its newline, as write() would send it (for tests).
std::string render(
    Level level, std::string_view message, std::initializer_list<Field> fields, Format format,
    std::string_view time
);

}  // namespace volary::log
