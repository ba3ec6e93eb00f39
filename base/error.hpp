// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace volary {

/// What a caller can do about a failure; the HTTP status, the exit code and the log level follow
/// from it.
enum class Errc {
    invalid,      ///< the request is wrong: mend it
    not_found,    ///< no such thing, or not yours to see
    conflict,     ///< somebody else was first, or the state does not allow it
    denied,       ///< not allowed
    too_large,    ///< beyond a stated limit
    busy,         ///< try again later
    timeout,      ///< a deadline passed
    io,           ///< the operating system said no
    unavailable,  ///< a part that is needed is not there
    internal      ///< our bug
};

/// The only exception type this program throws on purpose.
///
/// `message` says what failed in the vocabulary of the throwing layer. Each layer that knows
/// more adds one line with add_context() and rethrows, so a log line reads outermost first.
class Error : public std::exception {
public:
    Error(Errc code, std::string message);

    Errc code() const noexcept { return code_; }
    const std::string& message() const noexcept { return message_; }
    /// "outer context: inner context: message".
    const char* what() const noexcept override { return what_.c_str(); }

    /// Prepends what the catching layer was doing, e.g. "starting agent scraper".
    Error& add_context(std::string_view doing);

    /// One line per problem, for errors that carry several (validation); may be empty.
    const std::vector<std::string>& details() const noexcept { return details_; }
    Error& with_details(std::vector<std::string> details);

private:
    Errc code_;
    std::string message_;
    std::string what_;
    std::vector<std::string> details_;
};

/// Throws Error{io} naming the call and its subject, e.g. "open "/etc/x": Permission denied".
/// Reads errno first, so it must be the next call after the one that failed.
[[noreturn]] void throw_errno(std::string_view call, std::string_view subject = {});

/// The word that the API and `--json` output use for a code, e.g. "not_found".
std::string_view to_string(Errc code) noexcept;

/// RFC 9110 status for a code.
int http_status(Errc code) noexcept;

/// Process exit code: 1 failed, 2 usage, 3 not found, 4 refused (design.md, section 12).
int exit_code(Errc code) noexcept;

/// Human text of an exception_ptr, for the boundaries that log or answer.
std::string describe(const std::exception_ptr& error);

}  // namespace volary
