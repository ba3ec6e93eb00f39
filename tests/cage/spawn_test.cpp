// SPDX-License-Identifier: Apache-2.0
// Real cages: needs bwrap, the built programs and an ordinary user.
#include "tests/cage/spawn_fixture.hpp"

#include <csignal>
#include <fstream>

#include <catch2/catch.hpp>

using namespace volary;
using namespace volary::cage;
using namespace volary::cage::test;
using Catch::Contains;

TEST_CASE("the exit status of the runner is passed through", "[cage]") {
    Aviary aviary;
    const auto outcome = aviary.shell("echo out; echo err >&2; exit 7");
    CHECK(outcome.exit.status == ExitStatus{7, 0});
    CHECK(outcome.exit.reason == "exited");
    CHECK(outcome.out == "out\n");
    CHECK(outcome.err == "err\n");
    CHECK(aviary.run(aviary.request({"/bin/true"})).exit.status.ok());
    CHECK(aviary.shell("kill -KILL $$").exit.status.shell_code() == 128 + SIGKILL);
}
