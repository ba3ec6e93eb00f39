// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/port_tickets.hpp"

#include "base/error.hpp"

#include <chrono>
#include <set>
#include <vector>

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::access;
using namespace std::chrono_literals;

namespace {

PortTicket ticket(const std::string& cage = "cage_1") {
    return {"uid 0", CageId(cage), "web", 3000};
}

}  // namespace

TEST_CASE("a token opens its port, renewed by use, for half a day at most", "[access]") {
    ManualClock clock;
    PortTickets tickets(clock);
    const auto issued = tickets.issue(ticket());
    CHECK(issued.token.size() == 43);
    CHECK(issued.expires_at == clock.now_ms() + 15 * 60 * 1000);
    for (int i = 0; i < 51; ++i) {
        clock.advance(14min);
        const auto visit = tickets.use(issued.token);
        REQUIRE(visit);
        CHECK(visit->ticket.port == 3000);
        CHECK(visit->ticket.cage == CageId("cage_1"));
    }
    clock.advance(14min);
    CHECK_FALSE(tickets.use(issued.token));
}

TEST_CASE("a token ends without use, with its cage, and is never another one", "[access]") {
    ManualClock clock;
    PortTickets tickets(clock);
    const auto first = tickets.issue(ticket());
    const auto second = tickets.issue(ticket("cage_2"));
    CHECK(first.token != second.token);
    for (const auto& wrong :
         {std::string(), std::string("x"), std::string(43, 'A'), first.token + "A",
          first.token.substr(1)})
        CHECK_FALSE(tickets.use(wrong));
    tickets.revoke(CageId("cage_2"));
    CHECK_FALSE(tickets.use(second.token));
    clock.advance(15min);
    CHECK_FALSE(tickets.use(first.token));
    clock.advance(-1min);
    CHECK_FALSE(tickets.use(first.token));
}

TEST_CASE("tokens and their open connections are bounded", "[access]") {
    ManualClock clock;
    PortTickets tickets(clock);
    const auto first = tickets.issue(ticket());
    std::vector<std::shared_ptr<void>> held;
    for (int i = 0; i < 128; ++i) held.push_back(tickets.use(first.token)->hold);
    CHECK_THROWS_AS(tickets.use(first.token), Error);
    held.pop_back();
    CHECK(tickets.use(first.token));
    clock.advance(1s);
    std::set<std::string> tokens;
    for (int i = 0; i < 1024; ++i) tokens.insert(tickets.issue(ticket()).token);
    CHECK(tokens.size() == 1024);
    CHECK_FALSE(tickets.use(first.token));
}

TEST_CASE("what a cage's answers carry gives its page no origin and no way out", "[access]") {
    const auto headers = port_headers("v.example:8420", "/ports/t/TOKEN", false);
    const std::string csp(headers.find("Content-Security-Policy").value());
    CHECK(csp.starts_with("sandbox allow-scripts allow-forms"));
    CHECK(csp.find("allow-same-origin") == std::string::npos);
    CHECK(csp.find("allow-popups") == std::string::npos);
    CHECK(csp.find("allow-top-navigation") == std::string::npos);
    CHECK(csp.find("default-src http://v.example:8420/ports/t/TOKEN/ ") != std::string::npos);
    CHECK(csp.find("'self'") == std::string::npos);
    CHECK_FALSE(headers.find("Access-Control-Allow-Origin"));
    CHECK(port_headers("h", "/p", true).find("Access-Control-Allow-Origin") == "null");
    const auto odd = port_headers("h; script-src *", "/p", true);
    CHECK(odd.find("Content-Security-Policy")->find("script-src") == std::string::npos);
}
