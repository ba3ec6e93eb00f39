// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/dns.hpp"

#include <array>
#include <utility>

namespace volary::cage {
namespace {

constexpr std::size_t kHeaderSize = 12;
constexpr std::size_t kMaxLabel = 63;
constexpr std::size_t kMaxWireName = 255;
// Fits an IPv6 minimum MTU (https://www.dnsflagday.net/2020/).
constexpr std::uint16_t kUdpSize = 1232;
constexpr std::uint32_t kTtlSeconds = 30;

constexpr std::uint16_t kTypeOpt = 41;
constexpr std::uint16_t kClassIn = 1;

constexpr std::uint16_t kFlagAnswer = 0x8000;
constexpr std::uint16_t kFlagTruncated = 0x0200;
constexpr std::uint16_t kFlagRecursionDesired = 0x0100;
constexpr std::uint16_t kFlagRecursionAvailable = 0x0080;
constexpr std::uint16_t kFlagCheckingDisabled = 0x0010;
constexpr std::uint16_t kOpcodeMask = 0x7800;

enum Rcode : std::uint16_t {
    ok = 0,
    format_error = 1,
    server_failure = 2,
    name_error = 3,
    not_implemented = 4,
    refused = 5,
    bad_version = 16
};

/// Reads big-endian numbers; past the end it gives zeros and says so.
class Reader {
public:
    explicit Reader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    std::uint8_t u8() {
        if (at_ >= bytes_.size()) {
            short_ = true;
            return 0;
        }
        return bytes_[at_++];
    }
    std::uint16_t u16() {
        const unsigned high = u8();
        return static_cast<std::uint16_t>(high << 8U | u8());
    }
    void skip(std::size_t count) {
        if (count > bytes_.size() - at_) {
            short_ = true;
            at_ = bytes_.size();
        } else {
            at_ += count;
        }
    }
    bool failed() const { return short_; }
    bool at_end() const { return at_ == bytes_.size(); }
    std::size_t at() const { return at_; }

private:
    std::span<const std::uint8_t> bytes_;
    std::size_t at_ = 0;
    bool short_ = false;
};

void put_u16(std::string& out, unsigned value) {
    out.push_back(static_cast<char>(value >> 8U & 0xFFU));
    out.push_back(static_cast<char>(value & 0xFFU));
}

void put_header(
    std::string& out, std::uint16_t id, unsigned flags, std::array<unsigned, 4> counts
) {
    put_u16(out, id);
    put_u16(out, flags);
    for (const auto count : counts) put_u16(out, count);
}

void put_opt(std::string& out, unsigned rcode, bool dnssec_ok) {
    out.push_back('\0');
    put_u16(out, kTypeOpt);
    put_u16(out, kUdpSize);
    out.push_back(static_cast<char>(rcode >> 4U));  // upper bits of the extended code
    out.push_back('\0');
    put_u16(out, dnssec_ok ? 0x8000U : 0U);
    put_u16(out, 0);
}

unsigned answer_flags(unsigned asked, unsigned rcode) {
    const unsigned kept = asked & (kOpcodeMask | kFlagRecursionDesired | kFlagCheckingDisabled);
    return kFlagAnswer | kFlagRecursionAvailable | kept | (rcode & 0xFU);
}

DnsReply refuse(std::uint16_t id, unsigned flags, unsigned rcode) {
    DnsReply reply;
    const bool extended = rcode > 0xF;
    put_header(reply.bytes, id, answer_flags(flags, rcode), {0, 0, 0, extended ? 1U : 0U});
    if (extended) put_opt(reply.bytes, rcode, false);
    return reply;
}

void append_byte(std::string& name, std::uint8_t byte) {
    const bool upper = byte >= 'A' && byte <= 'Z';
    const bool plain =
        (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-' || byte == '_';
    if (upper || plain) {
        name.push_back(static_cast<char>(upper ? byte + ('a' - 'A') : byte));
        return;
    }
    name.push_back('\\');
    name.push_back(static_cast<char>('0' + byte / 100));
    name.push_back(static_cast<char>('0' + byte / 10 % 10));
    name.push_back(static_cast<char>('0' + byte % 10));
}

/// False for anything but plain labels: a pointer has nothing before it to point to.
bool read_name(Reader& reader, std::string& name) {
    const auto start = reader.at();
    for (;;) {
        const auto length = reader.u8();
        if (reader.failed() || length > kMaxLabel) return false;
        if (reader.at() - start + length > kMaxWireName) return false;
        if (length == 0) return true;
        if (!name.empty()) name.push_back('.');
        for (std::size_t i = 0; i < length; ++i) append_byte(name, reader.u8());
        if (reader.failed()) return false;
    }
}

/// The one additional record that a question may carry. Gives the answer's code.
Rcode read_opt(Reader& reader, DnsQuery& query) {
    const auto root = reader.u8();
    const auto type = reader.u16();
    reader.u16();  // the asker's buffer size: our answers always fit 512 bytes
    const auto extended_code = reader.u8();
    const auto version = reader.u8();
    const auto flags = reader.u16();
    const auto length = reader.u16();
    reader.skip(length);
    if (reader.failed() || root != 0 || type != kTypeOpt || extended_code != 0) return format_error;
    query.edns = true;
    query.dnssec_ok = (flags & 0x8000U) != 0;
    return version == 0 ? ok : bad_version;
}

}  // namespace

DnsParsed parse_dns(std::span<const std::uint8_t> message) {
    if (message.size() < kHeaderSize) return DnsDrop{};
    Reader reader(message);
    DnsQuery query;
    query.id = reader.u16();
    const unsigned flags = reader.u16();
    // An answer to an answer would make two servers talk for ever.
    if ((flags & kFlagAnswer) != 0) return DnsDrop{};
    if ((flags & kOpcodeMask) != 0) return refuse(query.id, flags, not_implemented);
    const auto questions = reader.u16();
    const auto answers = reader.u16();
    const auto authorities = reader.u16();
    const auto additional = reader.u16();
    const bool shape = questions == 1 && answers == 0 && authorities == 0 && additional <= 1 &&
                       (flags & kFlagTruncated) == 0 && message.size() <= kMaxDnsMessage;
    if (!shape || !read_name(reader, query.name)) return refuse(query.id, flags, format_error);
    query.type = reader.u16();
    const auto dns_class = reader.u16();
    if (reader.failed()) return refuse(query.id, flags, format_error);
    const auto section = message.subspan(kHeaderSize, reader.at() - kHeaderSize);
    query.question.assign(section.begin(), section.end());
    query.recursion_desired = (flags & kFlagRecursionDesired) != 0;
    query.checking_disabled = (flags & kFlagCheckingDisabled) != 0;
    if (additional == 1) {
        const auto code = read_opt(reader, query);
        if (code != ok) return refuse(query.id, flags, code);
    }
    if (!reader.at_end()) return refuse(query.id, flags, format_error);
    if (dns_class != kClassIn) return refuse(query.id, flags, refused);
    return query;
}

std::string answer_dns(
    const DnsQuery& query, DnsOutcome outcome, const std::optional<Address>& address
) {
    unsigned rcode = ok;
    if (outcome == DnsOutcome::no_name) rcode = name_error;
    if (outcome == DnsOutcome::no_service) rcode = server_failure;
    if (outcome == DnsOutcome::refused) rcode = Rcode::refused;
    const bool record = outcome == DnsOutcome::address && address.has_value();
    const unsigned asked = (query.recursion_desired ? kFlagRecursionDesired : 0U) |
                           (query.checking_disabled ? kFlagCheckingDisabled : 0U);
    std::string out;
    put_header(
        out, query.id, answer_flags(asked, rcode), {1, record ? 1U : 0U, 0, query.edns ? 1U : 0U}
    );
    out += query.question;
    if (record) {
        const std::size_t size = address->v6 ? 16 : 4;
        put_u16(out, 0xC000U | kHeaderSize);  // the question's name
        put_u16(out, address->v6 ? kDnsTypeAaaa : kDnsTypeA);
        put_u16(out, kClassIn);
        put_u16(out, kTtlSeconds >> 16U);
        put_u16(out, kTtlSeconds & 0xFFFFU);
        put_u16(out, static_cast<unsigned>(size));
        out.append(address->bytes.begin(), address->bytes.begin() + static_cast<long>(size));
    }
    if (query.edns) put_opt(out, rcode, query.dnssec_ok);
    return out;
}

bool DnsFrames::valid() const {
    if (buffer_.size() < 2) return true;
    const auto length =
        static_cast<std::uint8_t>(buffer_[0]) * 256U + static_cast<std::uint8_t>(buffer_[1]);
    return length > 0 && length <= kMaxDnsMessage;
}

bool DnsFrames::feed(std::string_view bytes) {
    buffer_ += bytes;
    return valid();
}

std::optional<std::string> DnsFrames::next() {
    if (buffer_.size() < 2 || !valid()) return std::nullopt;
    const std::size_t length =
        static_cast<std::uint8_t>(buffer_[0]) * 256U + static_cast<std::uint8_t>(buffer_[1]);
    if (buffer_.size() < 2 + length) return std::nullopt;
    auto message = buffer_.substr(2, length);
    buffer_.erase(0, 2 + length);
    return message;
}

std::string DnsFrames::frame(std::string_view message) {
    std::string out;
    put_u16(out, static_cast<unsigned>(message.size()));
    out += message;
    return out;
}

}  // namespace volary::cage
