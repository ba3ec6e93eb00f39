// SPDX-License-Identifier: Apache-2.0
//
// Foreign bytes through the request parser and the router, whole and cut in two at a place that the
// input chooses: both ways must see the same requests. Whether a header that never ends is refused
// at its first wrong byte or waited for is not compared: Beast looks closer at one that came whole.
#include "daemon/http/parser.hpp"
#include "daemon/http/router.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace volary;

namespace {

const http::Router& router() {
    static http::Router table;
    static const bool filled = [] {
        const auto echo = [](http::Request& request) {
            return http::Response::text(200, request.path + request.query_value("a").value_or(""));
        };
        table.add("GET", "/api/v1/sessions/{id}/events", echo);
        table.add("POST", "/api/v1/echo", [](http::Request& request) {
            return http::Response::text(200, request.body);
        });
        table.pages([](std::string_view path) -> std::optional<http::StaticFile> {
            if ((std::string(path) + "/").find("/../") != std::string::npos) std::abort();
            return http::StaticFile{"text/html", "page", {}, "\"1\"", {}};
        });
        return true;
    }();
    (void)filled;
    return table;
}

/// Feeds `input` in pieces that end at `cut` and at the end; returns what was answered until it was
/// refused or wanted more.
std::string answer_all(std::string_view input, std::size_t cut) {
    http::RequestParser parser(4096);
    http::Request request;
    parser.start(request);
    std::string out;
    std::size_t begin = 0;
    for (const std::size_t end : {cut, input.size()}) {
        while (true) {
            std::size_t consumed = 0;
            const auto step = parser.feed(input.substr(begin, end - begin), consumed);
            begin += consumed;
            if (step == http::ParseStep::failed) return out;
            if (step == http::ParseStep::header) parser.limit_body(1024);
            if (step == http::ParseStep::done) {
                const auto response = router().answer(request);
                out.append(std::to_string(response.status)).append(response.payload());
                parser.start(request);
            }
            if (step == http::ParseStep::need_more) break;
        }
    }
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
    const auto whole = answer_all(input, input.size());
    if (answer_all(input, data[0] * input.size() / 256) != whole) std::abort();
    return 0;
}
