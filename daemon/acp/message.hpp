// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/json.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace volary::acp {

/// Cuts a byte stream into lines without their newline; a trailing CR goes too.
class LineBuffer {
public:
    /// `limit`: bytes of the longest line that is taken.
    explicit LineBuffer(std::size_t limit) : limit_(limit) {}

    void feed(std::string_view bytes);

    /// The next whole line, or nothing. Empty lines are skipped.
    std::optional<std::string> next();

    /// Bytes fed so far up to the end of the line that next() gave last.
    std::uint64_t consumed() const noexcept { return erased_ + start_; }

    /// True once a line passed the limit; nothing more comes out then.
    bool overflowed() const noexcept { return overflowed_; }

private:
    std::size_t limit_;
    std::string bytes_;
    std::size_t start_ = 0;    // of the line that is being cut
    std::size_t scanned_ = 0;  // no newline before this
    std::uint64_t erased_ = 0;
    bool overflowed_ = false;
};

/// One line of a peer, judged.
struct Message {
    enum class Kind {
        request,       ///< `id`, `method`, `body` = params
        notification,  ///< `method`, `body` = params
        result,        ///< `id`, `body` = result
        error,         ///< `id`, `code`, `problem` = its message
        stray,         ///< no JSON-RPC at all: a log line
        invalid  ///< to be answered with an error: `code`, `problem`, `id` ("null" if unknown)
    };
    Kind kind = Kind::stray;
    std::string id;  ///< as JSON text, so that 1 and "1" differ
    std::string method;
    std::shared_ptr<Json> body;  ///< never null for request, notification and result
    int code = 0;
    std::string problem;
};

/// Judges one line by JSON-RPC 2.0. Text that is not JSON, and JSON that does not claim to be
/// JSON-RPC, is stray. Never throws on foreign bytes.
Message parse_message(std::string_view line, JsonLimits limits);

std::string request_line(std::int64_t id, std::string_view method, const Json& params);
std::string notification_line(std::string_view method, const Json& params);
/// `id` is JSON text as parse_message gave it.
std::string result_line(std::string_view id, const Json& result);
std::string error_line(std::string_view id, int code, std::string_view message);

}  // namespace volary::acp
