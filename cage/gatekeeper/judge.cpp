// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/judge.hpp"

#include "cage/net_plan.hpp"

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

bool same_word(std::string_view a, std::string_view upper) {
    const auto equal = [](char x, char y) {
        return x == y || (y >= 'A' && y <= 'Z' && x == y - 'A' + 'a');
    };
    return std::ranges::equal(a, upper, equal);
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
    made.requests = request_rules({rule});
    made.credential = rule.credential;
    made.listen_port = listen_port(rule);
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
    if (!made.requests.empty() || !made.credential.empty()) made.protocol = Protocol::http;
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
        if (expectation_.protocol == Protocol::http)
            return refuse("http", "TLS where requests are checked, to " + expectation_.where);
        state_ = State::tls;
        return look_tls(pending);
    }
    if (expectation_.protocol == Protocol::tls)
        return refuse("sni", "plain text to " + expectation_.where);
    const bool web =
        expectation_.protocol == Protocol::web || expectation_.protocol == Protocol::http;
    if (web || pending.size() >= kMaxHttpHead) {
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
    if (!accepts(head.host) || !port_fits(head)) return refuse_host(head);
    if (auto refused = look_request(head)) return std::move(*refused);
    if (head.websocket && !first_request_) {
        // The answers before it are not followed, so its own could not be told from theirs.
        return refuse("host", "an upgrade after other requests to " + expectation_.where);
    }
    first_request_ = false;
    using Trailers = BodyScanner::Trailers;
    const bool injected = !expectation_.credential.empty();
    // A server that merges trailers into the head would take the cage's field for ours.
    const auto trailers = injected ? Trailers::refuse : Trailers::pass;
    body_ = BodyScanner(head.framing, head.content_length, trailers);
    state_ = State::body;
    if (head.websocket) {
        state_ = State::upgrade;
    } else if (body_.state() == BodyScanner::State::done) {
        state_ = State::head;
    }
    auto step = pass(head.size);
    if (injected)
        step.instead = Secret(rewrite_head(pending.substr(0, head.size), expectation_.change));
    return step;
}

bool ClientJudge::port_fits(const HttpHead& head) const {
    if (!head.port || *head.port == expectation_.port) return true;
    return !expectation_.credential.empty() && *head.port == expectation_.listen_port;
}

/// Methods and paths; nothing when the request may pass.
std::optional<Step> ClientJudge::look_request(const HttpHead& head) const {
    const bool injected = !expectation_.credential.empty();
    // They are answered with the request, credential and all; some servers take any case.
    if (injected && (same_word(head.method, "TRACE") || same_word(head.method, "TRACK")))
        return refuse("http", "TRACE with a credential to " + expectation_.where);
    const auto& rules = expectation_.requests;
    if (rules.empty()) return std::nullopt;
    const auto names_paths = [](const RequestRule& rule) { return !rule.paths.empty(); };
    const auto names_methods = [](const RequestRule& rule) { return !rule.methods.empty(); };
    std::string path = head.target;
    if (std::ranges::any_of(rules, names_paths) && head.target != "*") {
        const char* problem = nullptr;
        const auto plain = plain_path(head.target, problem);
        if (!plain) return refuse("http", std::string(problem) + " to " + expectation_.where);
        if (head.other_path)
            return refuse("http", "a header that names another path to " + expectation_.where);
        path = *plain;
    }
    if (head.other_method && std::ranges::any_of(rules, names_methods))
        return refuse("http", "a header that names another method to " + expectation_.where);
    if (allows(rules, head.method, path)) return std::nullopt;
    return refuse_request(head, path.substr(0, path.find('?')));
}

Step ClientJudge::refuse_request(const HttpHead& head, std::string_view path) const {
    // Bounded: what a cage writes as a path ends up on a screen.
    constexpr std::size_t kShown = 200;
    const std::string shown(path.substr(0, kShown));
    std::string rule = "{ to: \"" + expectation_.where + "\"";
    if (!expectation_.credential.empty()) rule += ", credential: " + expectation_.credential;
    rule += ", methods: [" + head.method + "], paths: [\"" + shown + "\"] }";
    const bool whole =
        path.size() <= kShown && path.find_first_of("\"\\") == std::string_view::npos;
    return refuse(
        "http", head.method + " " + shown + " to " + expectation_.where,
        whole ? rule : std::string()
    );
}

Step ClientJudge::look_body(std::string_view pending) {
    const auto bytes = body_.feed(pending);
    if (body_.state() == BodyScanner::State::malformed)
        return refuse("host", "a malformed chunk or a trailer to " + expectation_.where);
    if (body_.state() == BodyScanner::State::done) state_ = State::head;
    return pass(bytes);
}

Step ClientJudge::refuse_host(const HttpHead& head) const {
    const auto port = std::to_string(head.port.value_or(expectation_.port));
    // Bounded as no name is: what a cage writes as a Host is kept and shown.
    constexpr std::size_t kLongestName = 253;
    const auto name = head.host.substr(0, kLongestName);
    const auto asked = head.port ? name + ":" + port : name;
    const bool whole = name.size() == head.host.size();
    return refuse(
        "host", "host " + asked + " to " + expectation_.where,
        whole ? name + ":" + port : std::string()
    );
}

bool ClientJudge::accepts(std::string_view name) const {
    return std::ranges::find(expectation_.names, name) != expectation_.names.end();
}

void ClientJudge::upgrade_answered(bool switched) {
    if (state_ == State::upgrade) state_ = switched ? State::raw : State::head;
}

}  // namespace volary::cage
