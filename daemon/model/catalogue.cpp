// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/catalogue.hpp"

#include "base/error.hpp"
#include "daemon/model/script.hpp"

#include <fmt/format.h>

namespace volary::model {

const Target* Catalogue::find(std::string_view alias) const {
    const auto found = aliases.find(alias);
    return found == aliases.end() ? nullptr : &found->second;
}

std::vector<std::string> Catalogue::check() const {
    std::vector<std::string> problems;
    for (const auto& [alias, target] : aliases) {
        if (alias.empty()) problems.emplace_back("a model alias is empty");
        try {
            (void)load_script(target.script);
        } catch (const Error& e) {
            const auto& details = e.details();
            for (const auto& detail : details)
                problems.push_back(fmt::format("model alias \"{}\": {}", alias, detail));
            if (details.empty())
                problems.push_back(fmt::format("model alias \"{}\": {}", alias, e.what()));
        }
    }
    return problems;
}

Catalogue Catalogue::from_replay_folder(const std::filesystem::path& folder) {
    std::error_code failure;
    std::filesystem::directory_iterator entries(folder, failure);
    if (failure)
        throw Error(
            Errc::not_found,
            fmt::format("replay folder \"{}\": {}", folder.string(), failure.message())
        );
    Catalogue catalogue;
    for (const auto& entry : entries) {
        if (entry.path().extension() != ".json") continue;
        catalogue.aliases[entry.path().stem().string()] = {Provider::replay, entry.path()};
    }
    return catalogue;
}

}  // namespace volary::model
