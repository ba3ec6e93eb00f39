// SPDX-License-Identifier: Apache-2.0
// Whole sessions and the whole database: verify, export, import, back up, restore.
#include "base/clock.hpp"
#include "base/error.hpp"
#include "daemon/cli/verbs.hpp"
#include "daemon/session/import.hpp"
#include "daemon/session/salvage.hpp"
#include "daemon/store/backup.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::cli {
namespace {

std::string read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw Error(Errc::not_found, fmt::format("read {}: {}", path, std::strerror(errno)));
    return {std::istreambuf_iterator<char>(in), {}};
}

struct CloseFile {
    void operator()(std::FILE* file) const noexcept { (void)std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

void print_verdict(const Context& context, const Json& verdict) {
    if (context.json) return print_json(verdict);
    const auto events = verdict.at("events").get<std::int64_t>();
    if (verdict.at("ok").get<bool>())
        print_line(fmt::format("whole: {} events, head {}", events, string_or(verdict, "head")));
    else
        print_line(fmt::format(
            "CHANGED: {}; {} events before it hold", string_or(verdict, "problem"), events
        ));
}

asio::awaitable<int> do_verify(
    asio::any_io_executor executor, const Context& context, std::string session
) {
    Client client(executor, context);
    const auto verdict = co_await client.get(session_path(session) + "/verify");
    print_verdict(context, verdict);
    co_return verdict.at("ok").get<bool>() ? 0 : 1;
}

asio::awaitable<int> do_export(
    asio::any_io_executor executor, const Context& context, const ExportOptions& options
) {
    Client client(executor, context);
    const bool to_stdout = options.file == "-";
    // Made only now: a session that is not there leaves no empty file.
    File file;
    const auto take = [&](std::string_view piece) {
        if (!to_stdout && !file) file.reset(std::fopen(options.file.c_str(), "wxe"));
        auto* out = to_stdout ? stdout : file.get();
        if (out == nullptr || std::fwrite(piece.data(), 1, piece.size(), out) != piece.size())
            throw_errno("write", options.file);
    };
    co_await client.download(session_path(options.session) + "/export", take);
    if (file && std::fflush(file.get()) != 0) throw_errno("write", options.file);
    if (to_stdout) std::fflush(stdout);
    if (!to_stdout && context.json)
        print_json({{"file", options.file}});
    else if (!to_stdout)
        print_line("written to " + options.file);
    co_return 0;
}

asio::awaitable<int> do_import(
    asio::any_io_executor executor, const Context& context, std::string text
) {
    Client client(executor, context);
    const auto answer =
        co_await client.upload("/api/v1/sessions/import", "application/x-ndjson", std::move(text));
    if (context.json)
        print_json(answer);
    else
        print_line(fmt::format("{0} is here: volary session show {0}", string_or(answer, "session"))
        );
    co_return 0;
}

void print_backup(const Json& file) {
    print_line(fmt::format(
        "{}  {:>10} bytes  {}", format_rfc3339(file.at("at")).substr(0, 19),
        file.at("bytes").get<std::uint64_t>(), string_or(file, "path")
    ));
}

void print_backups(const Json& answer) {
    const auto& backups = answer.at("backups");
    if (backups.empty()) print_line("no backups yet: volary backup create");
    for (const auto& file : backups) print_backup(file);
}

Json verdict_json(const store::DatabaseVerdict& verdict) {
    return {
        {"ok", verdict.problems.empty()},
        {"version", verdict.version},
        {"sessions", verdict.sessions},
        {"events", verdict.events},
        {"problems", verdict.problems}
    };
}

void print_database(const store::DatabaseVerdict& verdict) {
    for (const auto& problem : verdict.problems) print_line("DAMAGED: " + problem);
    if (verdict.problems.empty())
        print_line(fmt::format("whole: {} sessions, {} events", verdict.sessions, verdict.events));
}

Json ranges_json(const std::vector<session::LogRange>& ranges) {
    Json out = Json::array();
    for (const auto& range : ranges) out.push_back({{"first", range.first}, {"last", range.last}});
    return out;
}

Json salvage_json(const session::SalvageReport& report) {
    Json sessions = Json::array();
    for (const auto& one : report.sessions)
        sessions.push_back(
            {{"session", one.id.empty() ? Json() : Json(one.id.str())},
             {"saved", one.saved},
             {"known", one.known},
             {"unproven", ranges_json(one.unproven)},
             {"lost", ranges_json(one.lost)}}
        );
    const auto path = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
    return {
        {"ok", report.is_complete()},
        {"was_whole", report.was_whole},
        {"database", report.database},
        {"kept", path(report.kept)},
        {"unproven", path(report.unproven)},
        {"wal_problem", path(report.wal_problem)},
        {"unreadable_pages", report.unreadable_pages},
        {"projects", report.projects},
        {"sessions", std::move(sessions)}
    };
}

std::string words_of(const std::vector<session::LogRange>& ranges) {
    std::vector<std::string> words;
    for (const auto& range : ranges)
        words.push_back(
            range.first == range.last ? fmt::to_string(range.first)
                                      : fmt::format("{}-{}", range.first, range.last)
        );
    return fmt::format("{}", fmt::join(words, ", "));
}

void print_damaged(const session::SalvagedSession& one) {
    const auto name = one.id.empty() ? std::string("a session without a name") : one.id.str();
    auto line = one.saved == 0 ? fmt::format("LOST {}", name)
                               : fmt::format("CUT {}: events 1-{} are saved", name, one.saved);
    if (!one.unproven.empty()) line += "; readable, but not proven: " + words_of(one.unproven);
    if (!one.lost.empty()) line += "; lost: " + words_of(one.lost);
    print_line(line);
}

void print_salvage(const session::SalvageReport& report) {
    if (report.was_whole)
        return print_line(report.database + " is whole: nothing to salvage, nothing was changed");
    if (!report.wal_problem.empty()) print_line("DAMAGED: " + report.wal_problem);
    if (report.unreadable_pages > 0)
        print_line(fmt::format("DAMAGED: the disk does not give {} pages", report.unreadable_pages)
        );
    std::size_t whole = 0;
    std::int64_t events = 0;
    for (const auto& one : report.sessions) {
        events += one.saved;
        if (one.saved > 0 && one.saved == one.known)
            ++whole;
        else
            print_damaged(one);
    }
    print_line(fmt::format(
        "saved: {} of {} sessions whole, {} events, {} projects", whole, report.sessions.size(),
        events, report.projects
    ));
    print_line("the new database is " + report.database + ", the damaged one " + report.kept);
    if (!report.unproven.empty())
        print_line("events that can be read and that nothing proves are in " + report.unproven);
    print_line("browsers must sign in again: volary auth launch-url");
}

}  // namespace

int session_verify(const Context& context, const std::string& session, const std::string& file) {
    if (file.empty()) {
        const auto verb = [&](asio::any_io_executor executor) {
            return do_verify(std::move(executor), context, session);
        };
        return run(verb);
    }
    const auto read = session::parse_export(read_file(file));
    print_verdict(
        context, {{"session", read.session.str()},
                  {"ok", true},
                  {"events", read.log.size()},
                  {"head", read.head},
                  {"problem", nullptr}}
    );
    return 0;
}

int session_export(const Context& context, const ExportOptions& options) {
    const auto verb = [&](asio::any_io_executor executor) {
        return do_export(std::move(executor), context, options);
    };
    return run(verb);
}

int session_import(const Context& context, const std::string& file) {
    const auto verb = [&](asio::any_io_executor executor) {
        return do_import(std::move(executor), context, read_file(file));
    };
    return run(verb);
}

int backup_create(const Context& context, std::int64_t keep) {
    return act(context, "POST", "/api/v1/backups", {{"keep", keep}}, print_backup);
}

int backup_list(const Context& context) { return show(context, "/api/v1/backups", print_backups); }

int backup_verify(const Context& context, const std::string& file) {
    const auto verdict = store::verify_database(file);
    if (context.json)
        print_json(verdict_json(verdict));
    else
        print_database(verdict);
    return verdict.problems.empty() ? 0 : 1;
}

int backup_restore(const Context& context, const std::string& file, const std::string& state) {
    const auto done = store::restore_backup(file, state + "/volary.db", SystemClock().now_ms());
    if (context.json) {
        auto doc = verdict_json(done.verdict);
        doc["kept"] = done.kept.empty() ? Json() : Json(done.kept);
        print_json(doc);
        return 0;
    }
    print_database(done.verdict);
    print_line("restored into " + state);
    if (!done.kept.empty()) print_line("what was there is now " + done.kept);
    return 0;
}

int backup_salvage(const Context& context, const std::string& file, const std::string& state) {
    const SystemClock clock;
    const auto report =
        file.empty() ? session::salvage_state(state, clock) : session::salvage_file(file, clock);
    if (context.json)
        print_json(salvage_json(report));
    else
        print_salvage(report);
    return report.is_complete() ? 0 : 1;
}

}  // namespace volary::cli
