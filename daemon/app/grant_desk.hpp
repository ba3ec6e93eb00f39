// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/side_thread.hpp"
#include "base/task_scope.hpp"
#include "daemon/session/commands.hpp"

#include <string>

namespace volary::agent {
class Engine;
}
namespace volary::session {
class Manager;
class Projects;
}  // namespace volary::session

namespace volary::app {

/// Carries out grants that a session has recorded: writes the project file, gives the rule to the
/// cages, and reports what did not work. Control thread only; `close()` before destruction.
class GrantDesk {
public:
    GrantDesk(
        const asio::any_io_executor& executor, agent::Engine& engine, session::Manager& sessions,
        session::Projects& projects, SideThread& files
    );

    void carry_out(
        const SessionId& session, const std::string& project, const session::ApplyGrant& grant
    );
    asio::awaitable<void> close();

private:
    asio::awaitable<void> apply(SessionId session, std::string project, session::ApplyGrant grant);
    asio::awaitable<void> write(std::string project, session::ProjectEdit edit);

    agent::Engine& engine_;
    session::Manager& sessions_;
    session::Projects& projects_;
    SideThread& files_;
    TaskScope scope_;  // Last: its tasks use everything above.
};

}  // namespace volary::app
