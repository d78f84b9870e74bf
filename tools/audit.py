"""Asks the package index about every locked release: is it vulnerable, withdrawn, of other files than ours?

    python tools/audit.py requirements/runtime.txt requirements/dev.txt

The index is the one pip is configured for; it is asked as PyPI is asked: ``/pypi/NAME/VERSION/json``. One that
does not answer that is asked as pip asks it, ``/simple/NAME/``: that tells which files there are, their hashes,
and whether they were withdrawn, but nothing of vulnerabilities. A vulnerability may be accepted, with a reason, in
``tools/audit-accepted.toml``.

Exit codes: 0 all was asked about and nothing was found; 1 something was found; 3 nothing was found, but not all
could be asked about. What was and what was not is told.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
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


def simple_asker(root: str) -> Callable[[Pin], Mapping[str, Any] | None]:
    """The same from what pip reads; without ``vulnerabilities``, of which that says nothing."""

    def ask(pin: Pin) -> Mapping[str, Any] | None:
        name = re.sub(r"[-_.]+", "-", pin.name)
        request = urllib.request.Request(f"{root}/simple/{name}/", headers={"Accept": _SIMPLE})
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
                data, kind = answer.read(), answer.headers.get_content_type()
            files = json.loads(data)["files"] if kind.endswith("+json") else _links(data.decode())
            urls = [_file(file) for file in files if _version(file["filename"]) == pin.version]
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise Unavailable(f"the index answers {error.code}") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Unavailable(f"the index cannot be asked: {type(error).__name__}") from error
        return {"urls": urls} if urls else None

    return ask


_SIMPLE = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"


def _file(file: Mapping[str, Any]) -> dict[str, Any]:
    yanked = file.get("yanked", False)
    reason = yanked if isinstance(yanked, str) else ""
    return {
        "digests": {"sha256": file["hashes"].get("sha256", "")},
        "yanked": yanked is not False,
        "yanked_reason": reason,
    }


def _version(filename: str) -> str:
    """Of a file of a release; empty if its name says none."""
    from pip._vendor.packaging.utils import parse_sdist_filename, parse_wheel_filename

    parse = parse_wheel_filename if filename.endswith(".whl") else parse_sdist_filename
    try:
        return str(parse(filename)[1])
    except ValueError:  # an egg, an installer
        return ""


def _links(page: str) -> list[dict[str, Any]]:
    """The files of a page of links, in the form that the JSON has."""

    class Links(HTMLParser):
        found: list[dict[str, Any]] = []  # noqa: RUF012 - one page, one class

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            told = dict(attrs)
            if tag == "a" and told.get("href"):
                url, _, fragment = str(told["href"]).partition("#")
                hashes = {"sha256": fragment[7:]} if fragment.startswith("sha256=") else {}
                yanked = (told["data-yanked"] or True) if "data-yanked" in told else False
                name = urllib.parse.unquote(url.rpartition("/")[2])
                self.found.append({"filename": name, "hashes": hashes, "yanked": yanked})

    links = Links()
    links.feed(page)
    return links.found


def judge(pin: Pin, said: Mapping[str, Any], accepted: Mapping[str, str]) -> list[str]:
    """What is wrong with a release."""
    wrong = []
    for vulnerability in said.get("vulnerabilities", ()):
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
    root, everything = index_url(), list(locked)
    code, lines = audit(everything, asker(root), accepted)
    if code == UNKNOWN:
        lines[-1] = f"vulnerabilities: {lines[-1]}"
        found, more = audit(everything, simple_asker(root), accepted)
        lines += [*more[:-1], f"withdrawn releases and hashes of files: {more[-1]}"]
        code = FOUND if found == FOUND else UNKNOWN
    print(*lines, sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
