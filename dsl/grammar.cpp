// SPDX-License-Identifier: Apache-2.0
#include "dsl/grammar.hpp"

#include "dsl/checks.hpp"

#include <array>

namespace volary::dsl {
namespace {

using enum Type::Kind;
using enum Key::Need;

// --- scalars -------------------------------------------------------------------------------

constexpr Type text_type(std::string_view expected, std::size_t max_length) {
    Type type;
    type.expected = expected;
    type.accepts_text = true;
    type.max_length = max_length;
    return type;
}

constexpr Type pattern_type(std::string_view expected, std::string_view pattern) {
    Type type;
    type.expected = expected;
    type.accepts_text = true;
    type.pattern = pattern;
    return type;
}

constexpr Type checked_type(
    std::string_view expected, ScalarCheck check, std::string_view pattern = {}
) {
    auto type = pattern_type(expected, pattern);
    type.check = check;
    type.max_length = 512;
    return type;
}

constexpr Type integer_type(std::string_view expected, double min, double max) {
    Type type;
    type.expected = expected;
    type.accepts_integer = true;
    type.min = min;
    type.max = max;
    return type;
}

constexpr Type word_type(
    std::string_view expected, std::span<const std::string_view> words,
    std::span<const std::string_view> later_words = {}
) {
    Type type;
    type.expected = expected;
    type.accepts_text = true;
    type.words = words;
    type.later_words = later_words;
    return type;
}

constexpr Type list_type(
    std::string_view expected, const Type& item, std::size_t max, std::size_t min = 0
) {
    Type type;
    type.kind = list;
    type.expected = expected;
    type.item = &item;
    type.min_items = min;
    type.max_items = max;
    return type;
}

constexpr Type map_type(
    std::string_view expected, const Type& key, const Type& item, std::size_t max
) {
    Type type;
    type.kind = map;
    type.expected = expected;
    type.key = &key;
    type.item = &item;
    type.max_items = max;
    return type;
}

constexpr Type either_type(std::string_view expected, std::span<const Type* const> alternatives) {
    Type type;
    type.kind = either;
    type.expected = expected;
    type.alternatives = alternatives;
    return type;
}

constexpr Type object_type(
    std::string_view name, std::string_view expected, std::span<const Key> keys
) {
    Type type;
    type.kind = object;
    type.name = name;
    type.expected = expected;
    type.keys = keys;
    return type;
}

constexpr Type make_later() {
    Type type;
    type.kind = later;
    return type;
}

constexpr Type make_version() {
    auto type = integer_type("1", 1, 1);
    type.check = check_version;
    return type;
}

/// Whole bytes are a size too.
constexpr Type make_size() {
    auto type = checked_type("a size such as 512M", check_size, "^[1-9][0-9]*[KMGT]?$");
    type.accepts_integer = true;
    type.min = 1;
    type.max = 9e18;
    return type;
}

constexpr Type make_cpu() {
    auto type = integer_type("a number of CPUs such as 0.5", 0.01, 1024);
    type.accepts_number = true;
    return type;
}

constexpr Type make_null() {
    Type type;
    type.expected = "nothing";
    type.accepts_null = true;
    return type;
}

constexpr Type make_boolean() {
    Type type;
    type.expected = "true or false";
    type.accepts_boolean = true;
    return type;
}

constexpr Type kLater = make_later();
constexpr Type kNull = make_null();
constexpr Type kBoolean = make_boolean();
constexpr Type kVersion = make_version();
constexpr Type kSize = make_size();
constexpr Type kCpu = make_cpu();
constexpr Type kDuration =
    checked_type("a time such as 10m", check_duration, "^[1-9][0-9]*(ms|s|m|h|d)$");
constexpr Type kSlug = pattern_type(
    "2 to 64 lower-case letters, digits and \"-\", \"-\" neither first nor last",
    "^[a-z0-9][a-z0-9-]{0,62}[a-z0-9]$"
);
constexpr Type kDescription = text_type("text", kMaxDescription);
constexpr Type kAgentName = pattern_type(
    "a name of lower-case letters, digits, \"-\" and \"_\"", "^[a-z0-9][a-z0-9_-]{0,62}$"
);
constexpr Type kAgentRef = pattern_type(
    "an agent: its path such as \"primary/scraper\", or its name",
    "^[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*$"
);
constexpr Type kAgentOrAny = pattern_type(
    "an agent's path or name, or \"*\"", "^([*]|[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*)$"
);
constexpr Type kSignal = pattern_type(
    "a signal's name: lower-case letters, digits, \".\", \"-\" and \"_\"",
    "^[a-z][a-z0-9_.-]{0,62}$"
);
constexpr Type kAlias = pattern_type(
    "a model alias of the operator's config, such as smart", "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
);
constexpr Type kToolName = pattern_type(
    "a tool's name, \"*\" stands for any letters", "^[A-Za-z0-9*][A-Za-z0-9_.*:/-]{0,127}$"
);
constexpr Type kEnvName = pattern_type("a variable's name", "^[A-Za-z_][A-Za-z0-9_]{0,127}$");
constexpr Type kUri =
    pattern_type("a path such as project:/data or config:/prompts/a.md", "^(project|config):/.*$");
constexpr Type kCagePath = pattern_type("an absolute path in the cage", "^/.+$");
constexpr Type kServerName =
    pattern_type("a host name", "^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?$");
constexpr Type kText = text_type("text", 32768);
constexpr Type kPointer = checked_type("a JSON pointer", check_pointer, "^([$].*|/.*|)$");
constexpr Type kRuleText = checked_type("a rule such as \"example.com:443\"", check_net_rule);

constexpr Type kCount = integer_type("a whole number", 1, 10'000);
constexpr Type kParallel = integer_type("a whole number", 1, 64);
constexpr Type kPids = integer_type("a whole number", 1, 100'000);
constexpr Type kPort = integer_type("a port", 1, 65535);
constexpr Type kFiles = integer_type("a whole number", 16, 1'048'576);
constexpr Type kDepth = integer_type("a whole number", 1, 16);

// --- cage ----------------------------------------------------------------------------------

constexpr std::array<std::string_view, 5> kModeWords{"ro", "rw", "cow", "tmp", "hide"};
constexpr Type kMode = word_type("ro, rw, cow, tmp or hide", kModeWords);
constexpr std::array kFsKeys{
    Key{"path", &kUri, optional, "What is mounted; needed but for a tmp entry with `at`."},
    Key{"mode", &kMode, required,
        "ro, rw, cow (changes go to a layer), tmp (empty, private) or hide."},
    Key{"at", &kCagePath, optional,
        "Where it appears in the cage; default: its place below /workspace."},
};
constexpr Type kFsEntry = object_type("fs_entry", "a map with path and mode", kFsKeys);
constexpr Type kFs = list_type("a list of folders and files", kFsEntry, kMaxFsRules);

constexpr Type kCredential = pattern_type(
    "the name of a credential of the operator's config", "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
);
constexpr Type kMethod = checked_type("an HTTP method such as GET", check_method, "^[A-Z]{1,16}$");
constexpr Type kMethods = list_type("a list of HTTP methods", kMethod, 16, 1);
constexpr Type kHttpPath = checked_type(
    "a path such as /api or, with all below it, /api/*", check_http_path,
    "^/[A-Za-z0-9._~%!$&'()+,;=:@/-]*[*]?$"
);
constexpr Type kPaths = list_type("a list of paths", kHttpPath, 64, 1);
constexpr std::array kNetKeys{
    Key{"to", &kRuleText, required, "host, host:port, *.domain:port or block:port."},
    Key{"private", &kBoolean, optional, "Allow answers with private addresses."},
    Key{"sni", &kServerName, optional, "TLS server name to expect when it is not the host."},
    Key{"credential", &kCredential, optional,
        "An operator's credential: the gatekeeper adds it to plain requests and speaks TLS out."},
    Key{"methods", &kMethods, optional, "HTTP methods to allow; default: all."},
    Key{"paths", &kPaths, optional, "HTTP paths to allow, \"*\" at the end is any; default: all."},
};
constexpr Type kNetObject = object_type("net_rule", "a map with to", kNetKeys);
constexpr std::array kNetChoices{&kRuleText, &kNetObject};
constexpr Type kNetEntry =
    either_type("a rule such as \"example.com:443\" or a map with to", kNetChoices);
constexpr Type kAllow = list_type("a list of rules", kNetEntry, kMaxNetRules);
constexpr Type kPortName = pattern_type(
    "a name of lower-case letters, digits and \"-\"", "^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"
);
constexpr std::array kPortKeys{
    Key{"name", &kPortName, required, "Its name in the address of the page."},
    Key{"port", &kPort, required, "TCP port of the cage's loopback."},
    Key{"public", &kBoolean, optional, "Also for those who may only look at the session."},
};
constexpr Type kPortEntry = object_type("published_port", "a map with name and port", kPortKeys);
constexpr Type kPorts = list_type("a list of ports", kPortEntry, kMaxPorts);
constexpr std::array kNetSectionKeys{
    Key{"allow", &kAllow, optional, "What the cage may connect to; nothing else is reachable."},
    Key{"ports", &kPorts, optional, "Ports of the cage that the daemon publishes."},
};
constexpr Type kNet = object_type("net", "a map with allow and ports", kNetSectionKeys);

constexpr std::array kLimitKeys{
    Key{"memory", &kSize, optional, "Main memory, all processes together; default 2G."},
    Key{"cpu", &kCpu, optional, "CPUs, e.g. 0.5; default: no limit."},
    Key{"pids", &kPids, optional, "Processes and threads; default 512."},
    Key{"wall", &kDuration, optional, "Time until the cage is stopped; default: no limit."},
    Key{"disk", &kSize, optional, "The private writable layer ($HOME, /tmp); default 1G."},
    Key{"files", &kFiles, optional, "Open files of one process; default 4096."},
    Key{"swap", &kSize, optional, "Swap space beside the memory; default: none."},
    Key{"output", &kSize, optional, "Output a second; more waits. Default: no limit."},
};
constexpr Type make_limits() {
    auto type = object_type("limits", "a map of limits", kLimitKeys);
    type.null_removes = true;
    return type;
}
constexpr Type kLimits = make_limits();

constexpr Type kEnv = map_type("a map of variables", kEnvName, kText, 256);
constexpr std::array<std::string_view, 2> kSeccompWords{"default", "relaxed"};
constexpr Type kSeccompWord = word_type("default or relaxed", kSeccompWords);
constexpr Type kCall = pattern_type("the name of a system call", "^[a-z0-9_]{1,64}$");
constexpr Type kCalls = list_type("a list of system calls", kCall, kMaxCalls);
constexpr std::array kSeccompKeys{
    Key{"add", &kCalls, optional, "System calls to allow beyond the default profile."},
    Key{"remove", &kCalls, optional, "System calls to refuse beyond the default profile."},
};
constexpr Type kSeccompObject = object_type("seccomp", "a map with add and remove", kSeccompKeys);
constexpr std::array kSeccompChoices{&kSeccompWord, &kSeccompObject};
constexpr Type kSeccomp =
    either_type("default, relaxed, or a map with add and remove", kSeccompChoices);

constexpr std::array<std::string_view, 2> kStateWords{"ephemeral", "kept"};
constexpr Type kState = word_type("ephemeral or kept", kStateWords);
constexpr std::array<std::string_view, 4> kBackendWords{"bwrap", "native", "podman", "firejail"};
constexpr Type kBackend = word_type("bwrap, native, podman or firejail", kBackendWords);
/// layer_names(), which no constant expression can call.
constexpr std::array<std::string_view, 10> kLayerWords{
    "landlock", "seccomp", "notify", "network", "cgroup", "memory", "swap", "cpu", "pids", "disk"
};
constexpr Type kLayer = word_type(
    "landlock, seccomp, notify, network, cgroup, memory, swap, cpu, pids or disk", kLayerWords
);
constexpr Type kRequire = list_type("a list of layers", kLayer, kLayerWords.size());
constexpr Type kDevice =
    checked_type("a device such as /dev/dri/renderD128", check_device, "^/dev/[A-Za-z0-9._:/-]+$");
constexpr Type kDevices = list_type("a list of devices", kDevice, kMaxDevices);

constexpr std::array kCageKeys{
    Key{"fs", &kFs, optional,
        "Folders and files; with this key the workspace is read-only except for its entries."},
    Key{"net", &kNet, optional, "The network; default: none."},
    Key{"limits", &kLimits, optional, "Resource limits."},
    Key{"seccomp", &kSeccomp, optional, "The system call filter: default, relaxed, or changes."},
    Key{"env", &kEnv, optional, "Environment variables in the cage."},
    Key{"state", &kState, optional, "Whether $HOME and cow layers are kept; default ephemeral."},
    Key{"backend", &kBackend, optional, "What builds the cage; default bwrap."},
    Key{"require", &kRequire, optional, "Layers without which the cage is refused."},
    Key{"devices", &kDevices, optional, "Devices of the host; the operator's ceiling lists them."},
    Key{"detached", &kBoolean, optional, "May exceed the parent's cage."},
    Key{"disabled", &kBoolean, optional, "No cage: as `cage: disabled`, but may be detached."},
};
constexpr Type make_cage() {
    auto type = object_type("cage", "a map", kCageKeys);
    type.null_removes = true;
    return type;
}
constexpr Type kCage = make_cage();

// --- agent ---------------------------------------------------------------------------------

constexpr std::array<std::string_view, 1> kDisabledWords{"disabled"};
constexpr Type kDisabled = word_type("disabled", kDisabledWords);
constexpr std::array kCageChoices{&kDisabled, &kCage};
constexpr Type kAgentCage = either_type("a cage (a map) or disabled", kCageChoices);

constexpr Type kAliases = list_type("a list of model aliases", kAlias, 8, 1);
constexpr std::array kModelChoices{&kAlias, &kAliases};
constexpr Type kModel = either_type("a model alias or a list of them", kModelChoices);

constexpr std::array<std::string_view, 1> kRunnerWords{"builtin"};
/// Registered agents come with their adapters.
constexpr std::array<std::string_view, 5> kRunnerLater{
    "claude-code", "codex", "gemini", "goose", "opencode"
};
constexpr Type kRunnerWord = word_type("builtin, or a map with exec", kRunnerWords, kRunnerLater);
constexpr Type kArgument = text_type("text", 4096);
constexpr Type kArgv = list_type("a program and its arguments, as a list", kArgument, 128, 1);
constexpr std::array kRunnerKeys{
    Key{"acp", &kLater, optional, "An agent that speaks ACP on stdio."},
    Key{"exec", &kArgv, optional, "A plain program: input on stdin, output streamed."},
    Key{"pty", &kLater, optional, "A terminal program for a human."},
};
constexpr Type make_runner() {
    auto type = object_type("runner", "a map with exec", kRunnerKeys);
    type.one_key = true;
    return type;
}
constexpr Type kRunnerObject = make_runner();
constexpr std::array kRunnerChoices{&kRunnerWord, &kRunnerObject};
constexpr Type kRunner = either_type("builtin, or a map with exec", kRunnerChoices);

constexpr std::array kToolKeys{
    Key{"enabled", &kBoolean, optional, "Whether the agent may use it; default true."},
    Key{"description", &kDescription, optional, "Replaces the tool's own description."},
    Key{"parameters", &kLater, optional, "Fixed parameters."},
};
constexpr Type kToolObject = object_type("tool", "a map with enabled or description", kToolKeys);
constexpr std::array kToolChoices{&kToolObject, &kNull};
constexpr Type kTool = either_type("a map with enabled or description", kToolChoices);
constexpr Type kTools = map_type("a map of tool names", kToolName, kTool, 256);
constexpr Type kSignals = list_type("a list of signal names", kSignal, 64);

extern const Type kAgent;
constexpr Type kSubagents = map_type("a map of agents", kAgentName, kAgent, kMaxSubagents);

constexpr std::array kAgentKeys{
    Key{"model", &kModel, optional, "Model alias, or several in fallback order; inherited."},
    Key{"system_prompt", &kUri, optional, "File with the system prompt; required for builtin."},
    Key{"runner", &kRunner, optional, "How the agent is executed; default builtin."},
    Key{"cage", &kAgentCage, optional, "What the agent may touch."},
    Key{"tools", &kTools, optional, "Tools by name or glob; all are on by default."},
    Key{"subagents", &kSubagents, optional, "Agents that this one may invoke."},
    Key{"description", &kDescription, optional, "Shown to the parent."},
    Key{"signals", &kSignals, optional, "Signals that the agent may emit."},
    Key{"env", &kEnv, optional, "Environment variables of the runner."},
    Key{"max_steps", &kCount, optional, "Model and tool calls of one invocation."},
    Key{"max_output_tokens", &kLater, optional, "Tokens of one model answer."},
    Key{"max_parallel", &kLater, optional, "Invocations of this agent at the same time."},
    Key{"timeout", &kLater, optional, "Time for one invocation."},
    Key{"path", &kLater, optional, "Another project whose primary this is."},
    Key{"overrides", &kLater, optional, "What changes in the other project."},
    Key{"template", &kLater, optional, "A template to start from."},
    Key{"contexts", &kLater, optional, "What the agent is given to read."},
    Key{"skills", &kLater, optional, "Folders with SKILL.md."},
    Key{"credentials", &kLater, optional, "Credentials that its cage may use."},
    Key{"hooks", &kLater, optional, "Programs that run on its events."},
    Key{"budget", &kLater, optional, "What it may spend."},
    Key{"compaction", &kLater, optional, "How a long conversation is shortened."},
    Key{"approvals", &kLater, optional, "What it must ask for."},
};
constexpr Type kAgent = object_type("agent", "an agent (a map)", kAgentKeys);

// --- top level -----------------------------------------------------------------------------

constexpr Type kPointers = list_type("a list of JSON pointers", kPointer, 16, 1);
constexpr std::array kPointerChoices{&kPointer, &kPointers};
constexpr Type kPointerOrList = either_type("a JSON pointer or a list of them", kPointerChoices);
constexpr std::array kDedupeKeys{
    Key{"by", &kPointerOrList, required, "Pointers into the signal's data."},
    Key{"window", &kDuration, optional, "How long a duplicate counts; default: the session."},
};
constexpr Type kDedupeObject = object_type("dedupe", "a map with by and window", kDedupeKeys);
constexpr std::array kDedupeChoices{&kPointer, &kPointers, &kDedupeObject};
constexpr Type kDedupe =
    either_type("a JSON pointer, a list of them, or a map with by and window", kDedupeChoices);
constexpr std::array<std::string_view, 2> kOnLimitWords{"hold", "drop"};
constexpr Type kOnLimit = word_type("hold or drop", kOnLimitWords);
constexpr std::array kRuleKeys{
    Key{"on", &kSignal, required, "The signal."},
    Key{"from", &kAgentOrAny, required, "The agent that emits it, or \"*\"."},
    Key{"invoke", &kAgentRef, required, "The agent to invoke."},
    Key{"dedupe", &kDedupe, optional, "Equal values there are one signal."},
    Key{"max_in_flight", &kParallel, optional,
        "Invocations of the rule at the same time; default 1."},
    Key{"max_depth", &kDepth, optional, "Length of a chain of signals; default 4."},
    Key{"max_per_minute", &kCount, optional, "Firings a minute; default 30."},
    Key{"on_limit", &kOnLimit, optional, "What happens beyond a limit; default hold."},
    Key{"with", &kLater, optional, "A template of the input."},
    Key{"when", &kLater, optional, "Conditions on the signal's data."},
};
constexpr Type kRule =
    object_type("interconnect_rule", "a rule (a map with on, from and invoke)", kRuleKeys);
constexpr Type kInterconnect = list_type("a list of rules", kRule, kMaxInterconnect);

constexpr std::array kProjectKeys{
    Key{"version", &kVersion, required, "Version of this format: 1."},
    Key{"project", &kSlug, required, "Name of the project."},
    Key{"description", &kDescription, optional, "What the project is for."},
    Key{"primary", &kAgent, required, "The agent that the operator talks to."},
    Key{"interconnect", &kInterconnect, optional, "Signals that invoke agents."},
    Key{"cage_defaults", &kCage, optional, "Base of every agent's cage."},
    Key{"plugins", &kLater, optional, "Project plugins."},
    Key{"mcp", &kLater, optional, "MCP servers."},
    Key{"workflows", &kLater, optional, "Named prompts."},
    Key{"tasks", &kLater, optional, "Named one-shot work."},
    Key{"schedules", &kLater, optional, "Work at fixed times."},
    Key{"templates", &kLater, optional, "Reusable agents."},
    Key{"contexts", &kLater, optional, "What every agent is given to read."},
    Key{"skills", &kLater, optional, "Folders with SKILL.md."},
    Key{"budgets", &kLater, optional, "What the project may spend."},
    Key{"sessions", &kLater, optional, "Defaults of sessions."},
};
constexpr Type kProject = object_type("project", "a project (a map)", kProjectKeys);

}  // namespace

const Type& project_type() { return kProject; }

const Type& cage_type() { return kCage; }

}  // namespace volary::dsl
