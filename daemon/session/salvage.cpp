// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/salvage.hpp"

#include "base/error.hpp"
#include "base/json.hpp"
#include "base/unique_fd.hpp"
#include "daemon/session/fold.hpp"
#include "daemon/session/live.hpp"
#include "daemon/store/salvage_target.hpp"
#include "daemon/store/wreck.hpp"

#include <algorithm>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::session {
namespace {

/// Events that share a transaction: some megabytes of memory.
constexpr std::int64_t kPiece = 500;

std::vector<LogRange> ranges_of(const std::vector<store::SeqRange>& ranges) {
    std::vector<LogRange> out;
    for (const auto& range : ranges) out.push_back({range.first, range.last});
    return out;
}

/// Where the events go that can be read and that nothing proves; made with the first of them.
class Unproven {
public:
    explicit Unproven(std::string path) : path_(std::move(path)) {}

    void add(const Event& event) {
        if (!fd_) fd_.reset(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
        if (!fd_) throw_errno("create", path_);
        auto line = event_json(event) + "\n";
        for (std::string_view rest = line; !rest.empty();) {
            const auto done = ::write(fd_.get(), rest.data(), rest.size());
            if (done < 0) throw_errno("write", path_);
            rest.remove_prefix(static_cast<std::size_t>(done));
        }
    }
    /// Its path; empty when there was nothing to keep.
    std::string finish() const {
        if (!fd_) return {};
        if (::fsync(fd_.get()) != 0) throw_errno("sync", path_);
        return path_;
    }

private:
    std::string path_;
    UniqueFd fd_;
};

/// Takes one session over.
class Saver {
public:
    Saver(const store::Wreck& wreck, store::SalvageTarget& target, const Clock& clock)
        : wreck_(wreck), target_(target), clock_(clock) {}

    SalvagedSession save(const store::SessionWreck& from) {
        SalvagedSession out{from.id, 0, from.known, ranges_of(from.loose), ranges_of(from.lost)};
        state_ = State();
        finished_.clear();
        bool folds = true;
        for (std::int64_t first = 1; folds && first <= from.verified; first += kPiece)
            folds = save_piece(from, {first, std::min(from.verified, first + kPiece - 1)});
        out.saved = state_.last_seq;
        // What was written and cannot be folded is of a newer volary; it is kept beside.
        if (out.saved < from.verified)
            out.unproven.insert(out.unproven.begin(), {out.saved + 1, from.verified});
        if (out.saved > 0 && out.saved < out.known) mark_cut(from, out);
        if (out.saved > 0 && out.saved == out.known) keep_checkpoints(from.id);
        return out;
    }

private:
    /// False when not all of it could be folded.
    bool save_piece(const store::SessionWreck& from, store::SeqRange range) {
        store::Append append;
        bool folds = true;
        for (auto& event : wreck_.events(from, range)) {
            auto next = state_;
            try {
                apply(next, event);
            } catch (const Error&) {
                folds = false;
                break;
            }
            state_ = std::move(next);
            append.events.push_back(std::move(event));
        }
        // A log that does not begin with its creation is nobody's session.
        if (append.events.empty() || state_.id != from.id) return false;
        write(std::move(append));
        return folds;
    }

    void mark_cut(const store::SessionWreck& from, const SalvagedSession& out) {
        Event event;
        event.session = state_.id;
        event.seq = state_.last_seq + 1;
        event.at = clock_.now_ms();
        event.kind = "session.salvaged";
        event.actor = "daemon";
        Json body = {{"events", out.saved}, {"known", out.known}};
        if (out.saved == from.verified) body["head"] = store::hex_of(from.head);
        event.body = dump_json(body);
        apply(state_, event);
        store::Append append;
        append.events.push_back(std::move(event));
        write(std::move(append));
    }

    void write(store::Append append) {
        complete_rows(append, state_);
        finished_.insert(append.finished_items.begin(), append.finished_items.end());
        target_.append(append);
    }

