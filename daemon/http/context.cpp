// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/context.hpp"

#include <array>
#include <charconv>
#include <utility>

namespace volary::http {
namespace {

void append_number(std::string& out, std::size_t value) {
    std::array<char, 24> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    out.append(digits.data(), end);
}

std::string_view media_line(Media media) {
    switch (media) {
        case Media::json:
            return "Content-Type: application/json\r\n";
        case Media::text:
            return "Content-Type: text/plain; charset=utf-8\r\n";
        case Media::html:
            return "Content-Type: text/html; charset=utf-8\r\n";
        case Media::event_stream:
            return "Content-Type: text/event-stream\r\n";
        case Media::none:
            break;
    }
    return {};
}

}  // namespace

ServerContext::ServerContext(
    asio::any_io_executor on, const Router& routes, Guard judge, ServerOptions with
)
    : executor(std::move(on)),
      router(routes),
      guard(std::move(judge)),
      options(std::move(with)),
      drained(executor, asio::steady_timer::time_point::max()),
      tasks(executor, log_task_errors()) {
    for (std::size_t i = 0; i < options.headers.size(); ++i) {
        const auto field = options.headers[i];
        common_headers.append(field.name).append(": ").append(field.value).append("\r\n");
    }
}

std::string_view ServerContext::date_line() {
    const auto now = std::time(nullptr);
    if (now == date_at_) return date_line_;
    date_at_ = now;
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    // The daemon never calls setlocale, so the names are the English ones of RFC 9110, 5.6.7.
    std::array<char, 64> text{};
    const auto length =
        std::strftime(text.data(), text.size(), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
    date_line_.assign(text.data(), length);
    return date_line_;
}

void append_head(
    std::string& out, const Response& response, ServerContext& context, const HeadFacts& facts
) {
    out.append("HTTP/1.1 ");
    append_number(out, static_cast<std::size_t>(response.status));
    out.append(" ").append(reason_phrase(response.status)).append("\r\n");
    out.append(context.date_line()).append(media_line(response.media));
    if (facts.chunked) {
        out.append("Transfer-Encoding: chunked\r\n");
    } else if (facts.with_length) {
        out.append("Content-Length: ");
        append_number(out, response.payload().size());
        out.append("\r\n");
    }
    if (!facts.keep_alive) {
        out.append("Connection: close\r\n");
    } else if (facts.version == 10) {
        out.append("Connection: keep-alive\r\n");
    }
    for (std::size_t i = 0; i < response.headers.size(); ++i) {
        const auto field = response.headers[i];
        out.append(field.name).append(": ").append(field.value).append("\r\n");
    }
    out.append(context.common_headers).append("\r\n");
}

}  // namespace volary::http
