// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <stdlib.h>
#include <string>
#include <string_view>

namespace volary::dsl {

/// A project folder below the temporary folder that goes away with it.
class TempProject {
public:
    TempProject() {
        auto name = (std::filesystem::temp_directory_path() / "volary-dsl-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
        root_ = std::filesystem::canonical(name);
        write("prompts/primary.md", "You lead.\n");
        write("prompts/scraper.md", "You scrape.\n");
        write("data/keep", "");
        write("site/index.html", "<p>");
        write("deploy/keep", "");
    }
    TempProject(const TempProject&) = delete;
    TempProject& operator=(const TempProject&) = delete;
    ~TempProject() {
        std::error_code ignored;
        std::filesystem::remove_all(root_, ignored);
    }

    const std::filesystem::path& root() const { return root_; }
    std::string at(const std::string& relative) const { return (root_ / relative).string(); }

    void write(const std::string& relative, std::string_view text) const {
        const auto path = root_ / relative;
        std::filesystem::create_directories(path.parent_path());
        std::ofstream(path, std::ios::binary) << text;
    }
    void project(std::string_view text) const { write(".volary/project.yaml", text); }
    void overlay(std::string_view text) const { write(".volary/project.local.yaml", text); }

private:
    std::filesystem::path root_;
};

/// The example of docs/dsl.md.
inline constexpr std::string_view kStory = R"(version: 1
project: music-site
description: Watches record shops and prepares deploys.

primary:
  model: smart
  system_prompt: project:/prompts/primary.md
  tools: { shell: { enabled: false } }
  max_steps: 60
  subagents:
    scraper:
      description: Finds new releases.
      model: fast
      system_prompt: project:/prompts/scraper.md
      signals: [found_release]
      cage:
        fs:  [ { path: project:/data, mode: rw } ]
        net: { allow: ["bandcamp.com:443", "*.bandcamp.com:443"] }
        limits: { memory: 512M, cpu: 1, pids: 64, wall: 10m }
    deployer:
      description: Prepares a deploy of the site.
      runner: { exec: ["./deploy-prep.sh"] }
      cage:
        fs:  [ { path: project:/site, mode: ro }, { path: project:/deploy, mode: rw } ]
        net: { allow: [ { to: "k3s.local:6443", private: true } ] }

interconnect:
  - { on: found_release, from: scraper, invoke: deployer, dedupe: "$.url", max_in_flight: 1 }
)";

/// The smallest project.
inline constexpr std::string_view kSmallest = R"(version: 1
project: small
primary:
  model: smart
  system_prompt: project:/prompts/primary.md
)";

}  // namespace volary::dsl
