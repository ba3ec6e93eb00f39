// SPDX-License-Identifier: Apache-2.0
#include "dsl/net_rule.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <charconv>
#include <cstring>
#include <netinet/in.h>
#include <optional>
#include <span>
#include <vector>

#include <fmt/format.h>

namespace volary::dsl {
namespace {

using Problem = NetRuleProblem;
using Result = std::expected<NetRule, NetRuleProblem>;

constexpr std::string_view kHostService = "host.volary";
constexpr std::size_t kMaxRuleBytes = 320;  // A DNS name has at most 253 characters.

std::unexpected<Problem> fail(std::string message, std::string hint = {}) {
    return std::unexpected(Problem{std::move(message), std::move(hint)});
}

/// An IPv4 (4 bytes) or IPv6 (16 bytes) address in network order.
using Address = std::vector<std::uint8_t>;

std::optional<Address> parse_address(const std::string& text) {
    Address bytes(16);
    if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return bytes;
    bytes.resize(4);
    if (::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1) return bytes;
    return std::nullopt;
}

std::string format_address(const Address& address) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    const int family = address.size() == 4 ? AF_INET : AF_INET6;
    ::inet_ntop(family, address.data(), text.data(), static_cast<socklen_t>(text.size()));
    return text.data();
}

Address masked(Address address, unsigned bits) {
    for (std::size_t i = 0; i < address.size(); ++i) {
        const auto first = static_cast<unsigned>(i) * 8;
        const auto kept = bits <= first ? 0U : std::min(bits - first, 8U);
        address[i] = static_cast<std::uint8_t>(address[i] & (0xFF00U >> kept));
    }
    return address;
}

bool inside(const Address& address, const char* block, unsigned bits) {
    const auto base = parse_address(block);
    return base && base->size() == address.size() && masked(address, bits) == *base;
}

bool is_loopback(const Address& address) {
    return inside(address, "127.0.0.0", 8) || address == parse_address("::1");
}

std::optional<unsigned> parse_decimal(std::string_view text) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return {};
    return value;
}

/// "" or ":443".
std::expected<std::optional<std::uint16_t>, Problem> parse_port(std::string_view text) {
    if (text.empty()) return std::nullopt;
    const auto value = text.front() == ':' ? parse_decimal(text.substr(1)) : std::nullopt;
    if (!value || *value == 0 || *value > 65535) {
        return fail(
            fmt::format("port \"{}\" is not one: expected 1 to 65535", text.substr(1)),
            "one rule names one port"
        );
    }
    return static_cast<std::uint16_t>(*value);
}

Result finish(NetRule rule, std::string_view port) {
    const auto parsed = parse_port(port);
    if (!parsed) return std::unexpected(parsed.error());
    if (rule.kind == NetRule::Kind::host && !*parsed) {
        return fail("host.volary needs a port", "write \"host.volary:11434\"");
    }
    rule.port = parsed->value_or(443);
    return rule;
}

Result address_rule(
    std::string_view address_text, std::optional<std::string_view> prefix, std::string_view port
) {
    const auto address = parse_address(std::string(address_text));
    if (!address) return fail(fmt::format("\"{}\" is not an IP address", address_text));
    if (is_loopback(*address)) {
        return fail(
            "a cage's loopback is its own: a service on the host is not there",
            fmt::format("write \"{}{}\"", kHostService, port.empty() ? ":443" : port)
        );
    }
    NetRule rule;
    rule.kind = NetRule::Kind::address;
    rule.host = format_address(*address);
    if (prefix) {
        const auto bits = parse_decimal(*prefix);
        const auto width = static_cast<unsigned>(address->size()) * 8;
        if (!bits || *bits > width) {
            return fail(fmt::format("prefix \"/{}\" is not one: expected 0 to {}", *prefix, width));
        }
        const auto base = masked(*address, *bits);
        if (base != *address) {
            return fail(
                fmt::format("\"{}/{}\" has bits set beyond its prefix", address_text, *prefix),
                fmt::format("the block is {}/{}", format_address(base), *bits)
            );
        }
        rule.kind = NetRule::Kind::cidr;
        rule.host = fmt::format("{}/{}", format_address(base), *bits);
    }
    return finish(std::move(rule), port);
}

/// "[2001:db8::1]:443", "[2001:db8::]/32:443" and "[2001:db8::/32]:443".
Result bracket_rule(std::string_view text) {
    const auto close = text.find(']');
    if (close == std::string_view::npos)
        return fail("\"[\" is never closed", "write \"[2001:db8::1]:443\"");
    auto inner = text.substr(1, close - 1);
    auto rest = text.substr(close + 1);
    std::optional<std::string_view> prefix;
    if (const auto slash = inner.find('/'); slash != std::string_view::npos) {
        prefix = inner.substr(slash + 1);
        inner = inner.substr(0, slash);
    } else if (rest.starts_with('/')) {
        const auto colon = std::min(rest.find(':'), rest.size());
        prefix = rest.substr(1, colon - 1);
        rest.remove_prefix(colon);
    }
    if (inner.find(':') == std::string_view::npos) {
        return fail(fmt::format("\"{}\" is not an IPv6 address", inner));
    }
    return address_rule(inner, prefix, rest);
}

