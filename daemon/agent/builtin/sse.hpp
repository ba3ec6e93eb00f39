// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace volary::builtin {

struct SseEvent {
    std::string name;  ///< empty: "message"
    std::string data;
};

/// Cuts a byte stream into Server-Sent Events
/// (https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6), as tolerant
/// as that text asks: any line end, comments, unknown fields. An event at the very end that lacks
/// its empty line is dropped, as that text says.
class SseParser {
public:
    /// A tool input or an embedded file can be tens of megabytes in one event.
    static constexpr std::size_t kMaxEvent = std::size_t{64} << 20U;

    explicit SseParser(std::size_t max_event = kMaxEvent) : max_event_(max_event) {}

    /// The events that `bytes` completes. Throws Error{too_large} beyond the limit.
    std::vector<SseEvent> feed(std::string_view bytes);

private:
    void line(std::string_view text);

    std::size_t max_event_;
    std::string line_;
    SseEvent event_;
    bool has_data_ = false;
    bool after_cr_ = false;
    bool at_start_ = true;
    std::vector<SseEvent> out_;
};

}  // namespace volary::builtin
