// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/places.hpp"

#include "cage/layers.hpp"

#include <cstdlib>
#include <filesystem>

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::agent;

TEST_CASE("homes and layers go by session, and by project when they are kept", "[agent]") {
    std::string top = (std::filesystem::temp_directory_path() / "volary-places-XXXXXX").string();
    REQUIRE(::mkdtemp(top.data()) != nullptr);
    const auto homes = top + "/homes";
    const auto layers = top + "/layers";
    PlaceKey key{SessionId("ses_1"), "/p/x", "primary/scraper", CageState::ephemeral};
    CHECK(home_place(homes, key).empty());
    key.agent = "primary";
    CHECK(home_place(homes, key) == homes + "/ses_1");
    key.state = CageState::kept;
    CHECK(home_place(homes, key) == homes + "/kept/%2fp%2fx/primary");
    CHECK(layers_place(layers, key) == layers + "/kept/%2fp%2fx/primary/1");
    key.state = CageState::ephemeral;
    const auto first = layers_place(layers, key);
    CHECK(first == layers + "/ses_1/primary/1");
    CHECK(layers_place(layers, key) == first);
    {
        // A second cage of the same agent has layers of its own.
        const auto used = cage::LayersFolder::open(first);
        CHECK(layers_place(layers, key) == layers + "/ses_1/primary/2");
    }
    CHECK(layers_places(layers, key).size() == 2);
    for (const auto& folder : {homes, layers, layers + "/kept", first})
        CHECK(std::filesystem::status(folder).permissions() == std::filesystem::perms::owner_all);
    cage::remove_tree(top);
}