std::optional<Problem> check_name(std::string_view name) {
    if (name.empty()) return Problem{"the host is empty", {}};
    if (name.size() > 253) return Problem{"the host is longer than 253 characters", {}};
    std::size_t from = 0;
    while (from <= name.size()) {
        const auto dot = std::min(name.find('.', from), name.size());
        const auto label = name.substr(from, dot - from);
        if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-' ||
            label.find_first_of("*[]/") != std::string_view::npos) {
            return Problem{
                fmt::format("\"{}\" is not a host name: \"{}\" is no label of one", name, label),
                "1 to 63 letters, digits and \"-\" between the dots"
            };
        }
        from = dot + 1;
    }
    const auto last = name.substr(name.rfind('.') + 1);
    if (std::ranges::all_of(last, [](char c) { return c >= '0' && c <= '9'; })) {
        return Problem{fmt::format("\"{}\" is neither a host name nor an IP address", name), {}};
    }
    return std::nullopt;
}

std::optional<Problem> check_characters(std::string_view text) {
    const auto scheme = text.find("://");
    if (scheme != std::string_view::npos) {
        const auto rest = text.substr(scheme + 3);
        return Problem{
            "a URL is not a rule: expected a host and a port",
            fmt::format("write \"{}\"", rest.substr(0, rest.find('/')))
        };
    }
    for (const char c : text) {
        if (static_cast<unsigned char>(c) >= 0x80) {
            return Problem{"the host has letters beyond ASCII", "write its xn-- form"};
        }
        const bool fine =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (fine || std::strchr("-_.:*[]/", c) != nullptr) continue;
        return Problem{fmt::format("\"{}\" does not belong into a host or port", c), {}};
    }
    return std::nullopt;
}

std::optional<Problem> check_reserved(std::string_view name) {
    if (name == "localhost" || name.ends_with(".localhost")) {
        return Problem{
            "a cage's loopback is its own: a service on the host is not there",
            "write \"host.volary:PORT\""
        };
    }
    if (name == kHostService) return std::nullopt;
    if (name == "volary" || name.ends_with(".volary") || name == "volary.internal" ||
        name.ends_with(".volary.internal")) {
        return Problem{
            fmt::format("\"{}\" is a name of volary's own", name),
            "volary.internal and models.volary.internal are always reachable"
        };
    }
    return std::nullopt;
}

Result name_rule(std::string_view text) {
    const auto colon = std::min(text.find(':'), text.size());
    auto name = text.substr(0, colon);
    const auto port = text.substr(colon);
    NetRule rule;
    if (name.starts_with("*.")) {
        rule.kind = NetRule::Kind::wildcard;
        name.remove_prefix(2);
    }
    if (name.find('*') != std::string_view::npos) {
        return fail(
            "\"*\" stands only for the first labels of a name",
            "write \"*.example.com:443\"; there is no rule for every host"
        );
    }
    if (name.ends_with('.')) name.remove_suffix(1);
    rule.host = name;
    std::ranges::transform(rule.host, rule.host.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    if (auto problem = check_name(rule.host)) return std::unexpected(std::move(*problem));
    if (auto problem = check_reserved(rule.host)) return std::unexpected(std::move(*problem));
    if (rule.host == kHostService) {
        if (rule.kind == NetRule::Kind::wildcard) return fail("host.volary has no names below it");
        rule.kind = NetRule::Kind::host;
    }
    return finish(std::move(rule), port);
}

Result parse_any(std::string_view text) {
    if (text.starts_with('[')) return bracket_rule(text);
    if (text.find('/') != std::string_view::npos) {
        const auto slash = text.find('/');
        const auto colon = std::min(text.find(':', slash), text.size());
        if (text.substr(0, slash).find(':') != std::string_view::npos) {
            return fail("an IPv6 block needs brackets", "write \"[2001:db8::]/32:443\"");
        }
        return address_rule(
            text.substr(0, slash), text.substr(slash + 1, colon - slash - 1), text.substr(colon)
        );
    }
    if (std::ranges::count(text, ':') > 1) {
        return fail(
            fmt::format("\"{}\" is not a host and a port", text),
            "an IPv6 address needs brackets: \"[2001:db8::1]:443\""
        );
    }
    const auto colon = std::min(text.find(':'), text.size());
    if (parse_address(std::string(text.substr(0, colon)))) {
        return address_rule(text.substr(0, colon), std::nullopt, text.substr(colon));
    }
    return name_rule(text);
}

}  // namespace

std::expected<NetRule, NetRuleProblem> parse_net_rule(std::string_view text) {
    if (text.empty()) return fail("the rule is empty", "write \"host:port\"");
    if (text.size() > kMaxRuleBytes) return fail("the rule is longer than any host and port");
    if (auto problem = check_characters(text)) return std::unexpected(std::move(*problem));
    auto rule = parse_any(text);
    if (rule) rule->text = text;
    return rule;
}

bool names_private_address(const NetRule& rule) {
    if (rule.kind != NetRule::Kind::address && rule.kind != NetRule::Kind::cidr) return false;
    auto address = parse_address(rule.host.substr(0, rule.host.find('/')));
    if (!address) return false;
    // An IPv4 address in IPv6's clothes is dialled as what it is.
    if (inside(*address, "::ffff:0:0", 96)) address->erase(address->begin(), address->begin() + 12);
    // RFC 6890 lists them; a block counts by its first address.
    struct Block {
        const char* base;
        unsigned bits;
    };
    constexpr std::array blocks{
        Block{"10.0.0.0", 8},    Block{"172.16.0.0", 12},  Block{"192.168.0.0", 16},
        Block{"100.64.0.0", 10}, Block{"169.254.0.0", 16}, Block{"127.0.0.0", 8},
        Block{"fc00::", 7},      Block{"fe80::", 10},
    };
    if (*address == parse_address("::") || *address == parse_address("::1")) {
        return rule.kind == NetRule::Kind::address;
    }
    return std::ranges::any_of(blocks, [&](const Block& block) {
        return inside(*address, block.base, block.bits);
    });
}

}  // namespace volary::dsl
