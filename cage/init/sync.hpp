// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace volary::cage::sync {

/// What volary-init says to the shim over their SOCK_SEQPACKET pair. The kernel tells the shim the
/// sender's pid (SO_PASSCRED), translated into the shim's pid namespace.
/// Everything is applied; waits for kGo before it executes. The listener of the notified system
/// calls comes beside it where the launch says so.
constexpr char kReady = 'R';
/// Another socket for all that follows comes beside it: the exec shall close the last copy, and the
/// programs between the shim and the cage hold one of the first.
constexpr char kMoved = 'M';
constexpr char kFailed = 'F';  ///< then "ERRNO\0STEP\0SUBJECT"; init exits with kExitFailed
constexpr char kGo = 'G';      ///< shim -> init

constexpr int kMaxMessage = 4096;  ///< a path in a message is cut off beyond it
/// Exit status of init when it could not execute the runner.
constexpr int kExitFailed = 127;

}  // namespace volary::cage::sync
