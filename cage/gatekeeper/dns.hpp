// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/gatekeeper/address.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>

namespace volary::cage {

/// The largest DNS message that is looked at. A question is at most 271 bytes; EDNS padding
/// (RFC 8467) rounds clients' queries up to multiples of 128.
constexpr std::size_t kMaxDnsMessage = 4096;

constexpr std::uint16_t kDnsTypeA = 1;
constexpr std::uint16_t kDnsTypeAaaa = 28;

/// One well-formed question of class IN.
struct DnsQuery {
    std::uint16_t id = 0;
    bool recursion_desired = false;
    bool checking_disabled = false;
    /// Lower case, no trailing dot; bytes that no host name holds (dots in labels among them) are
    /// written `\ddd`, so the name is printable and matches no rule by accident. "" is the root.
    std::string name;
    std::uint16_t type = 0;
    /// The question section as it came: its letters' case is echoed (some clients check it).
    std::string question;
    bool edns = false;
    bool dnssec_ok = false;
};

/// A packet that deserves an answer without a name being looked at (FORMERR, NOTIMP, REFUSED,
/// BADVERS); ready to be sent.
struct DnsReply {
    std::string bytes;
};

/// A packet that deserves nothing: too short, or itself an answer.
struct DnsDrop {};

using DnsParsed = std::variant<DnsQuery, DnsReply, DnsDrop>;

/// Parses one message of RFC 1035 with EDNS of RFC 6891. Strict: one question, no compression in
/// it, no records but one OPT, no bytes after the end.
DnsParsed parse_dns(std::span<const std::uint8_t> message);

enum class DnsOutcome {
    address,     ///< one A or AAAA record
    no_data,     ///< the name exists, but not with that type
    no_name,     ///< NXDOMAIN
    no_service,  ///< SERVFAIL: we could not make the address
    refused      ///< REFUSED: too many questions
};

/// The answer to `query`; `address` is needed for DnsOutcome::address and its family must be that
/// of the question. At most 512 bytes, so it is never truncated. Records live 30 s.
std::string answer_dns(
    const DnsQuery& query, DnsOutcome outcome, const std::optional<Address>& address = {}
);

/// Splits a TCP stream into DNS messages (RFC 1035, 4.2.2).
class DnsFrames {
public:
    /// Adds what was read. False when a length is zero or beyond kMaxDnsMessage: hang up.
    [[nodiscard]] bool feed(std::string_view bytes);
    /// The next whole message, or nothing.
    std::optional<std::string> next();
    /// The two-byte length and the message.
    static std::string frame(std::string_view message);

private:
    bool valid() const;
    std::string buffer_;
};

}  // namespace volary::cage
