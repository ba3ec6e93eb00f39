// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/judge.hpp"

#include <algorithm>
#include <cstdlib>

using namespace volary;
using namespace volary::cage;

namespace {

struct Outcome {
    std::size_t passed = 0;
    bool refused = false;
};

/// Plays `stream` to a judge in pieces of `step` bytes, as a relay would.
Outcome play(std::string_view stream, std::size_t step) {
    NetRule rule;
    rule.host = "shop.example";
    rule.port = 80;
    ClientJudge judge(expect(rule, rule.host));
    Outcome outcome;
    for (std::size_t end = 0; end < stream.size() && !outcome.refused;) {
        end = std::min(end + step, stream.size());
        for (;;) {
            const auto pending = stream.substr(outcome.passed, end - outcome.passed);
            const auto look = judge.look(pending);
            if (look.bytes > pending.size()) std::abort();
            if (judge.awaiting_upgrade()) judge.upgrade_answered(false);
            if (look.kind != ClientJudge::Step::Kind::pass) {
                outcome.refused = look.kind == ClientJudge::Step::Kind::refuse;
                break;
            }
            outcome.passed += look.bytes;
        }
    }
    return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view stream(reinterpret_cast<const char*>(data), size);
    const auto head = parse_http_head(stream);
    if (head.state == HttpHeadResult::State::done && head.head.size > size) std::abort();
    const auto whole = play(stream, stream.size() + 1);
    const auto pieces = play(stream, 3);
    // In pieces, the good part of a body whose later chunk is malformed may already have passed.
    if (whole.refused != pieces.refused || whole.passed > pieces.passed) std::abort();
    return 0;
}
