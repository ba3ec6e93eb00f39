// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/dns.hpp"

#include <cstdlib>

using namespace volary::cage;

namespace {

void check(const std::string& answer) {
    // An answer to an answer, or one that needs truncation, would break what the server promises.
    const std::span bytes(reinterpret_cast<const std::uint8_t*>(answer.data()), answer.size());
    if (answer.size() > 512 || !std::holds_alternative<DnsDrop>(parse_dns(bytes))) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto parsed = parse_dns({data, size});
    if (const auto* reply = std::get_if<DnsReply>(&parsed)) check(reply->bytes);
    if (const auto* query = std::get_if<DnsQuery>(&parsed)) {
        check(answer_dns(*query, DnsOutcome::no_name));
        check(answer_dns(*query, DnsOutcome::address, parse_address("fd00::1")));
    }
    DnsFrames frames;
    if (frames.feed({reinterpret_cast<const char*>(data), size})) {
        while (frames.next()) continue;
    }
    return 0;
}
