// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/config.hpp"

#include "base/error.hpp"
#include "base/units.hpp"
#include "daemon/app/outward.hpp"
#include "daemon/app/secret_file.hpp"
#include "dsl/net_rule.hpp"

#include <algorithm>
#include <cstdlib>
#include <pwd.h>
#include <sys/stat.h>
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
            problem(
                node, name_of(where, key.str()),
                fmt::format("unknown key; known are {}", fmt::join(known, ", "))
            );
        }
    }

    /// Text or a list of texts, the empty list where there is none.
    std::vector<std::string> strings(
        const toml::table& table, std::string_view where, std::string_view key
    ) {
        std::vector<std::string> out;
        const auto name = name_of(where, key);
        const auto* node = table.get(key);
        if (node == nullptr) return out;
        if (node->is_string()) return {node->value_or(std::string())};
        const auto* list = node->as_array();
        if (list == nullptr) {
            problem(*node, name, "must be a string or a list of strings");
            return out;
        }
        for (const auto& item : *list) {
            if (item.is_string())
                out.push_back(item.value_or(std::string()));
            else
                problem(item, name, "must be a string");
        }
        return out;
    }
    std::vector<std::string> strings(std::string_view key) { return strings(root_, "", key); }

    /// The place of the i-th text that strings() found.
    static const toml::node& item(const toml::table& table, std::string_view key, std::size_t i) {
        const auto& node = *table.get(key);
        const auto* list = node.as_array();
        if (list == nullptr) return node;
        for (const auto& each : *list)
            if (each.is_string() && i-- == 0) return each;
        return node;
    }

    std::vector<NetRule> rules(
        const toml::table& table, std::string_view where, std::string_view key
    ) {
        std::vector<NetRule> out;
        const auto texts = strings(table, where, key);
        for (std::size_t i = 0; i < texts.size(); ++i) {
            auto rule = dsl::parse_net_rule(texts[i]);
            if (rule) {
                out.push_back(std::move(*rule));
                continue;
            }
            const auto& [message, hint] = rule.error();
            const auto more = hint.empty() ? std::string() : fmt::format(" ({})", hint);
            problem(item(table, key, i), name_of(where, key), message + more);
        }
        return out;
    }

    /// True, false, or `otherwise` where there is none.
    bool flag(
        const toml::table& table, std::string_view where, std::string_view key, bool otherwise
    ) {
        const auto* node = table.get(key);
        if (node == nullptr) return otherwise;
        if (!node->is_boolean()) problem(*node, name_of(where, key), "must be true or false");
        return node->value_or(otherwise);
    }

    static std::string name_of(std::string_view where, std::string_view key) {
        return where.empty() ? std::string(key) : fmt::format("{}.{}", where, key);
    }

    std::string string(const toml::table& table, std::string_view where, std::string_view key) {
        const auto* node = table.get(key);
        if (node == nullptr) return {};
        if (!node->is_string()) problem(*node, name_of(where, key), "must be a string");
        return node->value_or(std::string());
    }

    const toml::table* table(const toml::table& in, std::string_view key) {
        const auto* node = in.get(key);
        if (node == nullptr) return nullptr;
        if (!node->is_table()) problem(*node, key, "must be a table");
        return node->as_table();
    }

    /// The config itself: a secret in it would be everybody's.
    bool is_world_readable() const {
        struct stat info{};
        return ::stat(file_.c_str(), &info) != 0 || (info.st_mode & S_IROTH) != 0;
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

/// `parse` takes the text of a string, or of a whole number, and gives an optional.
template <class T, class Parse>
void read_limit(
    Reader& reader, const toml::table& table, std::string_view where, std::string_view key,
    std::optional<T>& out, std::string_view expected, const Parse& parse
) {
    const auto* node = table.get(key);
    if (node == nullptr) return;
    auto text = node->value_or(std::string());
    if (const auto number = node->value<std::int64_t>(); number && node->is_integer())
        text = std::to_string(*number);
    out = parse(text);
    if (!out)
        reader.problem(*node, Reader::name_of(where, key), fmt::format("expected {}", expected));
}

constexpr std::string_view kSize = "a size such as \"2G\"";
constexpr std::string_view kCount = "a whole number above 0";

std::optional<std::uint32_t> parse_count(const std::string& text) {
    const auto value = parse_size(text);
    const bool digits = text.find_first_not_of("0123456789") == std::string::npos;
    if (!value || !digits || value->value > UINT32_MAX) return std::nullopt;
    return static_cast<std::uint32_t>(value->value);
}

void read_network_share(Reader& reader, const toml::table& table, Config::NetworkShare& share) {
    const auto count = [&](std::string_view key, std::optional<std::uint32_t>& out) {
        read_limit(reader, table, "gatekeeper", key, out, kCount, parse_count);
    };
    count("connections", share.connections);
    count("connections_per_second", share.connections_per_second);
    count("dns_per_second", share.dns_per_second);
    read_limit(reader, table, "gatekeeper", "bytes", share.bytes, kSize, parse_size);
    auto& rate = share.bytes_per_second;
    read_limit(reader, table, "gatekeeper", "bytes_per_second", rate, kSize, parse_size);
}

void read_gatekeeper(Reader& reader, const toml::table& root, Config& config) {
    const auto* gatekeeper = reader.table(root, "gatekeeper");
    if (gatekeeper == nullptr) return;
    reader.only(
        *gatekeeper, "gatekeeper",
        {"hosts", "connections", "connections_per_second", "dns_per_second", "bytes",
         "bytes_per_second"}
    );
    read_network_share(reader, *gatekeeper, config.network_share);
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

void read_cages(Reader& reader, const toml::table& root, Config& config) {
    const auto* cages = reader.table(root, "cages");
    if (cages == nullptr) return;
    reader.only(*cages, "cages", {"orphan_ttl"});
    std::optional<std::chrono::milliseconds> ttl;
    constexpr std::string_view kTime = "a time such as \"1h\"";
    read_limit(reader, *cages, "cages", "orphan_ttl", ttl, kTime, parse_duration);
    if (ttl) config.orphan_ttl = std::chrono::duration_cast<std::chrono::seconds>(*ttl);
}

constexpr std::string_view kCeiling = "ceiling";

void read_ceiling_limits(Reader& reader, const toml::table& table, CageLimits& limits) {
    const auto read = [&](std::string_view key, auto& out, std::string_view expected, auto parse) {
        read_limit(reader, table, kCeiling, key, out, expected, parse);
    };
    read("memory", limits.memory, kSize, parse_size);
    read("swap", limits.swap, kSize, parse_size);
    read("disk", limits.disk, kSize, parse_size);
    read("output", limits.output, kSize, parse_size);
    read("wall", limits.wall, "a time such as \"1h\"", parse_duration);
    read("pids", limits.pids, kCount, parse_count);
    read("files", limits.files, kCount, parse_count);
    if (const auto* cpu = table.get("cpu")) {
        limits.cpu = cpu->value<double>();
        if (!limits.cpu || !(*limits.cpu > 0))
            reader.problem(*cpu, "ceiling.cpu", "expected a number of CPUs such as 1.5");
    }
}

void read_ceiling(Reader& reader, const toml::table& root, Config& config) {
    const auto* table = reader.table(root, kCeiling);
    if (table == nullptr) return;
    reader.only(
        *table, kCeiling,
        {"memory", "swap", "cpu", "pids", "wall", "disk", "files", "output", "net", "private",
         "devices", "seccomp_relaxed", "seccomp_add", "disabled", "backends", "credentials"}
    );
    auto& ceiling = config.ceiling;
    read_ceiling_limits(reader, *table, ceiling.limits);
    if (table->contains("net")) ceiling.net = reader.rules(*table, kCeiling, "net");
    ceiling.private_allowed = reader.flag(*table, kCeiling, "private", true);
    ceiling.relaxed_allowed = reader.flag(*table, kCeiling, "seccomp_relaxed", true);
    ceiling.disabled_allowed = reader.flag(*table, kCeiling, "disabled", true);
    ceiling.devices = reader.strings(*table, kCeiling, "devices");
    for (std::size_t i = 0; i < ceiling.devices.size(); ++i) {
        if (ceiling.devices[i].starts_with("/dev/")) continue;
        reader.problem(
            Reader::item(*table, "devices", i), "ceiling.devices", "expected a path in /dev"
        );
    }
    if (table->contains("seccomp_add"))
        ceiling.seccomp_add = reader.strings(*table, kCeiling, "seccomp_add");
    if (!table->contains("backends")) return;
    const auto names = reader.strings(*table, kCeiling, "backends");
    ceiling.backends.emplace();
    for (std::size_t i = 0; i < names.size(); ++i) {
        bool known = false;
        for (const auto backend :
             {CageBackend::bwrap, CageBackend::native, CageBackend::podman, CageBackend::firejail
             }) {
            if (to_string(backend) != names[i]) continue;
            ceiling.backends->push_back(backend);
            known = true;
        }
        if (!known)
            reader.problem(
                Reader::item(*table, "backends", i), "ceiling.backends",
                "expected bwrap, native, podman or firejail"
            );
    }
}

/// The secret of a credential, from `file` or `value`.
Secret read_secret(Reader& reader, const toml::table& table, const std::string& where) {
    const auto* file = table.get("file");
    const auto* value = table.get("value");
    if ((file == nullptr) == (value == nullptr)) {
        reader.problem(table, where, "needs either file or value");
        return {};
    }
    if (file != nullptr) {
        auto secret = read_secret_file(reader.string(table, where, "file"));
        if (secret) return std::move(*secret);
        reader.problem(*file, where + ".file", secret.error());
        return {};
    }
    auto text = reader.string(table, where, "value");
    if (reader.is_world_readable())
        reader.problem(
            *value, where + ".value", "everybody may read this config: use file, or chmod 600 it"
        );
    else if (const auto problem = problem_of_secret(text); !problem.empty())
        reader.problem(*value, where + ".value", problem);
    return Secret(std::move(text));
}

Credential read_credential(Reader& reader, const toml::table& table, const std::string& where) {
    reader.only(table, where, {"header", "prefix", "file", "value", "hosts"});
    Credential out;
    out.header = table.contains("header") ? reader.string(table, where, "header") : "authorization";
    if (!may_carry_credential(out.header))
        reader.problem(*table.get("header"), where + ".header", "expected a header's name");
    const auto prefix = reader.string(table, where, "prefix");
    if (!prefix.empty() && !problem_of_secret(prefix + "x").empty())
        reader.problem(
            *table.get("prefix"), where + ".prefix", "expected text such as \"Bearer \""
        );
    out.value = Secret(prefix + read_secret(reader, table, where).reveal());
    out.hosts = reader.rules(table, where, "hosts");
    if (out.hosts.empty() && !table.contains("hosts"))
        reader.problem(
            table, where + ".hosts", "required list: the credential is sent nowhere else"
        );
    for (std::size_t i = 0; i < out.hosts.size(); ++i) {
        const auto kind = out.hosts[i].kind;
        if (kind == NetRule::Kind::name || kind == NetRule::Kind::wildcard) continue;
        reader.problem(
            table, where + ".hosts",
            fmt::format(
                "\"{}\" is no name: a certificate is checked against one", out.hosts[i].text
            )
        );
    }
    return out;
}

void read_credentials(Reader& reader, const toml::table& root, Config& config) {
    auto& known = config.ceiling.credentials.emplace();
    if (const auto* table = reader.table(root, "credentials")) {
        for (const auto& [name, node] : *table) {
            const auto where = fmt::format("credentials.{}", name.str());
            const auto* entry = node.as_table();
            if (entry == nullptr) {
                reader.problem(node, where, "must be a table with file and hosts");
                continue;
            }
            auto credential = read_credential(reader, *entry, where);
            known[std::string(name.str())] = credential.hosts;
            config.credentials[std::string(name.str())] = std::move(credential);
        }
    }
    const auto* ceiling = root.get_as<toml::table>(kCeiling);
    if (ceiling == nullptr || !ceiling->contains("credentials")) return;
    const auto names = reader.strings(*ceiling, kCeiling, "credentials");
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (known.contains(names[i])) continue;
        reader.problem(
            Reader::item(*ceiling, "credentials", i), "ceiling.credentials",
            fmt::format("there is no [credentials.{}]", names[i])
        );
    }
    std::erase_if(known, [&](const auto& each) {
        return std::ranges::find(names, each.first) == names.end();
    });
}

void read_outward(Reader& reader, const toml::table& root, Config& config) {
    if (const auto* table = reader.table(root, "proxy")) {
        reader.only(*table, "proxy", {"url", "no", "authorization_file"});
        config.proxy = parse_proxy(reader.string(*table, "proxy", "url"));
        const auto* url = table->get("url");
        if (!config.proxy)
            reader.problem(
                url == nullptr ? *table : *url, "proxy.url",
                "expected \"http://host:port\" or \"https://host:port\""
            );
        else
            config.proxy->except = reader.strings(*table, "proxy", "no");
        if (const auto* file = table->get("authorization_file")) {
            auto secret = read_secret_file(reader.string(*table, "proxy", "authorization_file"));
            if (secret)
                config.proxy_authorization = std::move(*secret);
            else
                reader.problem(*file, "proxy.authorization_file", secret.error());
        }
    }
    const auto* tls = reader.table(root, "tls");
    if (tls == nullptr) return;
    reader.only(*tls, "tls", {"ca"});
    config.ca_file = reader.string(*tls, "tls", "ca");
    std::error_code error;
    const auto* node = tls->get("ca");
    if (node != nullptr && (!config.ca_file.starts_with('/') ||
                            !std::filesystem::is_regular_file(config.ca_file, error)))
        reader.problem(*node, "tls.ca", "expected the absolute path of a PEM file that is there");
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
    reader.only(
        root, "",
        {"listen", "state", "hosts", "models", "replay", "gatekeeper", "cages", "ceiling",
         "credentials", "proxy", "tls"}
    );
    config.listen = reader.strings("listen");
    config.hosts = reader.strings("hosts");
    config.state = reader.string(root, "", "state");
    read_models(reader, root, config.models);
    read_gatekeeper(reader, root, config);
    read_cages(reader, root, config);
    read_ceiling(reader, root, config);
    read_credentials(reader, root, config);
    read_outward(reader, root, config);
    reader.finish();
    return config;
}

}  // namespace volary::app
