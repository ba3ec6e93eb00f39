// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/ids.hpp"
#include "base/json.hpp"
#include "daemon/http/router.hpp"
#include "daemon/http/types.hpp"
#include "daemon/session/manager.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace volary::api {

/// The body as JSON; Error{invalid} when it is not one JSON object.
Json body_of(const http::Request& request);

/// The session id in the path; Error{not_found} for what cannot be one.
SessionId session_of(const http::Request& request);

/// A whole number in the query; Error{invalid} outside `least`..`most` or when it is no number.
std::int64_t number_of(
    const http::Request& request, std::string_view key, std::int64_t fallback, std::int64_t least,
    std::int64_t most
);

/// Who acts, and under which Idempotency-Key; Error{invalid} when the header is missing or wrong.
session::Mutation mutation_of(const http::Request& request);

/// The client program as it names itself in X-Volary-Client, e.g. "web".
std::string client_of(const http::Request& request);

/// A route whose only option is its line in the OpenAPI document.
http::RouteOptions about(std::string summary);

/// 202 with what the log took.
http::Response accepted(const Json& answer);

http::Response json_answer(int status, const Json& doc);

}  // namespace volary::api