    void keep_checkpoints(const SessionId& session) {
        std::vector<store::CheckpointRow> rows;
        for (const auto& row : wreck_.checkpoints())
            if (row.session == session && !finished_.contains(row.item)) rows.push_back(row);
        target_.put_checkpoints(rows);
    }

    const store::Wreck& wreck_;
    store::SalvageTarget& target_;
    const Clock& clock_;
    State state_;
    std::set<ItemId> finished_;
};

/// The same act sent again must not be answered as done when what it did is gone.
void keep_answers(
    const store::Wreck& wreck, store::SalvageTarget& target,
    const std::map<std::string, std::int64_t>& saved
) {
    std::map<std::string, std::vector<store::IdempotencyRow>> kept;
    for (const auto& row : wreck.answers()) {
        const auto doc = Json::parse(row.response, nullptr, false);
        if (!doc.is_object() || !doc.contains("seq") || !doc.at("seq").is_number_integer())
            continue;
        const auto session = saved.find(string_or(doc, "session"));
        if (session == saved.end() || doc.at("seq").get<std::int64_t>() > session->second) continue;
        kept[session->first].push_back(row);
    }
    for (const auto& [session, rows] : kept) target.keep_answers(SessionId(session), rows);
}

SalvageReport save_all(const std::string& from, const std::string& to, const Clock& clock) {
    SalvageReport report;
    report.database = to;
    const store::Wreck wreck(from);
    report.wal_problem = wreck.wal_problem();
    report.unreadable_pages = wreck.unreadable_pages();
    store::SalvageTarget target(to);
    const auto now = clock.now_ms();
    Unproven unproven(store::unused_path(fmt::format("{}.unproven-{}", to, store::stamp_of(now))));
    Saver saver(wreck, target, clock);
    std::map<std::string, std::int64_t> saved;
    for (const auto& session : wreck.sessions()) {
        // Two numbers for one id: the second one is what an older page says.
        if (saved.contains(session.id.str())) continue;
        auto done = saver.save(session);
        if (done.saved > 0) saved[done.id.str()] = done.saved;
        for (const auto& range : done.unproven)
            for (const auto& event : wreck.events(session, {range.first, range.last}))
                unproven.add(event);
        report.sessions.push_back(std::move(done));
    }
    target.put_projects(wreck.projects());
    target.add_connections(wreck.connections());
    keep_answers(wreck, target, saved);
    report.projects = static_cast<std::int64_t>(wreck.projects().size());
    report.unproven = unproven.finish();
    report.kept = target.publish(now);
    return report;
}

}  // namespace

bool SalvageReport::is_complete() const {
    return std::ranges::all_of(sessions, [](const SalvagedSession& session) {
        return session.saved > 0 && session.saved == session.known;
    });
}

SalvageReport salvage_state(const std::string& folder, const Clock& clock) {
    const auto database = folder + "/volary.db";
    const store::FolderHold hold(folder);
    if (!std::filesystem::exists(database))
        throw Error(Errc::not_found, fmt::format("there is no database \"{}\"", database));
    if (store::is_whole(database)) {
        SalvageReport report;
        report.was_whole = true;
        report.database = database;
        return report;
    }
    return save_all(database, database, clock);
}

SalvageReport salvage_file(const std::string& file, const Clock& clock) {
    const auto to = file + ".salvaged";
    if (std::filesystem::exists(to))
        throw Error(Errc::conflict, fmt::format("\"{}\" is there already", to));
    const auto folder = std::filesystem::path(std::filesystem::absolute(file)).parent_path();
    // A running daemon goes on changing the file that would be read.
    std::optional<store::FolderHold> hold;
    if (std::filesystem::exists(folder / "volary.lock")) hold.emplace(folder.string());
    auto report = save_all(file, to, clock);
    report.kept = file;
    return report;
}

}  // namespace volary::session
