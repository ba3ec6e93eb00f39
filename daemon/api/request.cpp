// SPDX-License-Identifier: Apache-2.0
#include "daemon/api/request.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::api {
namespace {

constexpr std::size_t kMaxKey = 128;  // a UUID is 36
constexpr std::size_t kMaxClient = 32;

bool is_printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}

}  // namespace

Json body_of(const http::Request& request) {
    auto parsed = parse_json(request.body.empty() ? std::string_view("{}") : request.body);
    if (!parsed) throw Error(Errc::invalid, "body: " + parsed.error());
    if (!parsed->is_object()) throw Error(Errc::invalid, "body: must be a JSON object");
    return std::move(*parsed);
}

SessionId session_of(const http::Request& request) {
    const auto& text = request.params.at(0);
    if (!is_id(text, SessionTag::prefix)) throw Error(Errc::not_found, "no session " + text);
    return SessionId(text);
}

std::int64_t number_of(
    const http::Request& request, std::string_view key, std::int64_t fallback, std::int64_t least,
    std::int64_t most
) {
    const auto text = request.query_value(key);
    if (!text) return fallback;
    std::int64_t value = 0;
    const auto* end = text->data() + text->size();
    const auto [stop, error] = std::from_chars(text->data(), end, value);
    if (error != std::errc() || stop != end || value < least || value > most)
        throw Error(
            Errc::invalid, fmt::format("query.{}: must be a number from {} to {}", key, least, most)
        );
    return value;
}

session::Mutation mutation_of(const http::Request& request) {
    const auto key = request.headers.find("Idempotency-Key");
    if (!key)
        throw Error(
            Errc::invalid, "header Idempotency-Key: required, so that sending twice does it once"
        );
    if (key->empty() || key->size() > kMaxKey || !is_printable(*key))
        throw Error(
            Errc::invalid,
            fmt::format("header Idempotency-Key: needs 1 to {} printable ASCII characters", kMaxKey)
        );
    session::Mutation mutation;
    mutation.actor = "operator:" + request.identity;
    mutation.route = request.method + " " + request.path;
    mutation.key = *key;
    mutation.request = request.body;
    return mutation;
}

std::string client_of(const http::Request& request) {
    const auto name = request.headers.find("X-Volary-Client").value_or("api");
    return std::string(name.substr(0, kMaxClient));
}

http::RouteOptions about(std::string summary) {
    http::RouteOptions options;
    options.summary = std::move(summary);
    return options;
}

http::Response accepted(const Json& answer) { return json_answer(202, answer); }

http::Response json_answer(int status, const Json& doc) {
    return http::Response::json(status, dump_json(doc));
}

}  // namespace volary::api
