// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/cli/client.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// The client's verbs. Each prints to standard output and returns the process's exit code:
/// 0 ok, 1 failed, 2 usage, 3 not found, 4 refused.
namespace volary::cage {
struct GatekeeperConfig;
}

namespace volary::cli {

struct SendOptions {
    std::string project;
    std::string text;
    std::string session;  ///< id or "new"; empty: the project's active session
    bool wait = false;    ///< until the run has finished; the exit code is then its outcome
};
int send(const Context& context, const SendOptions& options);

struct TailOptions {
    std::string session;
    std::int64_t after = 0;
};
/// Prints events until interrupted or the daemon goes.
int tail(const Context& context, const TailOptions& options);

int session_list(const Context& context, const std::string& project);
int session_show(const Context& context, const std::string& session);
/// `word` is hold, resume or stop.
int session_act(const Context& context, const std::string& session, const std::string& word);

struct PlanOptions {
    std::string session;
    std::string entry;  ///< empty: print the plan
    std::optional<std::string> text;
    std::optional<std::string> status;
};
int session_plan(const Context& context, const PlanOptions& options);
/// Cancels a queued message by its run.
int session_cancel(const Context& context, const std::string& session, const std::string& run);

/// Follows the hashes of a session's log; with `file`, of an export (this needs no daemon). 1 when
/// something was changed.
int session_verify(const Context& context, const std::string& session, const std::string& file);

struct ExportOptions {
    std::string session;
    std::string file;  ///< must not exist; "-": standard output
};
int session_export(const Context& context, const ExportOptions& options);
int session_import(const Context& context, const std::string& file);

/// `keep`: how many of the newest backups stay.
int backup_create(const Context& context, std::int64_t keep);
int backup_list(const Context& context);
// These need no daemon; restore refuses while one runs on that state folder.
int backup_verify(const Context& context, const std::string& file);
int backup_restore(const Context& context, const std::string& file, const std::string& state);
/// Of `file`, or, when that is empty, of the state folder. 1 when something is lost.
int backup_salvage(const Context& context, const std::string& file, const std::string& state);

int project_add(const Context& context, const std::string& path);
int project_list(const Context& context);
int project_show(const Context& context, const std::string& name);

int status(const Context& context);
int auth_launch_url(const Context& context);

// These need no daemon.
int dsl_validate(const Context& context, const std::string& path);
int dsl_show(const Context& context, const std::string& path, bool origin);
int dsl_schema();

struct CageOptions {
    std::string policy;
    std::string workspace;  ///< folder seen as /workspace; empty: the current one
    std::string layers;     ///< run: folder that keeps the layers of `cow` entries
    std::string path;       ///< explain: why this path is or is not there
    std::vector<std::string> command;
    std::string config;  ///< run: the operator's config file; empty: the usual one, if it is there
};
/// `network`: what the operator's config says about it.
int cage_run(const CageOptions& options, cage::GatekeeperConfig network);
int cage_explain(const Context& context, const CageOptions& options);
/// 0 when no layer is broken, else 1.
int doctor(const Context& context);

struct CageLogOptions {
    std::string session;
    std::string agent;  ///< path; empty: all
};
/// Denials, limits, grants and connections of a session's cages, in order of time.
int cage_log(const Context& context, const CageLogOptions& options);

struct GrantOptions {
    std::string session;
    std::string rule;  ///< "host:port", "project:/folder" or "project:/folder:rw"
    std::string agent;
    std::string cage;  ///< this one only; empty: every live one of the agent
    std::string scope = "once";
    bool allow_private = false;
    bool yes = false;  ///< the change of the project file is not asked about
};
int cage_grant(const Context& context, const GrantOptions& options);

struct ChangesOptions {
    std::string session;
    std::string agent;               ///< path; empty: all
    std::vector<std::string> paths;  ///< in the cage; empty: all
};
/// What agents changed in `cow` folders; with paths their diffs.
int cage_changes(const Context& context, const ChangesOptions& options);
/// `verb` is keep or drop. Exit code 4 when a change was refused.
int cage_settle(const Context& context, const ChangesOptions& options, const std::string& verb);

/// Foreign text without what a terminal would obey: control characters but the line feed.
std::string printable(std::string_view text);

/// Foreign text of which nothing is left out, for a person who decides by it: what a terminal would
/// obey becomes a dot, what nobody sees or what turns the order of a line "<U+202E>". Line feeds
/// and tabs stay.
std::string revealed(std::string_view text);
/// The same as one line: a name with a line feed in it must not look like two.
std::string revealed_line(std::string_view text);

/// Needs the daemon: what the live cages of a session publish.
int cage_ports(const Context& context, const std::string& session);

struct ForwardOptions {
    std::string session;
    std::string name;                         ///< of the published port
    std::optional<std::uint16_t> local_port;  ///< absent: the published number; 0: any
};
/// Listens on the host's loopback and passes bytes to the cage until interrupted.
int cage_forward(const Context& context, const ForwardOptions& options);

/// One event in words, for people; empty for what only machines need.
std::string event_line(const Json& event);

}  // namespace volary::cli
