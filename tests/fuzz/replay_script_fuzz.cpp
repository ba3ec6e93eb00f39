// SPDX-License-Identifier: Apache-2.0
//
// A replay script and, after a NUL, the request of an agent: both are foreign. A script that is
// taken answers with whole frames or says why not.
#include "base/error.hpp"
#include "daemon/model/anthropic.hpp"
#include "daemon/model/replay.hpp"
#include "daemon/model/script.hpp"

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <nlohmann/json.hpp>

using namespace volary;

namespace {

constexpr std::string_view kPlainRequest =
    R"({"model":"smart","messages":[{"role":"user","content":"go"}]})";

void answer(const model::Script& script, std::string_view request) {
    const auto body = parse_json(request);
    if (!body) return;
    const auto transcript = model::read_transcript(*body);
    const auto& reply = model::choose_reply(script, transcript);
    if (reply.error) return;
    const auto made = model::make_answer(script, reply, transcript, "msg_1", "smart");
    const auto frames = model::anthropic::stream_frames(made);
    if (frames.empty()) std::abort();
    for (const auto& frame : frames)
        if (!frame.bytes.ends_with("\n\n")) std::abort();
    if (!parse_json(model::anthropic::message_json(made), {std::size_t{64} << 20U, 512}))
        std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const auto cut = input.find('\0');
    const auto request = cut == std::string_view::npos ? kPlainRequest : input.substr(cut + 1);
    try {
        answer(model::parse_script(input.substr(0, cut), "fuzz.json"), request);
    } catch (const Error&) {
        return 0;
    }
    return 0;
}
