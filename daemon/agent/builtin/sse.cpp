// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/builtin/sse.hpp"

#include "base/error.hpp"

#include <utility>

#include <fmt/format.h>

namespace volary::builtin {

std::vector<SseEvent> SseParser::feed(std::string_view bytes) {
    while (!bytes.empty()) {
        if (std::exchange(after_cr_, false) && bytes.front() == '\n') {
            bytes.remove_prefix(1);
            continue;
        }
        const auto end = bytes.find_first_of("\r\n");
        line_.append(bytes.substr(0, end));
        if (line_.size() + event_.data.size() > max_event_)
            throw Error(
                Errc::too_large, fmt::format("an event of the stream passes {} bytes", max_event_)
            );
        if (end == std::string_view::npos) break;
        after_cr_ = bytes[end] == '\r';
        bytes.remove_prefix(end + 1);
        line(line_);
        line_.clear();
    }
    return std::exchange(out_, {});
}

void SseParser::line(std::string_view text) {
    constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
    if (std::exchange(at_start_, false) && text.starts_with(kByteOrderMark))
        text.remove_prefix(kByteOrderMark.size());
    if (text.empty()) {
        if (std::exchange(has_data_, false)) out_.push_back(std::move(event_));
        event_ = {};
        return;
    }
    const auto colon = text.find(':');
    const auto field = text.substr(0, colon);
    auto value = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (field == "event") event_.name = value;
    if (field != "data") return;
    if (has_data_) event_.data += '\n';
    event_.data += value;
    has_data_ = true;
}

}  // namespace volary::builtin
