// SPDX-License-Identifier: Apache-2.0
#include "dsl/net_rule.hpp"
#include "dsl/scalars.hpp"
#include "dsl/yaml.hpp"

#include <catch2/catch.hpp>

namespace volary::dsl {
namespace {

TEST_CASE("sizes and times come back as they were written", "[dsl]") {
    for (const auto* text : {"1", "1023", "4K", "512M", "1G", "3T"}) {
        const auto size = parse_size(text);
        REQUIRE(size.has_value());
        CHECK(format_size(*size) == text);
    }
    for (const auto* text :
         {"", "0", "-1", "1.5G", "1GB", "1g", "M", " 1M", "9223372036854775808", "99999999T"}) {
        INFO(text);
        CHECK_FALSE(parse_size(text).has_value());
    }
    for (const auto* text : {"250ms", "30s", "10m", "2h", "7d", "90s", "61m"}) {
        const auto duration = parse_duration(text);
        REQUIRE(duration.has_value());
        CHECK(format_duration(*duration) == text);
    }
    for (const auto* text :
         {"", "0s", "10", "1.5h", "31d", "1w", "-1s", "10 m", "99999999999999999999s"}) {
        INFO(text);
        CHECK_FALSE(parse_duration(text).has_value());
    }
}

TEST_CASE("pointers have a short form", "[dsl]") {
    CHECK(parse_pointer("$.url") == "/url");
    CHECK(parse_pointer("$.a.b[0].c") == "/a/b/0/c");
    CHECK(parse_pointer("$") == "");
    CHECK(parse_pointer("$.a/b~c") == "/a~1b~0c");
    CHECK(parse_pointer("/a/b~1c") == "/a/b~1c");
    for (const auto* bad : {"url", "$url", "$.", "$.a..b", "$[x]", "$[", "/a~2", "/a~"}) {
        INFO(bad);
        CHECK_FALSE(parse_pointer(bad).has_value());
    }
}

TEST_CASE("a near word is suggested, a far one is not", "[dsl]") {
    const auto hint = [](std::string_view wanted) {
        Suggestion suggestion(wanted);
        for (const auto* each : {"model", "tools", "system_prompt", "runner"})
            suggestion.offer(each);
        return suggestion.hint();
    };
    CHECK(hint("modle") == "did you mean \"model\"?");
    CHECK(hint("sytem_promt") == "did you mean \"system_prompt\"?");
    CHECK(hint("tool") == "did you mean \"tools\"?");
    CHECK(hint("colour").empty());
    CHECK(hint("x").empty());
    CHECK(hint(std::string(100'000, 'm')).empty());
    CHECK(edit_distance("kitten", "sitting", 5) == 3);
    CHECK(edit_distance("ab", "ba", 5) == 1);
    CHECK(edit_distance("abcdef", "x", 2) == 3);
}

TEST_CASE("network rules", "[dsl]") {
    struct Case {
        std::string text;
        NetRule::Kind kind;
        std::string host;
        std::uint16_t port;
    };
    using Kind = NetRule::Kind;
    const std::vector<Case> cases{
        {"example.com", Kind::name, "example.com", 443},
        {"Example.COM.:80", Kind::name, "example.com", 80},
        {"*.example.com:8443", Kind::wildcard, "example.com", 8443},
        {"my_host:1", Kind::name, "my_host", 1},
        {"1.2.3.4:65535", Kind::address, "1.2.3.4", 65535},
        {"8.8.8.0/24:53", Kind::cidr, "8.8.8.0/24", 53},
        {"[2606:4700::0001]:443", Kind::address, "2606:4700::1", 443},
        {"[2606:4700::]/32:80", Kind::cidr, "2606:4700::/32", 80},
        {"[2606:4700::/32]:80", Kind::cidr, "2606:4700::/32", 80},
        {"host.volary:11434", Kind::host, "host.volary", 11434},
    };
    for (const auto& each : cases) {
        INFO(each.text);
        const auto rule = parse_net_rule(each.text);
        REQUIRE(rule.has_value());
        CHECK(rule->kind == each.kind);
        CHECK(rule->host == each.host);
        CHECK(rule->port == each.port);
        CHECK(rule->text == each.text);
    }
}

TEST_CASE("what is no network rule is refused with a reason", "[dsl]") {
    const auto text = GENERATE(
        as<std::string>{}, "", "*", "*:443", "*.", "a.*.com", "*a.com", "https://a.com", "a.com/x",
        "a.com:", "a.com:0", "a.com:65536", "a.com:80-90", "a.com:http", "a.com:80:81", "-a.com",
        "a-.com", "a..com", ".com", "1.2.3", "1.2.3.256:1", "1.2.3.4/33:1", "1.2.3.4/8:1",
        "2001:db8::1", "2001:db8::/32:443", "[::1]:1", "[2001:db8::1", "[1.2.3.4]:1", "[x]:1",
        "127.0.0.1:80", "localhost:1", "a.localhost", "host.volary", "*.host.volary:1",
        "volary.internal", "x.volary:1", "models.volary.internal:80", "ex ample.com", "é.com",
        "a.com\n", "a[b:1"
    );
    INFO(text);
    const auto rule = parse_net_rule(text);
    REQUIRE_FALSE(rule.has_value());
    CHECK_FALSE(rule.error().message.empty());
    CHECK_FALSE(parse_net_rule(text + std::string(400, 'a')).has_value());
}

TEST_CASE("private addresses are known", "[dsl]") {
    const auto is_private = [](const char* text) {
        return names_private_address(*parse_net_rule(text));
    };
    CHECK(is_private("10.0.0.0/8:1"));
    CHECK(is_private("192.168.1.1:1"));
    CHECK(is_private("169.254.169.254:80"));
    CHECK(is_private("[fd00::1]:1"));
    CHECK(is_private("[fe80::1]:1"));
    CHECK_FALSE(is_private("8.8.8.8:53"));
    CHECK_FALSE(is_private("example.com"));
    CHECK_FALSE(is_private("[2606:4700::1]:1"));
}

TEST_CASE("YAML nodes know their type and their place", "[dsl]") {
    const auto result =
        parse_yaml("ä: [1, -2.5, yes, true, ~, '3', 0x10, 1e3]\nön:\n  - é: x\n    on: ", 4);
    REQUIRE(result.complete);
    REQUIRE(result.problems.empty());
    const auto* list = result.root.find("ä");
    REQUIRE(list != nullptr);
    using Kind = Node::Kind;
    const std::vector kinds{Kind::integer, Kind::number, Kind::text, Kind::boolean,
                            Kind::null,    Kind::text,   Kind::text, Kind::number};
    REQUIRE(list->items.size() == kinds.size());
    for (std::size_t i = 0; i < kinds.size(); ++i) CHECK(list->items[i].kind == kinds[i]);
    CHECK(list->items[1].mark == Mark{4, 1, 8});
    CHECK(list->items[5].mark == Mark{4, 1, 28});
    const auto& entry = result.root.find("ön")->items.at(0);
    CHECK(entry.members[0].mark == Mark{4, 3, 5});
    CHECK(entry.members[0].value.mark == Mark{4, 3, 8});
    CHECK(entry.members[1].value.is(Kind::null));
}

}  // namespace
}  // namespace volary::dsl
