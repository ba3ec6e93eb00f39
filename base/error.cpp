// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

namespace volary {

Error::Error(Errc code, std::string message)
    : code_(code), message_(std::move(message)), what_(message_) {}

Error& Error::add_context(std::string_view doing) {
    what_ = std::string(doing) + ": " + what_;
    return *this;
}

Error& Error::with_details(std::vector<std::string> details) {
    details_ = std::move(details);
    return *this;
}

void throw_errno(std::string_view call, std::string_view subject) {
    const int saved = errno;
    std::string text(call);
    if (!subject.empty()) text.append(" \"").append(subject).append("\"");
    throw Error(Errc::io, text + ": " + std::strerror(saved));
}

std::string_view to_string(Errc code) noexcept {
    switch (code) {
        case Errc::invalid:
            return "invalid";
        case Errc::not_found:
            return "not_found";
        case Errc::conflict:
            return "conflict";
        case Errc::denied:
            return "denied";
        case Errc::too_large:
            return "too_large";
        case Errc::busy:
            return "busy";
        case Errc::timeout:
            return "timeout";
        case Errc::io:
            return "io";
        case Errc::unavailable:
            return "unavailable";
        case Errc::internal:
            return "internal";
    }
    return "internal";
}

int http_status(Errc code) noexcept {
    switch (code) {
        case Errc::invalid:
            return 400;
        case Errc::not_found:
            return 404;
        case Errc::conflict:
            return 409;
        case Errc::denied:
            return 403;
        case Errc::too_large:
            return 413;
        case Errc::busy:
            return 429;
        case Errc::timeout:
            return 504;
        case Errc::unavailable:
            return 503;
        case Errc::io:
        case Errc::internal:
            return 500;
    }
    return 500;
}

int exit_code(Errc code) noexcept {
    switch (code) {
        case Errc::invalid:
        case Errc::too_large:
            return 2;
        case Errc::not_found:
            return 3;
        case Errc::conflict:
        case Errc::denied:
            return 4;
        default:
            return 1;
    }
}

std::string describe(const std::exception_ptr& error) {
    if (!error) return "no error";
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& e) {
        return e.what();
    } catch (...) {
        return "unknown error";
    }
}

}  // namespace volary
