// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace volary::dsl {

/// One problem of a project file, at the place where the operator mends it.
struct Diagnostic {
    /// The file as the caller named its folder, e.g. "/srv/site/.volary/project.yaml".
    std::string file;
    int line = 1;    ///< from 1
    int column = 1;  ///< from 1, in characters (not bytes)
    /// Key path, e.g. "primary.subagents.scraper.cage.net.allow[0]"; empty for the whole file.
    std::string path;
    std::string message;  ///< what is wrong and what was expected
    std::string hint;     ///< what to write instead; may be empty

    /// "file:line:column: path: message (hint)".
    std::string text() const;

    bool operator==(const Diagnostic&) const = default;
};

}  // namespace volary::dsl
