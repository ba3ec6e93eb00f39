// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/judge.hpp"

#include <algorithm>
#include <utility>

namespace volary::cage {
namespace {

using Step = ClientJudge::Step;

Step pass(std::size_t bytes) {
    Step step;
    step.kind = Step::Kind::pass;
    step.bytes = bytes;
    return step;
}

Step refuse(std::string layer, std::string what, std::string rule = {}) {
    Step step;
    step.kind = Step::Kind::refuse;
    step.layer = std::move(layer);
    step.what = std::move(what);
    step.rule = std::move(rule);
    return step;
}

std::span<const std::uint8_t> as_bytes(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

Expectation expect(const NetRule& rule, const std::string& name) {
    constexpr std::uint16_t kHttp = 80;
    constexpr std::uint16_t kHttps = 443;
    using Protocol = Expectation::Protocol;
    Expectation made;
    made.port = rule.port;
    made.where = name + ":" + std::to_string(rule.port);
    if (!rule.sni.empty()) {
        made.protocol = Protocol::tls;
        made.names = {rule.sni};
        return made;
    }
    made.names = {name};
    switch (rule.kind) {
        case NetRule::Kind::address:
        case NetRule::Kind::cidr:
            made.protocol = Protocol::unchecked;
            break;
        case NetRule::Kind::host:
            made.protocol = Protocol::any;
            // Many local services answer to these Hosts only.
            made.names.insert(made.names.end(), {"localhost", "127.0.0.1"});
            made.server_name_optional = true;
            break;
        case NetRule::Kind::name:
        case NetRule::Kind::wildcard:
            made.protocol = rule.port == kHttps  ? Protocol::tls
                            : rule.port == kHttp ? Protocol::web
                                                 : Protocol::any;
            break;
    }
    return made;
}

ClientJudge::ClientJudge(Expectation expectation) : expectation_(std::move(expectation)) {
    if (expectation_.protocol == Expectation::Protocol::unchecked) state_ = State::raw;
}

Step ClientJudge::look(std::string_view pending) {
    if (pending.empty()) return {};
    switch (state_) {
        case State::first:
            return look_first(pending);
        case State::tls:
            return look_tls(pending);
        case State::head:
            return look_head(pending);
        case State::body:
            return look_body(pending);
        case State::upgrade:
            return {};
        case State::raw:
            return pass(pending.size());
    }
    return {};
}

Step ClientJudge::look_first(std::string_view pending) {
    using Protocol = Expectation::Protocol;
    if (static_cast<std::uint8_t>(pending.front()) == kTlsHandshake) {
        state_ = State::tls;
        return look_tls(pending);
    }
    if (expectation_.protocol == Protocol::tls)
        return refuse("sni", "plain text to " + expectation_.where);
    if (expectation_.protocol == Protocol::web || pending.size() >= kMaxHttpHead) {
        state_ = State::head;
        return look_head(pending);
    }
    if (!looks_like_http(pending)) {
        state_ = State::raw;
        return pass(pending.size());
    }
    // Without its first line a request cannot be told from "EHLO name".
    if (pending.find('\n', pending.find_first_not_of(" \t\r\n")) == std::string_view::npos)
        return {};
    state_ = State::head;
    return look_head(pending);
}

Step ClientJudge::look_tls(std::string_view pending) {
    const auto state = hello_.feed(as_bytes(pending.substr(fed_)));
    fed_ = pending.size();
    if (state == ClientHelloParser::State::more) return {};
    if (state == ClientHelloParser::State::malformed)
        return refuse("sni", std::string(hello_.problem()) + " to " + expectation_.where);
    const auto& name = hello_.server_name();
    if (name.empty() && !expectation_.server_name_optional)
        return refuse("sni", "no server name to " + expectation_.where);
    if (!name.empty() && !accepts(name)) {
        return refuse(
            "sni", "server name " + name + " to " + expectation_.where,
            name + ":" + std::to_string(expectation_.port)
        );
    }
    state_ = State::raw;
    return pass(pending.size());
}

Step ClientJudge::look_head(std::string_view pending) {
    auto result = parse_http_head(pending);
    if (result.state == HttpHeadResult::State::more) return {};
    if (result.state == HttpHeadResult::State::malformed)
        return refuse("host", std::string(result.problem) + " to " + expectation_.where);
    const auto& head = result.head;
    const bool port_fits = !head.port || *head.port == expectation_.port;
    if (!accepts(head.host) || !port_fits) return refuse_host(head);
    if (head.websocket && !first_request_) {
        // The answers before it are not followed, so its own could not be told from theirs.
        return refuse("host", "an upgrade after other requests to " + expectation_.where);
    }
    first_request_ = false;
    body_ = BodyScanner(head.framing, head.content_length);
    state_ = State::body;
    if (head.websocket) {
        state_ = State::upgrade;
    } else if (body_.state() == BodyScanner::State::done) {
        state_ = State::head;
    }
    return pass(head.size);
}

Step ClientJudge::look_body(std::string_view pending) {
    const auto bytes = body_.feed(pending);
    if (body_.state() == BodyScanner::State::malformed)
        return refuse("host", "a malformed chunk to " + expectation_.where);
    if (body_.state() == BodyScanner::State::done) state_ = State::head;
    return pass(bytes);
}

Step ClientJudge::refuse_host(const HttpHead& head) const {
    const auto port = std::to_string(head.port.value_or(expectation_.port));
    const auto asked = head.port ? head.host + ":" + port : head.host;
    return refuse("host", "host " + asked + " to " + expectation_.where, head.host + ":" + port);
}

bool ClientJudge::accepts(std::string_view name) const {
    return std::ranges::find(expectation_.names, name) != expectation_.names.end();
}

void ClientJudge::upgrade_answered(bool switched) {
    if (state_ == State::upgrade) state_ = switched ? State::raw : State::head;
}

}  // namespace volary::cage
