// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.hpp"
#include "daemon/agent/builtin/conversation.hpp"
#include "daemon/agent/builtin/live_output.hpp"
#include "daemon/agent/builtin/shell_tool.hpp"
#include "daemon/agent/builtin/turn_runner.hpp"

#include <algorithm>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::builtin;

namespace {

/// A live output whose pieces are kept.
struct Shown {
    asio::io_context loop;
    std::vector<std::string> pieces;
    std::shared_ptr<LiveOutput> live = std::make_shared<LiveOutput>(
        loop.get_executor(), [this](std::string_view text) { pieces.emplace_back(text); }
    );

    std::string all() const {
        std::string out;
        for (const auto& piece : pieces) out += piece;
        return out;
    }
};

/// A model that calls the shell once and then is done.
class ShellModel final : public ModelClient {
public:
    explicit ShellModel(std::string command) : command_(std::move(command)) {}

    asio::awaitable<ModelAnswer> ask(std::string /*request*/, OnDelta /*on_delta*/) override {
        const Json text = {{"type", "text"}, {"text", "done"}};
        const Json call = {
            {"type", "tool_use"}, {"id", "a"}, {"name", "shell"}, {"input", {{"command", command_}}}
        };
        const bool first = asked_++ == 0;
        auto content = std::make_shared<const Json>(Json::array({first ? call : text}));
        co_return ModelAnswer{std::move(content), first ? "tool_use" : "end_turn", {}};
    }

private:
    std::string command_;
    int asked_ = 0;
};

/// Admits everything and keeps what it is told.
class KeepingHost final : public TurnHost {
public:
    asio::awaitable<acp::StepDecision> ask_step(acp::Step /*step*/) override {
        acp::StepDecision decision;
        decision.proceed = true;
        co_return decision;
    }
    void step_ended(acp::StepEnd end) override { ends.push_back(std::move(end)); }
    void update(acp::Update update) override { updates.push_back(std::move(update)); }

    std::string live_text() const {
        std::string out;
        for (const auto& update : updates)
            if (update.tool.status == acp::ToolStatus::in_progress) out += update.tool.text;
        return out;
    }

    std::vector<acp::Update> updates;
    std::vector<acp::StepEnd> ends;
};

void rethrow(const std::exception_ptr& error) {
    if (error) std::rethrow_exception(error);
}

asio::awaitable<void> run_turn(TurnRunner* runner, acp::StopReason* reason) {
    *reason = co_await runner->run("go");
}

}  // namespace

TEST_CASE("a tool that prints byte by byte is shown whole, in few pieces", "[builtin]") {
    Shown shown;
    const std::string text = "curl: (6) Could not resolve host: evil.example\n";
    for (const char c : text) shown.live->add({&c, 1});
    shown.loop.run_for(std::chrono::seconds(5));
    CHECK(shown.all() == text);
    CHECK(shown.pieces.size() == 1);
}

TEST_CASE("what a tool printed last is shown when it ends", "[builtin]") {
    Shown shown;
    shown.live->add("almost");
    shown.live->finish();
    CHECK(shown.all() == "almost");
    shown.live->add("too late");
    shown.live->finish();
    shown.loop.run_for(std::chrono::seconds(5));
    CHECK(shown.all() == "almost");
}

TEST_CASE("a large write of a tool is shown at once", "[builtin]") {
    Shown shown;
    shown.live->add(std::string(LiveOutput::kPiece, 'x'));
    CHECK(shown.all().size() == LiveOutput::kPiece);
}

TEST_CASE("a character that is cut between two reads is shown whole", "[builtin]") {
    Shown shown;
    const std::string euro = "\xe2\x82\xac";
    shown.live->add(std::string(LiveOutput::kPiece, 'x') + euro.substr(0, 2));
    REQUIRE(shown.pieces.size() == 1);
    CHECK(is_utf8(shown.pieces.front()));
    shown.live->add(euro.substr(2));
    shown.live->finish();
    CHECK(shown.pieces.back() == euro);
}

TEST_CASE("half a character at the very end is shown as a replacement", "[builtin]") {
    Shown shown;
    shown.live->add("\xe2\x82");
    shown.live->finish();
    CHECK(is_utf8(shown.all()));
    CHECK_FALSE(shown.all().empty());
}

TEST_CASE("an endless tool is shown up to a limit that is told", "[builtin]") {
    Shown shown;
    const std::string block(64 << 10, 'y');
    for (int i = 0; i < 40; ++i) shown.live->add(block);
    shown.live->finish();
    CHECK(shown.all().size() < LiveOutput::kMost + 100);
    CHECK_THAT(shown.all(), Catch::EndsWith("not shown live ...]\n"));
}

TEST_CASE("nothing is shown of a tool whose caller is gone", "[builtin]") {
    Shown shown;
    shown.live->add("unseen");
    shown.live.reset();
    shown.loop.run_for(std::chrono::seconds(5));
    CHECK(shown.pieces.empty());
}

TEST_CASE("a turn echoes every byte of the shell's output before its result", "[builtin]") {
    asio::io_context loop;
    SystemClock clock;
    ShellModel model("for c in c u r l; do printf $c >&2; done; echo out");
    ShellTool shell("/tmp");
    KeepingHost host;
    Conversation conversation;
    TurnSettings settings;
    settings.session_id = "s";
    settings.model = "smart";
    TurnRunner runner({model, shell, host, clock, [] {}}, settings, conversation);
    auto reason = acp::StopReason::cancelled;
    asio::co_spawn(loop, run_turn(&runner, &reason), rethrow);
    loop.run_for(std::chrono::seconds(15));
    CHECK(reason == acp::StopReason::end_turn);

    // The two streams may be mixed, but nothing of either is missing.
    auto live = host.live_text();
    std::sort(live.begin(), live.end());
    CHECK(live == "\nclortuu");
    const auto& result = host.updates.back().tool;
    CHECK(result.status == acp::ToolStatus::completed);
    const auto answer = Json::parse(result.text);
    CHECK(answer["stderr"] == "curl");
    CHECK(answer["stdout"] == "out\n");
}
