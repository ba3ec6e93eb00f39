// SPDX-License-Identifier: Apache-2.0
#include "dsl/contain.hpp"

#include <algorithm>
#include <set>
#include <vector>

#include <fmt/format.h>

namespace volary::dsl {
namespace {

constexpr std::string_view kWorkspace = "/workspace";
/// What narrowing may add to one cage: each is a mount. A real parent hides a handful of places.
constexpr std::size_t kMaxAdded = 128;

/// What a cage can do to a file of the project.
enum class Level { none, read, write };

/// One mount of a cage, as far as the project is concerned.
struct View {
    std::string source;  ///< relative to the project's root; "" is the root
    std::string target;  ///< absolute, in the cage
    Level level = Level::none;
    const BuiltCage::Place* place = nullptr;  ///< of the entry; null: the workspace itself
    /// Places of the project below `source` over which something else is mounted here; what lies
    /// in another of them is left out.
    std::vector<std::string> covered = {};
};

bool lies_in(std::string_view path, std::string_view folder) {
    if (folder.empty() || path == folder) return true;
    return path.starts_with(folder) && path[folder.size()] == '/';
}

std::string join(std::string_view folder, std::string_view rest) {
    if (rest.empty()) return std::string(folder);
    return folder.empty() ? std::string(rest) : fmt::format("{}/{}", folder, rest);
}

/// `path` from `folder` on; lies_in() holds.
std::string_view below(std::string_view path, std::string_view folder) {
    auto rest = path.substr(folder.size());
    if (rest.starts_with('/')) rest.remove_prefix(1);
    return rest;
}

Level level_of(FsMode mode) {
    switch (mode) {
        case FsMode::rw:
            return Level::write;
        case FsMode::ro:
        case FsMode::cow:  // What is written stays in the layer until the operator keeps it.
            return Level::read;
        case FsMode::tmp:
        case FsMode::hide:
            break;
    }
    return Level::none;
}

/// The folders of one cage. What a path of the project can be used for is the most that any mount
/// gives which shows it and is not itself mounted over there.
class Views {
public:
    explicit Views(const BuiltCage& cage) {
        const auto& policy = cage.policy;
        bool whole = false;
        for (std::size_t i = 0; i < policy.fs.size(); ++i) {
            const auto& rule = policy.fs[i];
            whole = whole || rule.target == kWorkspace;
            views_.push_back({cage.fs[i].resolved, rule.target, level_of(rule.mode), &cage.fs[i]});
        }
        if (!whole) {
            const auto level = policy.workspace_writable ? Level::write : Level::read;
            views_.push_back({"", std::string(kWorkspace), level, nullptr});
        }
        for (auto& view : views_)
            for (const auto& other : views_) cover(view, other);
    }

    const std::vector<View>& all() const noexcept { return views_; }

    void add(View added) {
        for (auto& view : views_) cover(view, added);
        views_.push_back(std::move(added));
    }

    Level level(const std::string& path) const {
        auto out = Level::none;
        for (const auto& view : views_)
            if (view.level > out && shows(view, path)) out = view.level;
        return out;
    }

    static bool shows(const View& view, const std::string& path) {
        return view.level != Level::none && lies_in(path, view.source) &&
               std::ranges::none_of(view.covered, [&](const std::string& place) {
                   return lies_in(path, place);
               });
    }

    /// Only there a cage has less than around it. What is covered within a covered place is another
    /// mount's.
    void add_covered(std::set<std::string>& out) const {
        for (const auto& view : views_)
            if (view.level != Level::none) out.insert(view.covered.begin(), view.covered.end());
    }

private:
    static void cover(View& view, const View& other) {
        if (view.level == Level::none || other.target.size() <= view.target.size() ||
            !lies_in(other.target, view.target))
            return;
        auto place = join(view.source, below(other.target, view.target));
        for (const auto& known : view.covered)
            if (lies_in(place, known)) return;
        std::erase_if(view.covered, [&](const std::string& known) {
            return lies_in(known, place);
        });
        view.covered.push_back(std::move(place));
    }

