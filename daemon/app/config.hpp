// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/ceiling.hpp"
#include "base/credential.hpp"
#include "daemon/model/catalogue.hpp"

#include <filesystem>
#include <map>
#include <optional>
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
    /// `[gatekeeper]`: what one cage may have of the network; absent: the gatekeeper's defaults.
    struct NetworkShare {
        std::optional<std::uint32_t> connections;  ///< open at once
        std::optional<std::uint32_t> connections_per_second;
        std::optional<std::uint32_t> dns_per_second;
        std::optional<ByteCount> bytes;  ///< both ways, for the life of the cage
        std::optional<ByteCount> bytes_per_second;
    } network_share;
    /// `[cages]`: how long a cage goes on when its daemon has died.
    std::chrono::seconds orphan_ttl{3600};
    /// `[ceiling]`, and in it which credentials projects may name.
    CageCeiling ceiling;
    std::map<std::string, Credential> credentials;  ///< by name
    std::optional<UpstreamProxy> proxy;
    Secret proxy_authorization;  ///< the whole header value; empty: none
    std::string ca_file;         ///< PEM, added to the system's CAs; empty: none
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
/// "file:line:column: key: what was expected", or Error{not_found} when it cannot be read. The
/// files of credentials that it names are read, too.
Config load_config(const std::filesystem::path& path);

}  // namespace volary::app
