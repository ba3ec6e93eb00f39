// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/state.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

namespace volary::session {
namespace {

constexpr std::array<std::string_view, 4> kRunWords = {"working", "holding", "held", "stopping"};
constexpr std::array<std::string_view, 4> kInvocationWords = {
    "starting", "working", "held", "finished"
};

template <class Enum, std::size_t kCount>
Enum from_word(const std::array<std::string_view, kCount>& words, const std::string& word) {
    const auto found = std::find(words.begin(), words.end(), word);
    if (found == words.end()) throw Error(Errc::internal, "projection has \"" + word + "\"");
    return static_cast<Enum>(found - words.begin());
}

Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json parsed(const std::string& text) {
    auto doc = Json::parse(text, nullptr, false);
    return doc.is_discarded() ? Json(nullptr) : doc;
}

Json cause_json(const Cause& cause) {
    Json out = {{"type", cause.type}};
    if (cause.rule >= 0) {
        out["rule"] = cause.rule;
        out["signal_seq"] = cause.signal_seq;
    }
    return out;
}

Cause cause_from(const Json& doc) {
    return {doc.at("type"), doc.value("rule", -1), doc.value("signal_seq", std::int64_t{0})};
}

Json plan_json(const Plan& plan) {
    Json entries = Json::array();
    for (const auto& entry : plan.entries)
        entries.push_back({{"id", entry.id}, {"text", entry.text}, {"status", entry.status}});
    return {{"revision", plan.revision}, {"entries", std::move(entries)}};
}

Plan plan_from(const Json& doc) {
    Plan plan{doc.at("revision"), {}};
    for (const auto& entry : doc.at("entries"))
        plan.entries.push_back({entry.at("id"), entry.at("text"), entry.at("status")});
    return plan;
}

Json invocation_json(const Invocation& inv) {
    return {
        {"id", inv.id.str()},
        {"parent", or_null(inv.parent.str())},
        {"agent", inv.agent},
        {"runner", inv.runner},
        {"depth", inv.depth},
        {"state", to_string(inv.state)},
        {"outcome", or_null(inv.outcome)},
        {"reason", inv.reason},
        {"started_at", inv.started_at},
        {"finished_at", inv.finished_at == 0 ? Json(nullptr) : Json(inv.finished_at)},
        {"cause", cause_json(inv.cause)},
        {"cage", parsed(inv.cage)},
    };
}

std::string text_or_empty(const Json& value) {
    return value.is_string() ? value.get<std::string>() : std::string();
}

Invocation invocation_from(const Json& doc) {
    Invocation inv;
    inv.id = InvocationId(doc.at("id").get<std::string>());
    inv.parent = InvocationId(text_or_empty(doc.at("parent")));
    inv.agent = doc.at("agent");
    inv.runner = doc.at("runner");
    inv.depth = doc.at("depth");
    inv.state = from_word<InvocationState>(kInvocationWords, doc.at("state"));
    inv.outcome = text_or_empty(doc.at("outcome"));
    inv.reason = doc.at("reason");
    inv.result = doc.at("result");
    inv.cage = dump_json(doc.at("cage"));
    inv.started_at = doc.at("started_at");
    inv.finished_at = doc.at("finished_at").is_null() ? 0 : doc.at("finished_at").get<UnixMillis>();
    inv.cause = cause_from(doc.at("cause"));
    inv.key = string_or(doc, "key");
    return inv;
}

Json step_json(const Step& step) {
    Json out = {{"id", step.id.str()}, {"invocation", step.invocation.str()},
                {"type", step.type},   {"name", step.name},
                {"title", step.title}, {"arguments", parsed(step.arguments)}};
    if (!step.ref.empty()) out["ref"] = step.ref;
    return out;
}

Step step_from(const Json& doc) {
    return {
        StepId(doc.at("id").get<std::string>()),
        InvocationId(doc.at("invocation").get<std::string>()),
        doc.at("type"),
        doc.at("name"),
        doc.at("title"),
        dump_json(doc.at("arguments")),
        string_or(doc, "ref")
    };
}

Json steps_json(const std::vector<Step>& steps) {
    Json out = Json::array();
    for (const auto& step : steps) out.push_back(step_json(step));
    return out;
}

std::vector<Step> steps_from(const Json& doc) {
    std::vector<Step> out;
    for (const auto& step : doc) out.push_back(step_from(step));
    return out;
}

Json queue_json(const State& state) {
    Json out = Json::array();
    for (const auto& queued : state.queue) {
        const Json message = {{"id", queued.message.str()}, {"text", queued.text}};
        out.push_back({{"run", queued.run.str()}, {"message", message}});
    }
    return out;
}

Json run_json(const std::optional<Run>& run) {
    if (!run) return nullptr;
    const Json message = {{"id", run->message.str()}, {"text", run->text}};
    return {
        {"id", run->id.str()},
        {"status", to_string(run->status)},
        {"started_at", run->started_at},
        {"message", message}
    };
}

std::optional<Run> run_from(const Json& doc) {
    if (doc.is_null()) return std::nullopt;
    Run run;
    run.id = RunId(doc.at("id").get<std::string>());
    run.message = MessageId(doc.at("message").at("id").get<std::string>());
    run.text = doc.at("message").at("text");
    run.status = from_word<RunStatus>(kRunWords, doc.at("status"));
    run.started_at = doc.at("started_at");
    run.stop_reason = doc.at("stop_reason");
    run.notes = doc.at("notes").get<std::vector<std::string>>();
    return run;
}

Json waiting_json(const Waiting& waiting) {
    return {
        {"invocation", waiting.invocation.str()},
        {"rule", waiting.rule},
        {"signal_seq", waiting.signal_seq},
        {"parent", waiting.parent.str()},
        {"depth", waiting.depth},
        {"agent", waiting.agent},
        {"input", waiting.input}
    };
}

Waiting waiting_from(const Json& doc) {
    return {
        InvocationId(doc.at("invocation").get<std::string>()),
        doc.at("rule"),
        doc.at("signal_seq"),
        InvocationId(doc.at("parent").get<std::string>()),
        doc.at("depth"),
        doc.at("agent"),
        doc.at("input")
    };
}

Json cage_json(const CageRecord& cage) {
    return {{"id", cage.id.str()},           {"invocation", cage.invocation.str()},
            {"agent", cage.agent},           {"seq", cage.seq},
            {"started_at", cage.started_at}, {"denials", cage.denials},
            {"running", cage.running},       {"disabled", cage.disabled}};
}

CageRecord cage_from(const Json& doc) {
    CageRecord cage;
    cage.id = CageId(doc.at("id").get<std::string>());
    cage.invocation = InvocationId(doc.at("invocation").get<std::string>());
    cage.agent = doc.at("agent");
    cage.seq = doc.at("seq");
    cage.started_at = doc.at("started_at");
    cage.denials = doc.at("denials");
    cage.running = doc.at("running");
    cage.disabled = doc.at("disabled");
    return cage;
}

Json grant_json(const Granted& grant) {
    Json cages = Json::array();
    for (const auto& cage : grant.cages) cages.push_back(cage.str());
    return {{"seq", grant.seq},         {"run", grant.run.str()}, {"at", grant.at},
            {"by", grant.by},           {"agent", grant.agent},   {"cages", std::move(cages)},
            {"layer", grant.layer},     {"rule", grant.rule},     {"path", grant.path},
            {"mode", grant.mode},       {"scope", grant.scope},   {"private", grant.allow_private},
            {"applied", grant.applied}, {"reason", grant.reason}, {"file", grant.file}};
}

Granted grant_from(const Json& doc) {
    Granted grant;
    grant.seq = doc.at("seq");
    grant.run = RunId(doc.at("run").get<std::string>());
    grant.at = doc.at("at");
    grant.by = doc.at("by");
    grant.agent = doc.at("agent");
    for (const auto& cage : doc.at("cages")) grant.cages.emplace_back(cage.get<std::string>());
    grant.layer = doc.at("layer");
    grant.rule = doc.at("rule");
    grant.path = doc.at("path");
    grant.mode = doc.at("mode");
    grant.scope = doc.at("scope");
    grant.allow_private = doc.at("private");
    grant.applied = doc.at("applied");
    grant.reason = doc.at("reason");
    grant.file = doc.at("file");
    return grant;
}

Json rules_json(const std::map<int, RuleMemory>& rules) {
    Json out = Json::array();
    for (const auto& [rule, memory] : rules)
        out.push_back({{"rule", rule}, {"keys", memory.keys}, {"fired_at", memory.fired_at}});
    return out;
}

}  // namespace

const Invocation* State::find_invocation(const InvocationId& invocation) const {
    const auto is = [&](const Invocation& inv) { return inv.id == invocation; };
    const auto found = std::find_if(invocations.begin(), invocations.end(), is);
    return found == invocations.end() ? nullptr : &*found;
}

Invocation* State::find_invocation(const InvocationId& invocation) {
    return const_cast<Invocation*>(std::as_const(*this).find_invocation(invocation));
}

const CageRecord* State::find_cage(const CageId& cage) const {
    const auto is = [&](const CageRecord& record) { return record.id == cage; };
    const auto found = std::find_if(cages.begin(), cages.end(), is);
    return found == cages.end() ? nullptr : &*found;
}

const Granted* State::find_grant(std::int64_t seq) const {
    const auto is = [&](const Granted& grant) { return grant.seq == seq; };
    const auto found = std::find_if(grants.begin(), grants.end(), is);
    return found == grants.end() ? nullptr : &*found;
}

std::string_view to_string(RunStatus status) { return kRunWords[static_cast<std::size_t>(status)]; }

std::string_view to_string(InvocationState state) {
    return kInvocationWords[static_cast<std::size_t>(state)];
}

std::string_view status_of(const State& state) {
    return state.run ? to_string(state.run->status) : std::string_view("idle");
}

Json summary_json(const State& state) {
    return {{"id", state.id.str()},           {"project", state.project},
            {"title", state.title},           {"status", status_of(state)},
            {"created_at", state.created_at}, {"updated_at", state.updated_at},
            {"last_seq", state.last_seq}};
}

Json public_json(const State& state) {
    auto out = summary_json(state);
    out["run"] = run_json(state.run);
    out["queue"] = queue_json(state);
    out["plan"] = plan_json(state.plan);
    out["invocations"] = Json::array();
    for (const auto& inv : state.invocations) out["invocations"].push_back(invocation_json(inv));
    out["pending_steps"] = steps_json(state.pending_steps);
    return out;
}

std::string to_projection(const State& state) {
    auto out = public_json(state);
    for (std::size_t i = 0; i < state.invocations.size(); ++i) {
        out["invocations"][i]["result"] = state.invocations[i].result;
        if (!state.invocations[i].key.empty())
            out["invocations"][i]["key"] = state.invocations[i].key;
    }
    if (state.run) {
        out["run"]["stop_reason"] = state.run->stop_reason;
        out["run"]["notes"] = state.run->notes;
    }
    out["open_steps"] = steps_json(state.open_steps);
    out["signal_keys"] = state.signal_keys;
    out["waiting"] = Json::array();
    for (const auto& waiting : state.waiting) out["waiting"].push_back(waiting_json(waiting));
    out["rules"] = rules_json(state.rules);
    out["agent_sessions"] = state.agent_sessions;
    out["cages"] = Json::array();
    for (const auto& cage : state.cages) out["cages"].push_back(cage_json(cage));
    out["grants"] = Json::array();
    for (const auto& grant : state.grants) out["grants"].push_back(grant_json(grant));
    return dump_json(out);
}

State from_projection(const std::string& text) try {
    const auto doc = Json::parse(text);
    State state;
    state.id = SessionId(doc.at("id").get<std::string>());
    state.project = doc.at("project");
    state.title = doc.at("title");
    state.created_at = doc.at("created_at");
    state.updated_at = doc.at("updated_at");
    state.last_seq = doc.at("last_seq");
    state.run = run_from(doc.at("run"));
    for (const auto& queued : doc.at("queue")) {
        const auto& message = queued.at("message");
        state.queue.push_back(
            {RunId(queued.at("run").get<std::string>()),
             MessageId(message.at("id").get<std::string>()), message.at("text")}
        );
    }
    state.plan = plan_from(doc.at("plan"));
    for (const auto& inv : doc.at("invocations")) state.invocations.push_back(invocation_from(inv));
    state.open_steps = steps_from(doc.at("open_steps"));
    state.pending_steps = steps_from(doc.at("pending_steps"));
    for (const auto& waiting : doc.at("waiting")) state.waiting.push_back(waiting_from(waiting));
    for (const auto& rule : doc.at("rules"))
        state.rules[rule.at("rule")] = {rule.at("keys"), rule.at("fired_at")};
    state.agent_sessions = doc.at("agent_sessions").get<std::map<std::string, std::string>>();
    // A projection of version 0.1.0 has none of these.
    state.signal_keys = doc.value("signal_keys", std::map<std::string, std::int64_t>());
    for (const auto& cage : doc.value("cages", Json::array()))
        state.cages.push_back(cage_from(cage));
    for (const auto& grant : doc.value("grants", Json::array()))
        state.grants.push_back(grant_from(grant));
    return state;
} catch (const Json::exception& e) {
    throw Error(Errc::internal, std::string("read the projection of a session: ") + e.what());
}

}  // namespace volary::session
