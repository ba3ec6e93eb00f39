// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/config.hpp"

#include "base/error.hpp"
#include "tests/support/loop.hpp"

#include <filesystem>
#include <sys/stat.h>

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

[gatekeeper]
connections = 64
connections_per_second = 20
dns_per_second = 50
bytes = "10G"
bytes_per_second = "2M"

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
    CHECK(config.network_share.connections == 64);
    CHECK(config.network_share.connections_per_second == 20);
    CHECK(config.network_share.dns_per_second == 50);
    CHECK(config.network_share.bytes->value == 10LL * 1024 * 1024 * 1024);
    CHECK(config.network_share.bytes_per_second->value == 2U * 1024 * 1024);
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
        {"[gatekeeper]\nconnections = 0", "config.toml:2:15: gatekeeper.connections", "above 0"},
        {"gatekeeper.connections_per_second = \"2K\"", "connections_per_second", "whole number"},
        {"gatekeeper.dns_per_second = -1", "gatekeeper.dns_per_second", "whole number"},
        {"gatekeeper.bytes = \"much\"", "config.toml:1:20: gatekeeper.bytes", "such as \"2G\""},
    }));
    CAPTURE(text);
    const auto refusal = refused(text);
    CHECK(refusal.code == Errc::invalid);
    REQUIRE(refusal.details.size() == 1);
    CHECK_THAT(refusal.details[0], Catch::Contains(place) && Catch::Contains(words));
}

TEST_CASE_METHOD(Fixture, "the ceiling is read key by key", "[app]") {
    const auto ceiling = load(R"(
[ceiling]
memory = "4G"
swap = 1048576
cpu = 2
pids = 256
wall = "1h"
disk = "2G"
files = "1024"
output = "1M"
net = ["*.example.com:443", "10.0.0.0/8:5432"]
private = false
devices = ["/dev/kvm"]
seccomp_relaxed = false
seccomp_add = ["bpf"]
disabled = false
backends = ["bwrap", "native"]
)")
                             .ceiling;
    CHECK(ceiling.limits.memory == ByteCount{std::uint64_t{4} << 30U});
    CHECK(ceiling.limits.swap == ByteCount{1048576});
    CHECK(ceiling.limits.cpu == 2.0);
    CHECK(ceiling.limits.pids == 256U);
    CHECK(ceiling.limits.wall == std::chrono::hours(1));
    CHECK(ceiling.limits.disk == ByteCount{std::uint64_t{2} << 30U});
    CHECK(ceiling.limits.files == 1024U);
    CHECK(ceiling.limits.output == ByteCount{std::uint64_t{1} << 20U});
    REQUIRE(ceiling.net);
    CHECK(ceiling.net->at(0).kind == NetRule::Kind::wildcard);
    CHECK(ceiling.net->at(1).host == "10.0.0.0/8");
    CHECK_FALSE(ceiling.private_allowed);
    CHECK(ceiling.devices == std::vector<std::string>{"/dev/kvm"});
    CHECK_FALSE(ceiling.relaxed_allowed);
    CHECK(ceiling.seccomp_add == std::vector<std::string>{"bpf"});
    CHECK_FALSE(ceiling.disabled_allowed);
    CHECK(ceiling.backends == std::vector{CageBackend::bwrap, CageBackend::native});
}

TEST_CASE_METHOD(Fixture, "without a ceiling only devices and credentials are bounded", "[app]") {
    CageCeiling expected;
    expected.credentials.emplace();
    CHECK(load("").ceiling == expected);
}

