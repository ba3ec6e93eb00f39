// SPDX-License-Identifier: Apache-2.0
#include "cage/firejail/launch.hpp"

#include <cerrno>
#include <fcntl.h>
#include <signal.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace volary::cage {

namespace {

/// The words from `first` on as a file. firejail takes 128 words of 4 KiB at most.
int write_words(const std::vector<std::string>& words, std::size_t first, int sync) {
    std::string text;
    for (std::size_t i = first; i < words.size(); ++i) text.append(words[i]).push_back('\0');
    const int file = ::memfd_create("volary", 0);
    const auto size = static_cast<ssize_t>(text.size());
    if (file < 0 || ::write(file, text.data(), text.size()) != size)
        report_and_exit(sync, "write", "the words of volary-init");
    return file;
}

}  // namespace

void become_firejail(const wire::Launch& launch, Prepared& prepared, int said) {
    // firejail's own, and the program that it starts.
    const auto own = launch.launcher.size() + 1;
    const int sync = prepared.sync.get();
    // Its own streams are none of the command's, which go to volary-init as descriptors.
    for (int to = 0; to <= 2; ++to)
        if (::dup2(said, to) < 0) report_and_exit(sync, "dup2", "standard streams");
    auto& words = prepared.argv;
    for (const int fd : prepared.keep)
        if (::fcntl(fd, F_SETFD, 0) < 0) report_and_exit(sync, "keep descriptor", "");
    const int file = write_words(words, own, sync);
    words.resize(own);
    // All that are left by the exec: what the cage needs, and volary-init closes the rest.
    words.insert(words.begin() + 1, "--keep-fd=all");
    words.push_back("--words");
    words.push_back(std::to_string(file));
    prepared.pointers.clear();
    for (auto& word : words) prepared.pointers.push_back(word.data());
    prepared.pointers.push_back(nullptr);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    char path[] = "PATH=/usr/bin:/bin";
    char* const environment[] = {path, nullptr};
    ::execve(words.front().c_str(), prepared.pointers.data(), environment);
    report_and_exit(sync, "execute", words.front().c_str());
}

}  // namespace volary::cage
