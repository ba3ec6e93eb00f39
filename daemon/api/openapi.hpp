// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace volary::http {
struct RouteInfo;
}

namespace volary::api {

/// The OpenAPI 3.1 document of the route table: made from it, so it cannot fall behind.
std::string openapi_document(const std::vector<http::RouteInfo>& routes);

}  // namespace volary::api
