// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/privileges.hpp"

#include <catch2/catch.hpp>

using namespace volary::app;

namespace {

std::vector<std::string> paths(const std::vector<OwnFolder>& folders) {
    std::vector<std::string> out;
    for (const auto& folder : folders) out.push_back(folder.path);
    return out;
}

using Paths = std::vector<std::string>;

}  // namespace

TEST_CASE("root makes the folders of a daemon for the whole host", "[privileges]") {
    const auto folders =
        folders_for("/var/lib/volary/state", {"127.0.0.1:8420", "unix:/run/volary/volary.sock"});
    CHECK(paths(folders) == Paths{"/var/lib/volary", "/var/lib/volary/state", "/run/volary"});
    // Sessions are private; the socket's folder is for the group too.
    CHECK(folders[1].mode == 0700);
    CHECK(folders[2].mode == 0750);
}

TEST_CASE("root gives away no folder that others use", "[privileges]") {
    CHECK(paths(folders_for("/srv/state", {"unix:/run/v.sock"})) == Paths{"/srv/state"});
    CHECK(paths(folders_for("/srv/state", {"unix:/tmp/v.sock"})) == Paths{"/srv/state"});
    CHECK(paths(folders_for("/var/lib/volary", {})) == Paths{"/var/lib/volary"});
    CHECK(paths(folders_for("", {})).empty());
}
