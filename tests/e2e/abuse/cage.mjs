// SPDX-License-Identifier: Apache-2.0
// What the abuse suite shares: one workspace, a secret beside it, and commands that run in a cage of
// it. Each attempt is a short program; a control beside it shows that what is refused would work if
// the policy allowed it, so that no attempt passes because it was written wrong.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { bin, run } from "../../support/daemon.mjs";

export const kSecret = "the-secret-of-the-host";

/** The policy with the back end that VOLARY_CAGE_BACKEND names: every attempt is made on each. */
export function withBackend(policy) {
  const backend = process.env.VOLARY_CAGE_BACKEND;
  if (!backend) return policy;
  const text = policy.trim();
  if (!text.startsWith("{")) return `${policy}\nbackend: ${backend}`;
  return text === "{}" ? `{ backend: ${backend} }` : `{ backend: ${backend}, ${text.slice(1)}`;
}

export class Workspace {
  constructor(t) {
    this.folder = mkdtempSync(path.join(tmpdir(), "volary-abuse-"));
    // Who was killed a moment ago may still finish the file that he was making.
    t.after(() => rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 }));
    this.work = path.join(this.folder, "work");
    this.outside = path.join(this.folder, "outside");
    this.secret = path.join(this.outside, "secret");
    mkdirSync(path.join(this.work, ".git/hooks"), { recursive: true });
    mkdirSync(path.join(this.work, ".volary"));
    mkdirSync(this.outside);
    writeFileSync(path.join(this.work, ".git/config"), "[core]\n");
    writeFileSync(path.join(this.work, ".volary/project.yaml"), "version: 1\n");
    writeFileSync(this.secret, `${kSecret}\n`);
    chmodSync(this.secret, 0o666);
  }

  /** Runs a shell command in a cage of `policy` (YAML); {code, stdout, stderr}. */
  caged(command, policy = "{}") {
    return this.cagedProgram(["/bin/sh", "-c", command], policy);
  }

  cagedProgram(argv, policy = "{}") {
    const file = path.join(this.folder, "policy.yaml");
    writeFileSync(file, `${withBackend(policy)}\n`);
    return run(path.join(bin, "volary"), ["cage", "run", "--policy", file, "--", ...argv], {
      cwd: this.work,
    });
  }

  /** Runs Python in a cage; what is refused shows as an exception with its errno. */
  python(script, policy = "{}") {
    return this.cagedProgram(["/usr/bin/python3", "-I", "-c", script], policy);
  }
}