TEST_CASE_METHOD(Fixture, "credentials are read from files, and say where they may go", "[app]") {
    const auto file = folder.write("key", "s3cret\n");
    REQUIRE(::chmod(file.c_str(), 0600) == 0);
    const auto config = load(fmt::format(
        R"(
[ceiling]
credentials = ["github"]
[credentials.github]
prefix = "Bearer "
file = "{0}"
hosts = ["api.github.com:443", "*.githubusercontent.com"]
[credentials.other]
header = "x-api-key"
file = "{0}"
hosts = "other.example"
[proxy]
url = "https://proxy.example:8443/"
no = ["intern.example", ".lan"]
authorization_file = "{0}"
[tls]
ca = "{0}"
)",
        file
    ));
    const auto& github = config.credentials.at("github");
    CHECK(github.header == "authorization");
    CHECK(github.value.reveal() == "Bearer s3cret");
    REQUIRE(github.hosts.size() == 2);
    CHECK(github.hosts[1].host == "githubusercontent.com");
    CHECK(config.credentials.at("other").header == "x-api-key");
    CHECK(config.credentials.at("other").value.reveal() == "s3cret");
    // Projects may name the one that the ceiling lists.
    REQUIRE(config.ceiling.credentials);
    CHECK(config.ceiling.credentials->size() == 1);
    CHECK(config.ceiling.credentials->at("github") == github.hosts);
    REQUIRE(config.proxy);
    CHECK(config.proxy->tls);
    CHECK(config.proxy->host == "proxy.example");
    CHECK(config.proxy->port == 8443);
    CHECK(config.proxy->except == std::vector<std::string>{"intern.example", ".lan"});
    CHECK(config.proxy_authorization.reveal() == "s3cret");
    CHECK(config.ca_file == file);
}

TEST_CASE_METHOD(Fixture, "a secret that others may read is refused", "[app]") {
    const auto file = folder.write("key", "s3cret");
    const auto text = fmt::format(
        "[credentials.a]\nfile = \"{}\"\nhosts = [\"a.com\"]\n[credentials.b]\nvalue = \"x\"\n"
        "hosts = [\"b.com\"]\n",
        file
    );
    for (const auto mode : {0644U, 0640U, 0604U, 0620U}) {
        REQUIRE(::chmod(file.c_str(), mode) == 0);
        const auto refusal = refused(text);
        REQUIRE(refusal.details.size() == 2);
        CHECK_THAT(refusal.details[0], Catch::StartsWith("config.toml:2:8: credentials.a.file: "));
        CHECK_THAT(refusal.details[0], Catch::Contains("group or others may use it"));
        CHECK_THAT(
            refusal.details[1], Catch::StartsWith("config.toml:5:9: credentials.b.value: everybody")
        );
        CHECK_THAT(refusal.details[0] + refusal.details[1], !Catch::Contains("s3cret"));
    }
    REQUIRE(::chmod(file.c_str(), 0600) == 0);
    const auto config = folder.write("config.toml", text);
    REQUIRE(::chmod(config.c_str(), 0640) == 0);
    CHECK(load_config(config).credentials.at("b").value.reveal() == "x");
    std::filesystem::create_symlink(file, folder.path() + "/link");
    CHECK(
        refused(
            fmt::format("[credentials.a]\nfile = \"{}/link\"\nhosts = \"a.com\"\n", folder.path())
        )
            .details.size() == 1
    );
    const auto lines = folder.write("lines", "a\nb\n");
    REQUIRE(::chmod(lines.c_str(), 0600) == 0);
    CHECK_THAT(
        refused(fmt::format("[credentials.a]\nfile = \"{}\"\nhosts = \"a.com\"\n", lines))
            .details.at(0),
        Catch::Contains("a second line")
    );
}

