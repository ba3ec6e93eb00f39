// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/types.hpp"

#include "base/json_text.hpp"

#include <utility>

namespace volary::http {

Response Response::json(int status, std::string text) {
    Response response;
    response.status = status;
    response.media = Media::json;
    response.body = std::move(text);
    return response;
}

Response Response::text(int status, std::string text) {
    Response response;
    response.status = status;
    response.media = Media::text;
    response.body = std::move(text);
    return response;
}

Response Response::empty(int status) {
    Response response;
    response.status = status;
    return response;
}

Response Response::redirect(std::string_view location, int status) {
    Response response;
    response.status = status;
    response.headers.add("Location", location);
    return response;
}

Response Response::error(const Error& error) {
    // what() rather than message(): the outer layers' context is what a person can act on.
    return Response::error(http_status(error.code()), error.code(), error.what(), error.details());
}

Response Response::error(
    int status, Errc code, std::string_view message, const std::vector<std::string>& details
) {
    std::string text = "{\"error\":{\"code\":";
    append_json_quoted(text, to_string(code));
    text.append(",\"message\":");
    append_json_quoted(text, message);
    text.append(",\"details\":[");
    for (std::size_t i = 0; i < details.size(); ++i) {
        if (i > 0) text.push_back(',');
        append_json_quoted(text, details[i]);
    }
    text.append("]}}");
    return json(status, std::move(text));
}

std::string_view Response::payload() const noexcept {
    if (shared_body) return *shared_body;
    if (!static_body.empty()) return static_body;
    return body;
}

std::string_view reason_phrase(int status) noexcept {
    struct Phrase {
        int status;
        std::string_view text;
    };
    static constexpr Phrase phrases[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {529, "Overloaded"},
    };
    for (const auto& phrase : phrases) {
        if (phrase.status == status) return phrase.text;
    }
    return "Unknown";
}

}  // namespace volary::http
