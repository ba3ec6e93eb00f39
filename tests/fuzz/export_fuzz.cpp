// SPDX-License-Identifier: Apache-2.0
//
// An exported session that an operator was given: read and folded, or refused with an Error.
#include "base/error.hpp"
#include "daemon/session/fold.hpp"
#include "daemon/session/import.hpp"

#include <cstdint>
#include <cstdlib>
#include <string_view>

using namespace volary;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    try {
        const auto read = session::parse_export(input);
        if (read.log.empty() || read.head.size() != 64) std::abort();
        (void)session::fold(read.log);
    } catch (const Error& error) {
        if (error.message().empty()) std::abort();
    }
    // Hashes stop nearly every change at its line: what a log says is folded without them, too.
    try {
        Event event;
        event.session = SessionId("ses_01JD0000000000000000000001");
        const auto end = input.find(' ');
        event.kind = input.substr(0, end);
        event.body = end == std::string_view::npos ? "{}" : input.substr(end + 1);
        session::State state;
        for (int i = 0; i < 2; ++i) {
            ++event.seq;
            session::apply(state, event);
        }
    } catch (const Error&) {
        return 0;
    }
    return 0;
}
