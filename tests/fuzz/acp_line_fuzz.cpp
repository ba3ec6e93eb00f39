// SPDX-License-Identifier: Apache-2.0
//
// What an agent prints on stdout: cut into lines, judged, and read as every shape that a peer may
// send. However the bytes were cut, the same lines must come out, and no text but an Error.
#include "base/error.hpp"
#include "daemon/acp/message.hpp"
#include "daemon/acp/types.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

using namespace volary;

namespace {

constexpr std::size_t kLongestLine = 512;
constexpr JsonLimits kLimits{kLongestLine, 16};

std::vector<std::string> lines_of(std::string_view input, std::size_t cut) {
    acp::LineBuffer buffer(kLongestLine);
    std::vector<std::string> lines;
    for (const auto piece : {input.substr(0, cut), input.substr(cut)}) {
        buffer.feed(piece);
        while (auto line = buffer.next()) lines.push_back(std::move(*line));
    }
    // How much came out before a line was too long depends on the pieces.
    if (buffer.overflowed()) lines.clear();
    return lines;
}

template <class Parse>
void read(Parse parse, const Json& body) {
    try {
        (void)parse(body);
    } catch (const Error&) {
        return;
    }
}

void read_as_everything(const Json& body) {
    read(acp::parse_initialize_result, body);
    read(acp::parse_session_ref, body);
    read(acp::parse_prompt_result, body);
    read(acp::parse_update, body);
    read(acp::parse_step, body);
    read(acp::parse_step_end, body);
    read(acp::parse_step_decision, body);
    read(acp::parse_permission_request, body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) return 0;
    const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
    const auto lines = lines_of(input, 0);
    const auto again = lines_of(input, data[0] * input.size() / 256);
    if (!lines.empty() && !again.empty() && lines != again) std::abort();
    for (const auto& line : lines) {
        const auto message = acp::parse_message(line, kLimits);
        using Kind = acp::Message::Kind;
        const bool has_body = message.kind == Kind::request || message.kind == Kind::result ||
                              message.kind == Kind::notification;
        if (has_body != (message.body != nullptr)) std::abort();
        if (has_body) read_as_everything(*message.body);
    }
    return 0;
}
