"""Checks the releases of lock files for known vulnerabilities with pip-audit.

    python tools/audit.py requirements/*.txt [-- OPTIONS OF PIP-AUDIT]

pip-audit exits with 1 both for a vulnerability and for an advisory service that does not answer. Here only the
former fails; the latter is reported as skipped.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence


def audit(lock: str, options: Sequence[str]) -> bool:
    """Print what is known about one lock file; whether it passes."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--progress-spinner=off", "--requirement", lock]
    parsed = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=False)
    if parsed.returncode:  # whatever fails from here on is not the file
        print(f"{lock}: {parsed.stderr.strip()}")
        return False
    done = subprocess.run([*command, "--format=json", *options], capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        print(
            f"{lock}: skipped: the advisory service does not answer: {done.stderr.strip().rpartition(chr(10))[2]}"
        )
        return True
    releases = json.loads(done.stdout)["dependencies"]
    checked = [release for release in releases if "skip_reason" not in release]
    found = [(release, vulnerability) for release in checked for vulnerability in release["vulns"]]
    for release, vulnerability in found:
        names = " = ".join([vulnerability["id"], *vulnerability["aliases"]])
        fixed = ", ".join(vulnerability["fix_versions"]) or "no release"
        print(f"{lock}: {release['name']} {release['version']}: {names} (fixed in {fixed})")
    if checked or not releases:
        print(f"{lock}: {len(checked)} of {len(releases)} releases checked, {len(found)} vulnerabilities")
    else:
        print(f"{lock}: skipped: the advisory service knows none of the {len(releases)} releases")
    return not found


def main(arguments: Sequence[str]) -> int:
    """Audit lock files; the exit code."""
    locks, options = list(arguments), []
    if "--" in locks:
        at = locks.index("--")
        locks, options = locks[:at], locks[at + 1 :]
    passed = [audit(lock, options) for lock in locks]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
