"""Asks the package index about every locked release: is it vulnerable, withdrawn, of other files than ours?

    python tools/audit.py requirements/runtime.txt requirements/dev.txt

The index is the one pip is configured for; it is asked as PyPI is asked: ``/pypi/NAME/VERSION/json``. A
vulnerability may be accepted, with a reason, in ``tools/audit-accepted.toml``.

Exit codes: 0 all were asked about and nothing was found; 1 something was found; 3 nothing was found, but not all
could be asked about, so nothing is known.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OK, FOUND, UNKNOWN = 0, 1, 3
ACCEPTED = Path(__file__).with_name("audit-accepted.toml")
_SECONDS = 30
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.M)


class Unavailable(Exception):
    """The index gives no such answers, or cannot be reached."""


@dataclass(frozen=True)
class Pin:
    """A release that a lock file names.

    Attributes:
        name: Of the package.
        version: Of the release.
        hashes: SHA-256 of the files that may be installed.
    """

    name: str
    version: str
    hashes: frozenset[str]


def pins(text: str) -> list[Pin]:
    """The releases of a lock file."""
    found = list(_PIN.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    return [
        Pin(
            match[1].lower(),
            match[2],
            frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", text[match.end() : end])),
        )
        for match, end in zip(found, ends, strict=True)
    ]


def index_url() -> str:
    """Root of the index pip uses: what it is configured for, or else its own default."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    configured = re.findall(r"^(?:global|install|:env:)\.index-url='(.+)'$", done.stdout, re.M)
    if configured:
        url = str(configured[-1])
    else:
        from pip._internal.models.index import PyPI

        url = str(PyPI.simple_url)
    return url.rstrip("/").removesuffix("/simple")


def asker(root: str) -> Callable[[Pin], Mapping[str, Any] | None]:
    """A function that gives what the index at ``root`` says of a release; ``None`` where it has none."""

    def ask(pin: Pin) -> Mapping[str, Any] | None:
        request = urllib.request.Request(f"{root}/pypi/{pin.name}/{pin.version}/json")
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise Unavailable(f"the index answers {error.code}") from error
        except (OSError, ValueError) as error:
            raise Unavailable(f"the index cannot be asked: {type(error).__name__}") from error
        if not isinstance(said, dict) or "vulnerabilities" not in said or "urls" not in said:
            raise Unavailable("the index says nothing of vulnerabilities")
        return said

    return ask


def judge(pin: Pin, said: Mapping[str, Any], accepted: Mapping[str, str]) -> list[str]:
    """What is wrong with a release."""
    wrong = []
    for vulnerability in said["vulnerabilities"]:
        names = [vulnerability["id"], *vulnerability.get("aliases", ())]
        if vulnerability.get("withdrawn") or any(name in accepted for name in names):
            continue
        fixed = ", ".join(vulnerability.get("fixed_in") or ()) or "no release"
        wrong.append(f"{' = '.join(names)} (mended in {fixed})")
    if said["urls"] and all(file.get("yanked") for file in said["urls"]):
        wrong.append(f"withdrawn: {said['urls'][0].get('yanked_reason') or 'no reason given'}")
    foreign = pin.hashes - {file["digests"]["sha256"] for file in said["urls"]}
    if foreign:
        wrong.append(f"{len(foreign)} of {len(pin.hashes)} locked files are not those of the index")
    return wrong


def audit(
    locked: Sequence[Pin], ask: Callable[[Pin], Mapping[str, Any] | None], accepted: Mapping[str, str]
) -> tuple[int, list[str]]:
    """The exit code, and lines for people."""
    lines: list[str] = []
    absent: list[Pin] = []
    asked = 0
    for pin in locked:
        try:
            said = ask(pin)
        except Unavailable as error:
            lines.append(f"not audited: {error}")
            break
        if said is None:
            absent.append(pin)
            if not asked:  # an index without this interface has no release at all
                lines.append("not audited: the index gives no answers about releases")
                break
            continue
        asked += 1
        lines += [f"{pin.name} {pin.version}: {wrong}" for wrong in judge(pin, said, accepted)]
    complete = asked + len(absent) == len(locked) and (asked or not locked)
    found = [line for line in lines if not line.startswith("not audited")]
    if complete:
        found += [f"{pin.name} {pin.version}: the index has no such release (any more)" for pin in absent]
        lines = list(found)
    lines.append(f"{asked} of {len(locked)} releases asked about, {len(found)} findings")
    return (FOUND if found else OK if complete else UNKNOWN), lines


def main(arguments: Sequence[str]) -> int:
    """Audit lock files."""
    locked = {pin: None for name in arguments for pin in pins(Path(name).read_text(encoding="utf-8"))}
    accepted = tomllib.loads(ACCEPTED.read_text(encoding="utf-8"))
    code, lines = audit(list(locked), asker(index_url()), accepted)
    print(*lines, sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
