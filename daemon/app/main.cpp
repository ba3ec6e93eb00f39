// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/options.hpp"

int main(int argc, char** argv) { return volary::app::run_command_line(argc, argv); }
