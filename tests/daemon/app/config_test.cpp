// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/config.hpp"

#include "base/error.hpp"
#include "tests/support/loop.hpp"

#include <catch2/catch.hpp>
#include <fmt/format.h>

using namespace volary;
using namespace volary::app;

namespace {

struct Fixture {
    test::TempFolder folder;

    Config load(std::string_view text) { return load_config(folder.write("config.toml", text)); }

    /// The refusal of a config; its places are relative to the folder.
    struct Refusal {
        Errc code = Errc::internal;
        std::string message;
        std::vector<std::string> details;
    };
    Refusal refused(std::string_view text) {
        try {
            (void)load(text);
        } catch (const Error& error) {
            Refusal out{error.code(), error.message(), {}};
            const auto prefix = folder.path() + "/";
            for (const auto& detail : error.details()) {
                REQUIRE(detail.starts_with(prefix));
                out.details.push_back(detail.substr(prefix.size()));
            }
            return out;
        }
        FAIL("the config was taken");
        return {};
    }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "a whole config is read", "[app]") {
    const auto config = load(R"(
listen = ["127.0.0.1:8420", "unix:/run/volary/volary.sock"]
state = "/var/lib/volary/state"
hosts = "volary.example:443"

[replay]
dir = "/srv/replay"

[models.smart]
provider = "replay"
script = "primary"

[models.fast]
provider = "replay"
script = "/srv/other/scraper"

[gatekeeper.hosts]
"shop.example" = "127.0.0.1"
)");
    CHECK(
        config.listen == std::vector<std::string>{"127.0.0.1:8420", "unix:/run/volary/volary.sock"}
    );
    CHECK(config.state == "/var/lib/volary/state");
    CHECK(config.hosts == std::vector<std::string>{"volary.example:443"});
    CHECK(config.models.find("smart")->script == "/srv/replay/primary.json");
    CHECK(config.models.find("fast")->script == "/srv/other/scraper.json");
    CHECK(config.gatekeeper_hosts.at("shop.example") == "127.0.0.1");
}

TEST_CASE_METHOD(Fixture, "an empty config is a good one", "[app]") {
    const auto config = load("");
    CHECK(config.listen.empty());
    CHECK(config.models.aliases.empty());
}

TEST_CASE_METHOD(Fixture, "an unknown key is refused with its place and the known ones", "[app]") {
    const auto refusal = refused("state = \"/x\"\nlissen = \"127.0.0.1:1\"\n");
    CHECK(refusal.code == Errc::invalid);
    REQUIRE(refusal.details.size() == 1);
    CHECK_THAT(refusal.details[0], Catch::StartsWith("config.toml:2:"));
    CHECK_THAT(refusal.details[0], Catch::Contains("lissen: unknown key"));
    CHECK_THAT(refusal.details[0], Catch::Contains("listen") && Catch::Contains("gatekeeper"));
}

TEST_CASE_METHOD(Fixture, "unknown keys of tables are named with their table", "[app]") {
    const auto refusal = refused(R"([replay]
folder = "/x"
[gatekeeper]
names = 1
[models.smart]
provider = "replay"
script = "/x/y"
temperature = 1
)");
    REQUIRE(refusal.details.size() == 3);
    const auto all = fmt::format("{}", fmt::join(refusal.details, "\n"));
    CHECK_THAT(all, Catch::Contains("config.toml:2:10: replay.folder: unknown key"));
    CHECK_THAT(all, Catch::Contains("gatekeeper.names: unknown key"));
    CHECK_THAT(all, Catch::Contains("models.smart.temperature: unknown key"));
}

TEST_CASE_METHOD(Fixture, "a value of the wrong type says what it must be", "[app]") {
    const auto [text, place, words] = GENERATE(table<std::string, std::string, std::string>({
        {"listen = 7", "config.toml:1:10: listen", "a string or a list of strings"},
        {"listen = [\"a\", 7]", "config.toml:1:16: listen", "must be a string"},
        {"hosts = true", "config.toml:1:9: hosts", "a string or a list of strings"},
        {"state = 1", "config.toml:1:9: state", "must be a string"},
        {"replay = 1", "config.toml:1:10: replay", "must be a table"},
        {"models = []", "config.toml:1:10: models", "must be a table"},
        {"models.smart = 1", "models.smart", "must be a table with provider and script"},
        {"gatekeeper = 1", "config.toml:1:14: gatekeeper", "must be a table"},
        {"gatekeeper.hosts = 1", "hosts", "must be a table"},
        {"gatekeeper.hosts.a = 1", "gatekeeper.hosts", "\"name\" = \"address\""},
    }));
    CAPTURE(text);
    const auto refusal = refused(text);
    CHECK(refusal.code == Errc::invalid);
    REQUIRE(refusal.details.size() == 1);
    CHECK_THAT(refusal.details[0], Catch::Contains(place) && Catch::Contains(words));
}

TEST_CASE_METHOD(Fixture, "a model needs a provider that there is, and a script", "[app]") {
    auto refusal = refused("[models.smart]\nprovider = \"oracle\"\nscript = \"/x/y\"\n");
    REQUIRE(refusal.details.size() == 1);
    CHECK_THAT(
        refusal.details[0], Catch::Contains("models.smart.provider: \"oracle\" is not there")
    );
    refusal = refused("[models.smart]\nprovider = \"replay\"\nscript = \"y\"\n");
    REQUIRE(refusal.details.size() == 1);
    CHECK_THAT(refusal.details[0], Catch::Contains("needs [replay] dir, or an absolute path"));
    refusal = refused("[replay]\ndir = \"/x\"\n[models.smart]\nprovider = \"replay\"\n");
    REQUIRE(refusal.details.size() == 1);
    CHECK_THAT(refusal.details[0], Catch::Contains("models.smart.script: required string"));
}

TEST_CASE_METHOD(Fixture, "all problems are told at once, the first in the message", "[app]") {
    const auto refusal = refused("state = 1\nlisten = 2\nother = 3\n");
    CHECK(refusal.details.size() == 3);
    CHECK_THAT(refusal.message, Catch::Contains("has 3 problems"));
}

TEST_CASE_METHOD(Fixture, "broken TOML is refused with line and column", "[app]") {
    const auto refusal = refused("state = \"/x\"\nlisten = [\n");
    CHECK(refusal.code == Errc::invalid);
    CHECK_THAT(refusal.message, Catch::Contains("config.toml:") && Catch::Contains(":"));
}

TEST_CASE_METHOD(Fixture, "a config that is not there is told by its name", "[app]") {
    const auto path = folder.path() + "/none.toml";
    CHECK_THROWS_WITH(load_config(path), Catch::Contains(path));
    CHECK_THROWS_WITH(load_config(folder.path()), Catch::Contains("no such file"));
}

TEST_CASE("the places follow the environment of an ordinary user", "[app]") {
    const auto places = default_places();
    for (const auto& path : {places.config_file, places.state, places.socket})
        CHECK(path.starts_with('/'));
    CHECK(places.config_file.ends_with("volary/config.toml"));
    CHECK(places.socket.ends_with("volary.sock"));
}
