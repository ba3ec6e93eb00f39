// SPDX-License-Identifier: Apache-2.0
//
// A model provider's answer: cut into events whole and in two pieces, which must give the same, and
// put together into a message.
#include "base/error.hpp"
#include "daemon/agent/builtin/message_stream.hpp"
#include "daemon/agent/builtin/sse.hpp"

#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

using namespace volary;

namespace {

constexpr std::size_t kLargestEvent = 1024;

/// False when an event was too large.
bool cut_events(std::string_view input, std::size_t cut, std::vector<builtin::SseEvent>& events) {
    builtin::SseParser parser(kLargestEvent);
    try {
        for (const auto piece : {input.substr(0, cut), input.substr(cut)})
            for (auto& event : parser.feed(piece)) events.push_back(std::move(event));
    } catch (const Error&) {
        return false;
    }
    return true;
}

bool same(const std::vector<builtin::SseEvent>& a, const std::vector<builtin::SseEvent>& b) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (a[i].name != b[i].name || a[i].data != b[i].data) return false;
    return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) return 0;
    const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
    std::vector<builtin::SseEvent> events;
    std::vector<builtin::SseEvent> again;
    const bool whole = cut_events(input, 0, events);
    const bool pieces = cut_events(input, data[0] * input.size() / 256, again);
    if (whole != pieces || (whole && !same(events, again))) std::abort();
    builtin::MessageStream stream;
    try {
        for (const auto& event : events) (void)stream.feed(event);
        const auto answer = stream.finish();
        if (!answer.content || !answer.content->is_array()) std::abort();
    } catch (const Error&) {
        return 0;
    }
    return 0;
}
