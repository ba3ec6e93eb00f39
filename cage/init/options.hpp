// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace volary::cage {

/// The command line of volary-init; the compiler of the cage writes it, parse_init_options reads
/// it.
struct InitOptions {
    int sync = -1;          ///< --sync FD: socket to the shim
    int signals = -1;       ///< --signals FD: becomes descriptor 3 of the runner
    int seccomp = -1;       ///< --seccomp FD: file with the inner filter; none: there is none
    bool listener = false;  ///< --listener 1: send the filter's listener to the shim
    /// Limits of each process, 0: not set. `data` is RLIMIT_DATA in bytes: the fallback for memory
    /// where no cgroup holds it. Not RLIMIT_AS: runtimes reserve far more address space than they
    /// touch, and RLIMIT_DATA counts private writable pages only.
    std::uint64_t files = 0, processes = 0, data = 0;
    /// --landlock auto|off. With `auto` everything is read-only but /dev and `writable`.
    bool landlock = true;
    /// --first LIFELINE: the caller is the first process of the pid namespace and forks; the end of
    /// the lifeline's peer ends the cage. Only with it come the six below.
    int lifeline = -1;
    int stdio[3] = {-1, -1, -1};  ///< --in FD, --out FD, --err FD
    int outer = -1;               ///< --outer FD: file with the outer filter
    int environment = -1;         ///< --environment FD: file with the environment
    std::vector<int> cgroups;     ///< --cgroup FD: cgroup.procs to enter
    std::string folder;           ///< --folder PATH: working directory
    /// --readable PATH: only what is below these, and below `writable`, can be read or executed;
    /// none: everything that is there. For a root that is the host's own.
    std::vector<std::string> readable;
    std::vector<std::string> writable;  ///< --writable PATH
    int held = -1;                      ///< --held FD: of the --same that follows
    /// --same PATH: what is there must be what the descriptor holds.
    std::vector<std::pair<int, std::string>> same;
    std::vector<std::string> sealed;   ///< --sealed PATH: must be a mount of its own, read-only
    std::vector<std::string> mounted;  ///< --mounted PATH: must be a mount of its own
    std::vector<char*> command;        ///< after `--`; ends with a null pointer
    std::string words;                 ///< what `command` points into with --words
};

/// False with `problem` naming the word that is not understood. `--words FD` alone stands for the
/// words in that file, each of which ends with a zero byte: a launcher may pass on few and short
/// ones only.
bool parse_init_options(int argc, char** argv, InitOptions& out, std::string& problem);

}  // namespace volary::cage