    std::vector<View> views_;
};

class FsContainer {
public:
    FsContainer(BuiltCage& cage, const Bound& bound, const ProjectFolder& folder, Report& report)
        : cage_(cage),
          bound_(bound),
          folder_(folder),
          report_(report),
          own_(cage),
          most_(*bound.cage) {}

    void hold() {
        // Sets are in order: a folder comes before what is in it.
        std::set<std::string> places;
        for (const auto& view : own_.all())
            if (view.level != Level::none) places.insert(view.source);
        most_.add_covered(places);
        for (const auto& path : places) hold_place(path);
        for (auto& [rule, place] : added_) {
            cage_.policy.fs.push_back(std::move(rule));
            cage_.fs.push_back(std::move(place));
        }
    }

private:
    void hold_place(const std::string& path) {
        const auto most = most_.level(path);
        if (own_.level(path) <= most) return;
        const auto views = own_.all();  // A copy: narrowing adds to them.
        for (const auto& view : views) {
            if (view.level <= most || !own_.shows(view, path)) continue;
            if (view.source == path)
                refuse(view, path, most);
            else
                narrow(view, path, most);
        }
    }

    /// An entry whose own place the parent has less of.
    void refuse(const View& view, const std::string& path, Level most) {
        if (view.place != nullptr && view.place->path.empty()) {
            // The builder protects what the parent does not even see.
            const auto index = static_cast<std::size_t>(view.place - cage_.fs.data());
            cage_.policy.fs[index].mode = FsMode::hide;
            return;
        }
        const Said* said = view.place;
        if (said == nullptr)
            said = cage_.workspace.path.empty() ? &cage_.keys.at("fs") : &cage_.workspace;
        const auto name = path.empty() ? std::string("the project's root") : path;
        report_.add(
            said->mark, said->path,
            most == Level::none
                ? fmt::format("\"{}\" is hidden from \"{}\"", name, bound_.agent)
                : fmt::format("\"{}\" is not writable for \"{}\"", name, bound_.agent),
            containment_hint(bound_)
        );
    }

    /// The parent has less there than in the folder around it: so does the child.
    void narrow(const View& view, const std::string& path, Level most) {
        if (added_.size() > kMaxAdded || !folder_.exists(path)) return;
        FsRule rule;
        rule.source = join(folder_.root(), path);
        rule.root = folder_.root();
        rule.mode = most == Level::none ? FsMode::hide : FsMode::ro;
        rule.target = join(view.target, below(path, view.source));
        if (view.place != nullptr) rule.origin = origin_of(view.place->mark, report_);
        own_.add({path, rule.target, most, nullptr});
        added_.emplace_back(std::move(rule), BuiltCage::Place{{}, path});
        if (added_.size() <= kMaxAdded) return;
        const auto& fs = cage_.keys.at("fs");
        report_.add(
            fs.mark, fs.path,
            fmt::format("\"{}\" restricts more than {} places in it", bound_.agent, kMaxAdded),
            "name what the agent needs, not the folders around it"
        );
    }

    BuiltCage& cage_;
    const Bound& bound_;
    const ProjectFolder& folder_;
    Report& report_;
    Views own_;
    Views most_;
    std::vector<std::pair<FsRule, BuiltCage::Place>> added_;
};

}  // namespace

void contain_fs(BuiltCage& cage, const Bound& bound, const ProjectFolder& folder, Report& report) {
    if (cage.says("fs")) {
        FsContainer(cage, bound, folder, report).hold();
        return;
    }
    cage.policy.fs = bound.cage->policy.fs;
    cage.policy.workspace_writable = bound.cage->policy.workspace_writable;
    cage.fs = bound.cage->fs;
    cage.workspace = bound.cage->workspace;
}

}  // namespace volary::dsl
