// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/policy.hpp"
#include "base/secret.hpp"
#include "cage/gatekeeper/http_head.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace volary::cage {

/// What one rule lets through: as NetRule's `methods` and `paths`.
struct RequestRule {
    std::vector<std::string> methods;
    std::vector<std::string> paths;
};

/// What `rules` let through together; empty when one of them lets every request through.
std::vector<RequestRule> request_rules(const std::vector<NetRule>& rules);

/// The path of an origin-form target, without its query. Nothing, and why in `problem`, for one
/// that two readers could take for different paths: `//`, `.` and `..` segments (with path
/// parameters too), backslashes, a fragment, percent signs that are not followed by two digits, and
/// encoded slashes, backslashes, dots, percent signs and controls. Pure.
std::optional<std::string> plain_path(std::string_view target, const char*& problem);

/// True when one of the `rules` allows the method and the path ("*" at a rule's end: any rest).
bool allows(const std::vector<RequestRule>& rules, std::string_view method, std::string_view path);

/// True for a token that may name a header field.
bool is_field_name(std::string_view name);

/// True for fields that say whom a request is for and where it ends: no credential may be one.
bool frames_message(std::string_view name);

/// What a credential's request looks like when it leaves.
struct HeadChange {
    std::string header;  ///< its name; removed wherever the cage sent it
    Secret value;
    std::string host;  ///< what the Host field says outward
};

/// The head (as parse_http_head() took it, `size` bytes long) with the Host replaced, every field
/// of the credential's name and every Proxy-Authorization removed, and the credential added. Names
/// are compared without case, and `_` counts as `-`, as it does for CGI and its heirs. Pure.
std::string rewrite_head(std::string_view head, const HeadChange& change);

}  // namespace volary::cage
