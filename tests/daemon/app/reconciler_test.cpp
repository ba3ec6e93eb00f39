// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/reconciler.hpp"

#include "tests/support/loop.hpp"

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::app;

namespace {

struct World {
    test::Loop loop;
    std::vector<Unfinished> unfinished;
    std::set<InvocationId> live;
    std::vector<Unfinished> lost;
    Reconciler reconciler{
        loop.executor(),
        {[this] { return unfinished; },
         [this](const InvocationId& id) { return live.contains(id); },
         [this](const Unfinished& each) { lost.push_back(each); }}
    };

    ~World() { loop.run(reconciler.close()); }
};

const Unfinished kOne{SessionId("ses_1"), InvocationId("inv_1")};
const Unfinished kTwo{SessionId("ses_1"), InvocationId("inv_2")};

}  // namespace

TEST_CASE("what nobody works on twice in a row is lost", "[app]") {
    World world;
    world.unfinished = {kOne, kTwo};
    world.live = {kTwo.second};
    world.reconciler.compare();
    CHECK(world.lost.empty());
    world.reconciler.compare();
    CHECK(world.lost == std::vector<Unfinished>{kOne});
}

TEST_CASE("an end that was on its way into the log is no loss", "[app]") {
    World world;
    world.unfinished = {kOne};
    world.reconciler.compare();
    world.unfinished.clear();
    world.reconciler.compare();
    // And one that was not there for a moment begins anew.
    world.unfinished = {kOne};
    world.reconciler.compare();
    world.live = {kOne.second};
    world.reconciler.compare();
    world.live.clear();
    world.reconciler.compare();
    CHECK(world.lost.empty());
}