TEST_CASE_METHOD(Fixture, "what bounds cages is refused with its place", "[app]") {
    const auto [text, place, words] = GENERATE(table<std::string, std::string, std::string>({
        {"[ceiling]\nmemry = 1", "config.toml:2:9: ceiling.memry", "unknown key"},
        {"[ceiling]\nmemory = \"lots\"", "config.toml:2:10: ceiling.memory", "a size such as"},
        {"[ceiling]\nswap = -1", "config.toml:2:8: ceiling.swap", "a size such as"},
        {"[ceiling]\nwall = 10", "config.toml:2:8: ceiling.wall", "a time such as"},
        {"[ceiling]\npids = \"2K\"", "config.toml:2:8: ceiling.pids", "a whole number"},
        {"[ceiling]\nfiles = 0", "config.toml:2:9: ceiling.files", "a whole number"},
        {"[ceiling]\ncpu = \"x\"", "config.toml:2:7: ceiling.cpu", "a number of CPUs"},
        {"[ceiling]\ncpu = 0", "config.toml:2:7: ceiling.cpu", "a number of CPUs"},
        {"[ceiling]\nprivate = 1", "config.toml:2:11: ceiling.private", "true or false"},
        {"[ceiling]\nnet = [\"a.com\", \"b.com:0\"]", "config.toml:2:17: ceiling.net", "1 to 65535"
        },
        {"[ceiling]\ndevices = \"kvm\"", "config.toml:2:11: ceiling.devices", "a path in /dev"},
        {"[ceiling]\nbackends = [\"docker\"]", "config.toml:2:13: ceiling.backends", "bwrap, native"
        },
        {"[ceiling]\ncredentials = [\"x\"]", "ceiling.credentials", "no [credentials.x]"},
        {"credentials = 1", "config.toml:1:15: credentials", "must be a table"},
        {"credentials.a = 1", "credentials.a", "must be a table"},
        {"[credentials.a]\nhosts = \"a.com\"", "credentials.a", "either file or value"},
        {"[credentials.a]\nfile = \"key\"\nhosts = \"a.com\"", "credentials.a.file", "absolute path"
        },
        {"[credentials.a]\nfile = \"/nowhere/x\"\nhosts = \"a.com\"", "config.toml:2:8",
         "No such file"},
        {"[proxy]\nurl = \"proxy:80\"", "config.toml:2:7: proxy.url", "http://host:port"},
        {"[proxy]\nurl = \"http://u:p@proxy:80\"", "proxy.url", "http://host:port"},
        {"[proxy]\nurl = \"http://proxy\"", "proxy.url", "http://host:port"},
        {"[proxy]\nurl = \"http://proxy:0\"", "proxy.url", "http://host:port"},
        {"[proxy]\nno = []", "proxy.url", "http://host:port"},
        {"[tls]\nca = \"/nowhere.pem\"", "config.toml:2:6: tls.ca", "a PEM file that is there"},
        {"[tls]\ncert = 1", "tls.cert", "unknown key"},
    }));
    CAPTURE(text);
    const auto refusal = refused(text);
    REQUIRE(refusal.details.size() == 1);
    CHECK_THAT(refusal.details[0], Catch::Contains(place) && Catch::Contains(words));
}

TEST_CASE_METHOD(Fixture, "a credential has a header of its own and goes to names", "[app]") {
    const auto file = folder.write("key", "s3cret");
    REQUIRE(::chmod(file.c_str(), 0600) == 0);
    const auto with = [&](const std::string& more) {
        return refused(fmt::format("[credentials.a]\nfile = \"{}\"\n{}\n", file, more));
    };
    CHECK_THAT(with("").message, Catch::Contains("credentials.a.hosts: required list"));
    CHECK_THAT(with("hosts = [\"8.8.8.8\"]").message, Catch::Contains("is no name"));
    CHECK_THAT(with("hosts = [\"host.volary:1\"]").message, Catch::Contains("is no name"));
    for (const auto* header : {"", "a b", "Host", "content-length", "Transfer-Encoding", "a:b"})
        CHECK_THAT(
            with(fmt::format("header = \"{}\"\nhosts = \"a.com\"", header)).message,
            Catch::Contains("credentials.a.header: expected a header's name")
        );
    CHECK_THAT(
        with("prefix = \"a\\n\"\nhosts = \"a.com\"").message,
        Catch::Contains("credentials.a.prefix")
    );
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
