// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/live.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace volary::session {
namespace {

store::RunRow& run_row(store::Append& append, const Event& event) {
    const auto is = [&](const store::RunRow& row) { return row.id == event.run; };
    const auto found = std::find_if(append.runs.begin(), append.runs.end(), is);
    if (found != append.runs.end()) return *found;
    return append.runs.emplace_back(
        store::RunRow{event.run, event.session, "queued", "", event.at, event.at}
    );
}

void derive_run(store::Append& append, const Event& event) {
    const auto set = [&](std::string status, std::string outcome = {}) {
        auto& row = run_row(append, event);
        row.status = std::move(status);
        row.outcome = std::move(outcome);
        row.updated_at = event.at;
    };
    if (event.kind == "message.user")
        set("queued");
    else if (event.kind == "message.cancelled")
        set("finished", "cancelled");
    else if (event.kind == "run.started" || event.kind == "run.resumed")
        set("working");
    else if (event.kind == "run.holding")
        set("holding");
    else if (event.kind == "run.held")
        set("held");
    else if (event.kind == "run.stopping")
        set("stopping");
    else if (event.kind == "run.finished")
        set("finished", string_or(Json::parse(event.body), "outcome"));
}

void derive_firing(store::Append& append, const Event& event) {
    const auto body = Json::parse(event.body);
    append.firings.push_back(
        {event.session, body.at("signal_seq"), fmt::format("{}", body.at("rule").get<int>()),
         InvocationId(string_or(body, "invocation"))}
    );
}

void derive_cage(store::Append& append, const Event& event) {
    const CageId cage(string_or(Json::parse(event.body), "cage"));
    append.cages.push_back({cage, event.session, event.seq});
}

}  // namespace

void Manager::Batch::take(Decision decision) {
    for (auto& event : decision.events) append.events.push_back(std::move(event));
    for (auto& effect : decision.effects) effects.push_back(std::move(effect));
}

void complete_rows(store::Append& append, const State& next) {
    append.session = next.id;
    append.session_row = store::SessionRow{next.id,         next.project,
                                           next.title,      std::string(status_of(next)),
                                           next.created_at, next.updated_at,
                                           next.last_seq,   to_projection(next)};
    for (const auto& event : append.events) {
        if (event.kind.starts_with("run.") || event.kind.starts_with("message.user") ||
            event.kind == "message.cancelled")
            derive_run(append, event);
        else if (event.kind == "interconnect.fired")
            derive_firing(append, event);
        else if (event.kind == "cage.started")
            derive_cage(append, event);
        else if (event.kind == "message.agent" || event.kind == "thought.agent")
            append.finished_items.emplace_back(string_or(Json::parse(event.body), "item"));
    }
}

void Manager::Batch::complete() {
    complete_rows(append, next);
    for (const auto& mark : marks)
        append.streams.push_back({mark.cage, mark.stream, static_cast<std::int64_t>(mark.offset)});
}

bool Manager::Batch::changes_nothing() const {
    return append.events.empty() && marks.empty() && append.finished_items.empty();
}

namespace {

std::string answer_text(const Answer& answer) {
    const Json doc = {
        {"session", answer.session.str()},
        {"run", answer.run.str()},
        {"message", answer.message.str()},
        {"invocation", answer.invocation.str()},
        {"seq", answer.seq}
    };
    return doc.dump();
}

}  // namespace

std::string scope_of(const Mutation& mutation) { return mutation.actor + " " + mutation.route; }

store::IdempotencyRow row_of(const Mutation& mutation, const Answer& answer, UnixMillis now) {
    return {mutation.key, scope_of(mutation),  hash_of(mutation.request),
            202,          answer_text(answer), now};
}

Answer answer_from(const std::string& text) {
    const auto doc = Json::parse(text);
    return {
        SessionId(string_or(doc, "session")), RunId(string_or(doc, "run")),
        MessageId(string_or(doc, "message")), InvocationId(string_or(doc, "invocation")),
        doc.at("seq")
    };
}

std::string hash_of(std::string_view request) {
    // FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/), and the length.
    std::uint64_t hash = 14'695'981'039'346'656'037ULL;
    for (const char c : request) {
        hash ^= static_cast<unsigned char>(c);
        hash *= 1'099'511'628'211ULL;
    }
    return fmt::format("{:016x}-{}", hash, request.size());
}

store::CheckpointRow checkpoint_of(const SessionId& session, const OpenItem& item) {
    const Json body = {
        {"invocation", item.invocation.str()}, {"kind", item.kind}, {"text", item.text}
    };
    return {session, item.item, dump_json(body)};
}

FinishItem item_from(const store::CheckpointRow& row) {
    const auto body = Json::parse(row.body, nullptr, false);
    return {
        InvocationId(string_or(body, "invocation")), row.item, string_or(body, "kind", "text"),
        string_or(body, "text"), true
    };
}

}  // namespace volary::session
