// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/model/catalogue.hpp"

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace volary::app {

/// What the operator's config file and the command line decide (docs/config.md).
struct Config {
    std::vector<std::string> listen;  ///< "ADDR:PORT" on loopback, or "unix:PATH"
    std::string state;                ///< folder
    /// Names under which a tunnel or proxy shows the page, e.g. "volary.example:443".
    std::vector<std::string> hosts;
    model::Catalogue models;
    /// The operator's own name -> address, asked before the resolver.
    std::map<std::string, std::string> gatekeeper_hosts;
};

/// Where things are by default: the system's folders for the system user `volary`, XDG folders for
/// everybody else (https://specifications.freedesktop.org/basedir-spec/).
struct Places {
    std::string config_file;
    std::string state;
    std::string socket;
};
Places default_places();

/// Reads the TOML file `path`. Throws Error{invalid} whose details are all problems, each with
/// "file:line:column: key: what was expected", or Error{not_found} when it cannot be read.
Config load_config(const std::filesystem::path& path);

}  // namespace volary::app
