// SPDX-License-Identifier: Apache-2.0
//
// What an app in a cage answers to its published port, and what a browser asks at the port's
// address. Input: a byte of flags, the length of the request, the request, the answer.
//
// The answer, whole and in pieces, must be the same answer; what goes to the browser is well formed
// and holds no field that the cage may not choose. What goes to the app is well formed and says
// nothing about the operator.
#include "daemon/access/port_tickets.hpp"
#include "daemon/access/secrets.hpp"
#include "daemon/http/parser.hpp"
#include "daemon/http/proxy_headers.hpp"
#include "daemon/http/router.hpp"
#include "daemon/http/upstream.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace volary;

namespace {

constexpr std::size_t kMaxHead = 4096;
const std::string kPrefix = "/ports/t/" + std::string(43, 'A');

void require(bool holds) {
    if (!holds) std::abort();
}

struct Answer {
    http::Response response;
    std::string body;
    bool complete = false;
};

/// Reads one answer as Exchange::download() does, `piece` bytes at a time.
Answer read_answer(std::string_view input, std::size_t piece, bool is_head) {
    Answer out;
    http::ResponseParser parser(kMaxHead);
    const auto keep = [&out](std::string_view part) {
        out.body.append(part);
        return true;
    };
    parser.start(out.response, keep, is_head);
    std::string held;
    while (true) {
        std::size_t consumed = 0;
        auto step = parser.feed(held, consumed);
        require(consumed <= held.size());
        held.erase(0, consumed);
        if (step == http::ParseStep::need_more) {
            if (input.empty()) step = parser.feed_end();
            const auto size = std::min(piece, input.size());
            held.append(input.substr(0, size));
            input.remove_prefix(size);
        }
        if (step == http::ParseStep::failed) return out;
        if (step == http::ParseStep::header && out.response.status == 101) break;
        if (step == http::ParseStep::done) break;
    }
    out.complete = true;
    return out;
}

/// The fields of a head that we made; aborts when it is not one start line and whole fields.
http::Headers fields_of(std::string_view head) {
    http::Headers out;
    require(head.ends_with("\r\n\r\n"));
    head.remove_suffix(2);
    bool first = true;
    while (!head.empty()) {
        const auto end = head.find("\r\n");
        const auto line = head.substr(0, end);
        head.remove_prefix(end + 2);
        require(!line.empty() && line.find_first_of(std::string_view("\r\n\0", 3)) == line.npos);
        const auto colon = line.find(": ");
        // It throws for a name that is no token, which is a finding, too.
        if (!std::exchange(first, false)) {
            require(colon != line.npos);
            out.add(line.substr(0, colon), line.substr(colon + 2));
        }
    }
    return out;
}

void check_answer(const http::Response& answer, const http::Request& request) {
    http::Upstream upstream;
    upstream.host = "localhost:3000";
    upstream.prefix = kPrefix;
    upstream.headers =
        access::port_headers(request.headers.find("Host").value_or(""), kPrefix, true);
    http::BodyFraming framing;
    framing.chunked = true;
    const auto date = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    const auto fields = fields_of(http::client_head(answer, upstream, framing, date));
    for (const auto* never :
         {"Set-Cookie", "Clear-Site-Data", "Link", "Refresh", "Service-Worker-Allowed", "Alt-Svc",
          "Strict-Transport-Security", "Content-Length", "Upgrade"})
        require(!fields.find(never));
    require(fields.count("Connection") == 1 && fields.count("Transfer-Encoding") == 1);
    for (std::size_t i = 0; i < upstream.headers.size(); ++i) {
        const auto ours = upstream.headers[i];
        require(fields.count(ours.name) == 1 && fields.find(ours.name) == ours.value);
    }
    require(fields.find("Content-Security-Policy")->starts_with("sandbox "));
    require(fields.find("Content-Security-Policy")->find("allow-same-origin") == std::string::npos);
    // What names a path of the daemon's own origin stays below the port's address.
    const auto location = fields.find("Location").value_or("");
    if (location.starts_with('/') && !location.starts_with("//"))
        require(location.starts_with(kPrefix + "/"));
    (void)fields_of(http::websocket_head(answer));
}

const http::Router& router() {
    static http::Router table;
    static const bool filled = [] {
        const auto none = [](http::Request&) { return http::Response::empty(204); };
        table.add("GET", "/ports/{id}/{cage}/{name}", http::SyncHandler(none));
        const auto never = [](http::Request&) -> asio::awaitable<http::Response> { std::abort(); };
        table.mount("/ports/t", http::AsyncHandler(never));
        return true;
    }();
    (void)filled;
    return table;
}

/// The path of a port's address, and the head for the app.
void check_request(http::Request& request, bool websocket) {
    const auto match = router().match(request);
    if (request.path.starts_with("/ports/t/") && match.info != nullptr) {
        require(match.info->pattern == "/ports/t" && request.params.size() == 2);
        const auto& token = request.params[0];
        const auto& rest = request.params[1];
        require(token.find('/') == std::string::npos);
        require(rest.empty() || rest.starts_with('/'));
        require("/ports/t/" + token + rest == request.path);
        if (access::is_token(token, access::kPortTokenBytes))
            require(token.size() == 43 && token.find_first_of("%./?#") == std::string::npos);
    }
    http::Upstream upstream;
    upstream.host = "localhost:3000";
    upstream.target = request.path.empty() ? "/" : request.path;
    const auto fields = fields_of(http::upstream_head(request, upstream, {}, websocket));
    require(fields.count("Host") == 1 && fields.find("Host") == upstream.host);
    require(fields.count("Connection") == 1);
    for (const auto* never :
         {"Cookie", "Authorization", "Referer", "Transfer-Encoding", "Content-Length",
          "Proxy-Authorization", "X-Volary-Client"})
        require(!fields.find(never));
    require(fields.find("Origin").value_or("http://localhost:3000") == "http://localhost:3000");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const bool is_head = (data[0] & 1U) != 0;
    const bool websocket = (data[0] & 2U) != 0;
    const std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);
    const auto cut = std::min<std::size_t>(data[1], input.size());

    http::RequestParser parser(kMaxHead);
    http::Request request;
    parser.start(request);
    auto left = input.substr(0, cut);
    auto step = http::ParseStep::progress;
    while (step == http::ParseStep::progress) {
        std::size_t consumed = 0;
        step = parser.feed(left, consumed);
        left.remove_prefix(consumed);
    }
    if (step == http::ParseStep::header || step == http::ParseStep::done)
        check_request(request, websocket);
    else
        request.headers.clear();

    const auto said = input.substr(cut);
    const auto whole = read_answer(said, said.size() + 1, is_head);
    const auto pieces = read_answer(said, 1 + data[0] / 4, is_head);
    if (!whole.complete || !pieces.complete) return 0;
    require(whole.response.status == pieces.response.status && whole.body == pieces.body);
    require(whole.response.headers.size() == pieces.response.headers.size());
    check_answer(whole.response, request);
    return 0;
}
