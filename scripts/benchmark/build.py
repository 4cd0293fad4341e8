"""What cargo builds, and where it put it: the target folder is not always ours."""

import json
import subprocess


def gateway(root):
    """The release build of the program itself."""
    return _programs(root, ["build", "--release", "--bin=pgsluice"], "bin")["pgsluice"]


def relay(root):
    """The release build of the relay.

    Not in one command with the gateway: an example brings the features that the tests ask for, such
    as tokio's test-util, and the gateway would be measured with these.
    """
    return _programs(root, ["build", "--release", "--example=relay"], "example")["relay"]


def benches(root, names):
    """The benches' programs by name."""
    return _programs(
        root, ["bench", "--no-run", *(f"--bench={name}" for name in names)], "bench")


def _programs(root, arguments, kind):
    command, *rest = arguments
    done = subprocess.run(
        ["cargo", command, "--locked", "--message-format=json-render-diagnostics", *rest],
        cwd=root, check=True, text=True, stdout=subprocess.PIPE)
    programs = {}
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and kind in message["target"]["kind"]:
            programs[message["target"]["name"]] = message["executable"]
    return programs
