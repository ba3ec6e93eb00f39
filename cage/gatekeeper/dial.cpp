// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/dial.hpp"

#include <algorithm>
#include <list>
#include <memory>
#include <utility>

#include <boost/asio/steady_timer.hpp>

namespace volary::cage {
namespace {

using std::chrono::steady_clock;

// Names with more addresses than this are not made better by trying all of them.
constexpr std::size_t kMaxAttempts = 8;

/// The attempts of one dial. Held by the handlers of those that still run.
class Race : public std::enable_shared_from_this<Race> {
public:
    explicit Race(const asio::any_io_executor& executor) : executor_(executor), turn_(executor) {}

    /// Starts one attempt; it may have won or failed at once.
    void start(const Address& address, std::uint16_t port, FirstWord first) {
        auto attempt = start_connect(executor_, address, port, first);
        if (!attempt.socket) return;
        if (attempt.connected) {
            winner_ = std::move(attempt.socket);
            return;
        }
        ++running_;
        racers_.push_back(attempt.socket);
        auto ready = [self = shared_from_this(),
                      socket = attempt.socket](const boost::system::error_code& error) {
            --self->running_;
            if (!error && !self->winner_ && connect_error(socket->native_handle()) == 0)
                self->winner_ = socket;
            self->turn_.cancel();
        };
        attempt.socket->async_wait(Descriptor::wait_write, std::move(ready));
    }

    /// Until something happened, or `until`. True when the wait was not cut short from outside.
    asio::awaitable<bool> wait(steady_clock::time_point until) {
        turn_.expires_at(until);
        co_await turn_.async_wait(as_result);
        const auto state = co_await asio::this_coro::cancellation_state;
        co_return state.cancelled() == asio::cancellation_type::none;
    }

    void end() {
        boost::system::error_code ignored;
        for (const auto& racer : racers_) {
            if (racer != winner_) racer->close(ignored);
        }
    }

    std::size_t running() const noexcept { return running_; }
    const DescriptorPtr& winner() const noexcept { return winner_; }

private:
    asio::any_io_executor executor_;
    asio::steady_timer turn_;
    std::list<DescriptorPtr> racers_;
    std::size_t running_ = 0;
    DescriptorPtr winner_;
};

}  // namespace

std::vector<Address> interleave(const std::vector<Address>& addresses) {
    std::vector<Address> out;
    if (addresses.empty()) return out;
    std::vector<Address> same, other;
    for (const auto& address : addresses)
        (address.v6 == addresses.front().v6 ? same : other).push_back(address);
    for (std::size_t i = 0; i < std::max(same.size(), other.size()); ++i) {
        if (i < same.size()) out.push_back(same[i]);
        if (i < other.size()) out.push_back(other[i]);
    }
    return out;
}

asio::awaitable<DescriptorPtr> dial_first(
    asio::any_io_executor executor, std::vector<Address> addresses, std::uint16_t port,
    FirstWord first, std::chrono::milliseconds stagger, std::chrono::milliseconds timeout
) {
    const auto order = interleave(addresses);
    const auto count = std::min(order.size(), kMaxAttempts);
    const auto deadline = steady_clock::now() + timeout;
    const auto race = std::make_shared<Race>(executor);
    for (std::size_t next = 0; !race->winner();) {
        const auto running = race->running();
        if (next < count) race->start(order[next++], port, first);
        if (race->winner() || (race->running() == running && next < count)) continue;
        if (race->running() == 0 && next == count) break;
        const auto before = race->running();
        const auto turn_end =
            next < count ? std::min(deadline, steady_clock::now() + stagger) : deadline;
        bool alone = true;
        while (alone && !race->winner() && race->running() == before &&
               steady_clock::now() < turn_end)
            alone = co_await race->wait(turn_end);
        if (!alone || steady_clock::now() >= deadline) break;
    }
    race->end();
    if (race->winner()) send_at_once(race->winner()->native_handle());
    co_return race->winner();
}

}  // namespace volary::cage
