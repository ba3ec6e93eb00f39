// SPDX-License-Identifier: Apache-2.0
// A start after another daemon: what it left behind gets its verdict.
#include "daemon/session/live.hpp"
#include "daemon/store/store.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace volary::session {
namespace {

/// The newest events that are looked at for an agent's last words.
constexpr std::int64_t kLookBack = 500;
/// What a parent gets to read of a program's output; more is not needed.
constexpr std::size_t kMaxTail = 8 * 1024;
constexpr std::size_t kMaxUtf8 = 4;  // bytes of a character

}  // namespace

asio::awaitable<void> Manager::recover(std::map<InvocationId, CageId> alive, bool goes_on) {
    const auto rows = co_await store_.unfinished_sessions();
    for (const auto& row : rows) {
        auto live = make_live(row.id);
        live->state = from_projection(row.state);
        live->loaded = true;
        Recover recover;
        const auto kept = co_await store_.checkpoints(row.id);
        for (const auto& checkpoint : kept) recover.unfinished.push_back(item_from(checkpoint));
        for (const auto& inv : live->state.invocations) {
            if (inv.state == InvocationState::finished) continue;
            const auto found = alive.find(inv.id);
            if (found == alive.end() && !goes_on) continue;
            if (found == alive.end()) {
                auto input = co_await unstarted_input(live->state, inv.id);
                if (input) recover.unstarted[inv.id] = std::move(*input);
                continue;
            }
            auto survivor = co_await this->survivor(live->state, inv.id, found->second);
            recover.survivors.push_back(std::move(survivor));
        }
        auto request = std::make_shared<Request>(executor_, "daemon", std::move(recover));
        co_await submit(live, request);
    }
}

std::vector<std::pair<SessionId, InvocationId>> Manager::unfinished() const {
    std::vector<std::pair<SessionId, InvocationId>> out;
    for (const auto& [id, live] : live_) {
        if (!live->state.run) continue;
        for (const auto& inv : live->state.invocations)
            if (inv.state != InvocationState::finished) out.emplace_back(id, inv.id);
    }
    return out;
}

asio::awaitable<std::optional<std::string>> Manager::unstarted_input(
    State state, InvocationId invocation
) {
    for (const auto& cage : state.cages)
        if (cage.invocation == invocation) co_return std::nullopt;
    const auto after = std::max<std::int64_t>(0, state.last_seq - kLookBack);
    const auto events = co_await store_.events(state.id, after, kLookBack);
    for (const auto& event : events) {
        if (event.kind != "invocation.started") continue;
        const auto body = Json::parse(event.body, nullptr, false);
        if (string_or(body, "id") != invocation.str()) continue;
        auto input = string_or(body, "input");
        // A longer one was cut when it was recorded.
        if (input.size() < kMaxShownInput - kMaxUtf8) co_return input;
    }
    co_return std::nullopt;
}

asio::awaitable<Survivor> Manager::survivor(State state, InvocationId invocation, CageId cage) {
    Survivor out;
    out.invocation = invocation;
    out.cage = cage;
    const auto places = co_await store_.streams(cage);
    for (const auto& place : places)
        out.applied[static_cast<int>(place.stream)] = static_cast<std::uint64_t>(place.offset);
    const auto after = std::max<std::int64_t>(0, state.last_seq - kLookBack);
    const auto events = co_await store_.events(state.id, after, kLookBack);
    for (const auto& event : events) {
        const auto body = Json::parse(event.body, nullptr, false);
        if (string_or(body, "invocation") != invocation.str()) continue;
        if (event.kind == "message.agent") out.last_text = string_or(body, "text");
        if (event.kind == "cage.output" && string_or(body, "stream") == "stdout")
            out.tail += string_or(body, "text");
    }
    if (out.tail.size() > kMaxTail) out.tail.erase(0, out.tail.size() - kMaxTail);
    co_return out;
}

}  // namespace volary::session
