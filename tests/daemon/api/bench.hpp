// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.hpp"
#include "base/side_thread.hpp"
#include "cage/gatekeeper/gatekeeper.hpp"
#include "cage/spawner.hpp"
#include "daemon/access/port_tickets.hpp"
#include "daemon/agent/engine.hpp"
#include "daemon/agent/examiner.hpp"
#include "daemon/api/services.hpp"
#include "daemon/http/router.hpp"
#include "daemon/model/broker.hpp"
#include "daemon/session/hub.hpp"
#include "daemon/session/manager.hpp"
#include "daemon/session/projects.hpp"
#include "daemon/store/store.hpp"
#include "tests/daemon/agent/fake_host.hpp"
#include "tests/support/loop.hpp"

#include <memory>
#include <string>

namespace volary::api {

/// A daemon without listeners and without agents that run: real store, real sessions.
class Bench {
public:
    Bench() {
        folder.write("project/.volary/project.yaml", kProject);
        folder.write("project/prompt.md", "You keep a shop.");
        loop.run(add_project());
    }
    Bench(const Bench&) = delete;
    Bench& operator=(const Bench&) = delete;
    ~Bench() { loop.run(close()); }

    Services services() {
        return {*store, sessions, projects, hub, engine, examiner, files, port_tickets, clock, 0};
    }

    /// Posts a message to a session of its own or to the given one.
    session::Answer post(const std::string& text, const std::string& session = "new") {
        session::Mutation mutation{"operator:test", "POST /messages", "", text};
        return loop.run(sessions.post("shop", session, {text, "test"}, std::move(mutation)));
    }

    /// The invocation that the session's run began with.
    InvocationId invocation_of(const SessionId& session) {
        return loop.run(sessions.state(session)).invocations.front().id;
    }

    test::TempFolder folder;
    test::Loop loop;
    ManualClock clock;
    access::PortTickets port_tickets{clock};
    std::unique_ptr<store::Store> store = store::Store::open({folder.path() + "/v.db"}, clock);
    session::Hub hub;
    session::Projects projects{*store, clock};
    session::Manager sessions{loop.executor(), *store, projects, hub, clock};
    agent::FakeHost host;
    cage::Gatekeeper gatekeeper{loop.executor(), {}, {}};
    cage::Spawner spawner{loop.executor(), {}, gatekeeper, {}};
    model::Broker broker{{}, {}};
    agent::Engine engine{loop.executor(), spawner, gatekeeper, broker, host, clock, {}};
    agent::Examiner examiner{loop.executor(), spawner, clock};
    SideThread files;

private:
    static constexpr const char* kProject = R"(version: 1
project: shop
description: a small project
primary:
  model: smart
  system_prompt: project:/prompt.md
)";

    asio::awaitable<void> add_project() { co_await projects.add(folder.path() + "/project"); }

    asio::awaitable<void> close() {
        co_await engine.close();
        co_await sessions.close();
        co_await spawner.close();
        co_await gatekeeper.close();
        co_await store->close();
    }
};

}  // namespace volary::api
