// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/grant_desk.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "daemon/agent/engine.hpp"
#include "daemon/session/manager.hpp"
#include "daemon/session/project_file.hpp"
#include "daemon/session/projects.hpp"

namespace volary::app {

GrantDesk::GrantDesk(
    const asio::any_io_executor& executor, agent::Engine& engine, session::Manager& sessions,
    session::Projects& projects, SideThread& files
)
    : engine_(engine),
      sessions_(sessions),
      projects_(projects),
      files_(files),
      scope_(executor, log_task_errors()) {}

void GrantDesk::carry_out(
    const SessionId& session, const std::string& project, const session::ApplyGrant& grant
) {
    if (scope_.closing()) return;
    scope_.spawn("grant", apply(session, project, grant));
}

asio::awaitable<void> GrantDesk::apply(
    SessionId session, std::string project, session::ApplyGrant grant
) {
    const auto granted = grant.granted;
    session::GrantFailed failed{granted, "", ""};
    try {
        if (grant.edit) co_await write(std::move(project), *grant.edit);
        failed.applied = grant.scope == GrantScope::once ? "none" : "next_start";
        const bool lasts = grant.scope != GrantScope::once;
        agent::LiveGrant live{session, grant.agent, grant.cages, grant.rule, lasts};
        co_await engine_.allow(std::move(live));
    } catch (const Error& error) {
        if (failed.applied.empty()) failed.applied = "none";
        failed.reason = error.what();
    }
    try {
        if (!failed.reason.empty()) co_await sessions_.report(session, "daemon", std::move(failed));
    } catch (const Error& error) {
        log::warning(
            "a grant that failed was not recorded as such",
            {{"session", session.str()}, {"error", error.what()}}
        );
    }
    sessions_.grant_done(session, granted);
}

asio::awaitable<void> GrantDesk::write(std::string project, session::ProjectEdit edit) {
    auto work = [edit = std::move(edit)] {
        session::write_project_file(edit.file, edit.before, edit.after);
    };
    co_await files_.run(std::move(work));
    projects_.refresh(project);
}

asio::awaitable<void> GrantDesk::close() { co_await scope_.close(); }

}  // namespace volary::app
