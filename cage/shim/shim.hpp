// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"
#include "cage/shim/channel.hpp"
#include "cage/shim/launch.hpp"
#include "cage/shim/notify.hpp"
#include "cage/shim/step.hpp"
#include "cage/shim/streams.hpp"

#include <deque>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace volary::cage {

/// The life of one volary-shim: one launch request, one cage, until no process of it is left.
/// The end of the control socket's peer ends the cage, unless the launch said to keep it: then the
/// shim goes on alone, and the next daemon that connects takes over (docs/shim.md).
class Shim {
public:
    /// Where the shim lives: in a user and a network namespace of its own, or on the host, for a
    /// setuid launcher that would not run in them and makes its own.
    enum class Place { namespaces, host };

    Shim(UniqueFd control, Place place) : control_(std::move(control)), place_(place) {}

    /// Returns the exit status of the program: 0 when it could say everything to its peer.
    int run();

private:
    StepResult set_up();
    StepResult launch();
    StepResult hand_over_sockets(const std::vector<wire::BindSpec>& specs);
    void loop();
    void on_control();
    void on_command(const Packet& packet);
    void on_bind(const wire::Bind& bind);
    void on_mount(const wire::Mount& mount, const Packet& packet);
    void on_sync();
    void on_ready(Packet packet);
    void on_init_failed(std::string_view message);
    void tell(const std::vector<wire::DeniedCall>& calls);
    void reap();
    std::string why_not_built() const;
    void kill_all();
    void fail(const StepError& error);

    // attach.cpp: what is kept for the next daemon.
    StepResult keep(const wire::Keep& keep, std::vector<UniqueFd>& fds);
    bool attached() const noexcept { return static_cast<bool>(control_); }
    void on_listener();
    void introduce();
    bool send_held();
    void on_keep_command(const Packet& packet);
    void daemon_gone();
    void hold(wire::HeldSocket what, UniqueFd socket);
    bool over(std::uint64_t now_ms);
    int wait_ms(std::uint64_t now_ms);

    struct HeldFd {
        wire::HeldSocket what;
        UniqueFd socket;
    };

    UniqueFd control_;
    Place place_;
    UniqueFd children_;  ///< signalfd for SIGCHLD
    Launched launched_;
    UniqueFd runner_;  ///< pidfds; the runner's is open from `ready` on
    UniqueFd init_;
    Notifier notifier_;
    wire::Started started_;
    wire::Exited exited_;
    bool notify_ = false;  ///< the launch wants a listener
    bool killing_ = false;
    bool failed_ = false;
    bool gone_ = false;  ///< no child is left

    std::optional<wire::Keep> keep_;
    Streams streams_;
    UniqueFd listener_, folder_, record_;
    std::vector<HeldFd> held_;
    UniqueFd packet_;                      ///< socket that sees refused attempts
    std::deque<wire::DeniedCall> untold_;  ///< while no daemon was there
    std::optional<wire::Failed> failure_;
    bool running_ = false;  ///< the runner was executed
    bool blocked_ = false;  ///< the control socket takes no more for now
    bool released_ = false;
    std::uint64_t alone_since_ = 0;  ///< ms; while no daemon is there
};

}  // namespace volary::cage
