// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/config.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <cstdlib>
#include <pwd.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <fmt/format.h>

namespace volary::app {
namespace {

std::string from_environment(const char* name, const std::string& fallback) {
    const char* value = std::getenv(name);
    return value != nullptr && *value == '/' ? std::string(value) : fallback;
}

/// Root is one too: the daemon that it starts becomes the system user.
bool is_system_user() {
    if (::geteuid() == 0) return true;
    const auto* user = ::getpwuid(::geteuid());
    return user != nullptr && std::string_view(user->pw_name) == "volary";
}

/// Collects problems with their place in the file.
class Reader {
public:
    Reader(std::string file, const toml::table& root) : file_(std::move(file)), root_(root) {}

    void problem(const toml::node& at, std::string_view key, std::string_view what) {
        const auto& begin = at.source().begin;
        problems_.push_back(
            fmt::format("{}:{}:{}: {}: {}", file_, begin.line, begin.column, key, what)
        );
    }

    void only(
        const toml::table& table, std::string_view where, std::vector<std::string_view> known
    ) {
        for (const auto& [key, node] : table) {
            if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
            const auto name =
                where.empty() ? std::string(key.str()) : fmt::format("{}.{}", where, key.str());
            problem(node, name, fmt::format("unknown key; known are {}", fmt::join(known, ", ")));
        }
    }

    std::vector<std::string> strings(std::string_view key) {
        std::vector<std::string> out;
        const auto* node = root_.get(key);
        if (node == nullptr) return out;
        if (node->is_string()) return {node->value_or(std::string())};
        const auto* list = node->as_array();
        if (list == nullptr) {
            problem(*node, key, "must be a string or a list of strings");
            return out;
        }
        for (const auto& item : *list) {
            if (item.is_string())
                out.push_back(item.value_or(std::string()));
            else
                problem(item, key, "must be a string");
        }
        return out;
    }

    std::string string(const toml::table& table, std::string_view where, std::string_view key) {
        const auto name = where.empty() ? std::string(key) : fmt::format("{}.{}", where, key);
        const auto* node = table.get(key);
        if (node == nullptr) return {};
        if (!node->is_string()) problem(*node, name, "must be a string");
        return node->value_or(std::string());
    }

    const toml::table* table(const toml::table& in, std::string_view key) {
        const auto* node = in.get(key);
        if (node == nullptr) return nullptr;
        if (!node->is_table()) problem(*node, key, "must be a table");
        return node->as_table();
    }

    void finish() const {
        if (problems_.empty()) return;
        // One problem is the message; several are listed below one line that counts them.
        const auto message =
            problems_.size() == 1
                ? problems_.front()
                : fmt::format("the config \"{}\" has {} problems", file_, problems_.size());
        Error error(Errc::invalid, message);
        throw error.with_details(problems_);
    }

private:
    std::string file_;
    const toml::table& root_;
    std::vector<std::string> problems_;
};

std::string replay_folder(Reader& reader, const toml::table& root) {
    const auto* replay = reader.table(root, "replay");
    if (replay == nullptr) return {};
    reader.only(*replay, "replay", {"dir"});
    return reader.string(*replay, "replay", "dir");
}

void read_models(Reader& reader, const toml::table& root, model::Catalogue& models) {
    const auto folder = replay_folder(reader, root);
    const auto* aliases = reader.table(root, "models");
    if (aliases == nullptr) return;
    for (const auto& [alias, node] : *aliases) {
        const auto where = fmt::format("models.{}", alias.str());
        const auto* entry = node.as_table();
        if (entry == nullptr) {
            reader.problem(node, where, "must be a table with provider and script");
            continue;
        }
        reader.only(*entry, where, {"provider", "script"});
        const auto provider = reader.string(*entry, where, "provider");
        const auto script = reader.string(*entry, where, "script");
        if (const auto* given = entry->get("provider"); given == nullptr)
            reader.problem(node, where + ".provider", "required string: \"replay\"");
        else if (given->is_string() && provider != "replay")
            reader.problem(
                *given, where + ".provider",
                fmt::format("\"{}\" is not there; the one that there is: \"replay\"", provider)
            );
        if (script.empty())
            reader.problem(node, where + ".script", "required string");
        else if (folder.empty() && !script.starts_with('/'))
            reader.problem(node, where + ".script", "needs [replay] dir, or an absolute path");
        const std::filesystem::path file = std::filesystem::path(folder) / (script + ".json");
        models.aliases[std::string(alias.str())] = {model::Provider::replay, file};
    }
}

void read_gatekeeper(Reader& reader, const toml::table& root, Config& config) {
    const auto* gatekeeper = reader.table(root, "gatekeeper");
    if (gatekeeper == nullptr) return;
    reader.only(*gatekeeper, "gatekeeper", {"hosts"});
    const auto* hosts = reader.table(*gatekeeper, "hosts");
    if (hosts == nullptr) return;
    for (const auto& [name, node] : *hosts) {
        if (!node.is_string())
            reader.problem(
                node, fmt::format("gatekeeper.hosts.{}", name.str()),
                "must be \"name\" = \"address\""
            );
        config.gatekeeper_hosts[std::string(name.str())] = node.value_or(std::string());
    }
}

}  // namespace

Places default_places() {
    if (is_system_user())
        return {"/etc/volary/config.toml", "/var/lib/volary/state", "/run/volary/volary.sock"};
    const auto home = from_environment("HOME", "/");
    const auto config = from_environment("XDG_CONFIG_HOME", home + "/.config");
    const auto state = from_environment("XDG_STATE_HOME", home + "/.local/state");
    const auto runtime =
        from_environment("XDG_RUNTIME_DIR", fmt::format("/tmp/volary-{}", ::getuid()));
    const bool own = runtime.starts_with("/tmp/volary-");
    return {
        config + "/volary/config.toml", state + "/volary/state",
        own ? runtime + "/volary.sock" : runtime + "/volary/volary.sock"
    };
}

Config load_config(const std::filesystem::path& path) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error))
        throw Error(
            Errc::not_found, fmt::format("open the config \"{}\": no such file", path.string())
        );
    toml::table root;
    try {
        root = toml::parse_file(path.string());
    } catch (const toml::parse_error& e) {
        const auto& begin = e.source().begin;
        throw Error(
            Errc::invalid,
            fmt::format("{}:{}:{}: {}", path.string(), begin.line, begin.column, e.description())
        );
    }
    Config config;
    Reader reader(path.string(), root);
    reader.only(root, "", {"listen", "state", "hosts", "models", "replay", "gatekeeper"});
    config.listen = reader.strings("listen");
    config.hosts = reader.strings("hosts");
    config.state = reader.string(root, "", "state");
    read_models(reader, root, config.models);
    read_gatekeeper(reader, root, config);
    reader.finish();
    return config;
}

}  // namespace volary::app
