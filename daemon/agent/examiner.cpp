// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/examiner.hpp"

#include "cage/doctor.hpp"

namespace volary::agent {
namespace {

constexpr UnixMillis kBelieved = 60'000;

/// Lets the next one examine, also when this one was cancelled.
class Turn {
public:
    Turn(bool& running, Notifier& ended) : running_(running), ended_(ended) { running_ = true; }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() {
        running_ = false;
        ended_.notify();
    }

private:
    bool& running_;
    Notifier& ended_;
};

}  // namespace

asio::awaitable<std::shared_ptr<const std::string>> Examiner::json() {
    while (running_) co_await ended_.wait();
    if (last_ && clock_.now_ms() - last_at_ < kBelieved) co_return last_;
    const Turn turn(running_, ended_);
    const auto checks = co_await cage::examine(spawner_);
    last_ = std::make_shared<const std::string>(cage::doctor_json(checks));
    last_at_ = clock_.now_ms();
    co_return last_;
}

}  // namespace volary::agent
