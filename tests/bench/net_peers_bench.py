#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the user-mode networks of others cost: the connect and the stream of gatekeeper_bench through
pasta and slirp4netns, against a direct loopback connection measured in the same run. Both need
/dev/net/tun. Called with the folder that holds gatekeeper_bench; `--json` prints one object."""
import json
import os
import shutil
import subprocess
import sys

# Both map this address to the host's loopback.
GATEWAY = "10.0.2.2"
PATIENCE_S = 120
PASTA = ["pasta", "-q", "--config-net", "-a", "10.0.2.15", "-n", "24", "-g", GATEWAY,
         "-t", "none", "-u", "none", "-T", "none", "-U", "none", "--"]


def figures(done):
    """The two numbers of a client: us of a connect, GB/s of a stream."""
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "failed")
    connect, stream = done.stdout.split()
    return float(connect), float(stream)


def through_pasta(client):
    return figures(subprocess.run(PASTA + client, capture_output=True, text=True, check=False,
                                  timeout=PATIENCE_S))


def through_slirp(client):
    """A process in a network namespace of its own waits until slirp4netns has its tap ready."""
    wait = 'read line && exec "$@"'
    ready, told = os.pipe()
    inside = subprocess.Popen(["unshare", "-Urn", "sh", "-c", wait, "sh", *client],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True)
    # unshare(1) execs in place, so its pid is the namespace's once its user namespace differs.
    own = os.readlink("/proc/self/ns/net")
    while inside.poll() is None and os.readlink(f"/proc/{inside.pid}/ns/net") == own:
        os.sched_yield()
    slirp = subprocess.Popen(["slirp4netns", "-c", "--mtu=65520", "-r", str(told), str(inside.pid),
                              "tap0"], pass_fds=[told], stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True)
    os.close(told)
    try:
        if os.read(ready, 1) != b"1":
            raise RuntimeError(slirp.communicate()[1].strip().splitlines()[-1])
        out, err = inside.communicate("go\n", timeout=PATIENCE_S)
        return figures(subprocess.CompletedProcess(client, inside.returncode, out, err))
    finally:
        os.close(ready)
        for process in (inside, slirp):
            process.kill()
            process.wait()


def measure(folder):
    bench = os.path.join(folder, "gatekeeper_bench")
    out = {}
    with subprocess.Popen([bench, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as server:
        port = server.stdout.readline().strip()
        for peer, through in (("pasta", through_pasta), ("slirp4netns", through_slirp)):
            keys = (f"{peer}_connect_added_us_p50", f"{peer}_throughput_ratio")
            if shutil.which(peer) is None:
                out.update(dict.fromkeys(keys, "not installed"))
                continue
            direct = figures(subprocess.run([bench, "--client", "127.0.0.1", port], text=True,
                                            capture_output=True, check=False, timeout=PATIENCE_S))
            try:
                got = through([bench, "--client", GATEWAY, port])
                out[keys[0]] = round(got[0] - direct[0], 1)
                out[keys[1]] = round(got[1] / direct[1], 3)
            except (RuntimeError, OSError, ValueError, subprocess.TimeoutExpired) as error:
                out.update(dict.fromkeys(keys, f"cannot run here: {error}"))
        server.stdin.close()
    return out


if __name__ == "__main__":
    result = measure(next(a for a in sys.argv[1:] if not a.startswith("--")))
    if "--json" in sys.argv[1:]:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:36} {value}")
