// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.hpp"

#include <string>

namespace volary {
class SideThread;
}
namespace volary::store {
class Store;
}
namespace volary::session {
class Hub;
class Manager;
class Projects;
}  // namespace volary::session
namespace volary::access {
class PortTickets;
}
namespace volary::agent {
class Engine;
class Examiner;
}  // namespace volary::agent
namespace volary::http {
class Router;
struct Request;
struct Response;
}  // namespace volary::http

namespace volary::api {

/// What the handlers ask. All of it outlives them.
struct Services {
    store::Store& store;
    session::Manager& sessions;
    session::Projects& projects;
    session::Hub& hub;
    agent::Engine& agents;
    agent::Examiner& examiner;
    SideThread& files;
    access::PortTickets& port_tickets;
    const Clock& clock;
    UnixMillis started_at = 0;
};

/// Every route of version 1, in the order of docs/api.md. `services` and `router` outlive it.
class Api {
public:
    Api(Services services, http::Router& router);

private:
    void add_open_routes();
    void add_status_routes();
    void add_project_routes();
    void add_session_routes();
    void add_control_routes();
    void add_cage_routes();
    void add_grant_routes();
    void add_changes_routes();
    void add_port_routes();
    void add_history_routes();
    void add_stream_route();

    Services services_;
    http::Router& router_;
};

}  // namespace volary::api
