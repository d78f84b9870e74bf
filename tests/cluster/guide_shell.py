"""Runs the commands of a guide as an ordinary user, in a folder that is empty but for the example images."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from .patroni_cluster import interpreter
from .postgres_server import programs_for

ROOT = Path(__file__).parents[2]


def commands(page: Path, begin: str, end: str) -> str:
    """The shell commands of the part of a page between two headings, without those that install packages."""
    part = page.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", part, re.M | re.S)
    return "\n".join(block for block in blocks if not block.startswith("pip install"))


class OrdinaryUser:
    """A user, who is not root, with an empty folder and the commands ``python`` and ``imagefinder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._user: dict[str, Any] = {"cwd": folder}
        python, packages = interpreter() or (sys.executable, "")
        programs = folder / "bin"
        programs.mkdir()
        for name, arguments in {"python": "", "imagefinder": "-m imagefinder "}.items():
            (programs / name).write_text(
                f'#!/bin/sh\nPYTHONPATH={ROOT / "src"}:{packages} exec {python} -S {arguments}"$@"\n'
            )
            (programs / name).chmod(0o755)
        shutil.copytree(ROOT / "examples", folder / "examples")
        if os.geteuid() == 0:
            entry = pwd.getpwnam("nobody")
            self._user |= {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            for path in (folder, *folder.rglob("*")):
                os.chown(path, entry.pw_uid, entry.pw_gid)
        self._path = f"{programs}:{programs_for(folder, self._user)}:/usr/bin:/bin"

    def run(self, script: str, *, seconds: float) -> subprocess.CompletedProcess[str]:
        """Run a script in bash; the first command that fails ends it."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env={"PATH": self._path, "HOME": str(self.folder), "LC_ALL": "C.UTF-8", "IMAGEFINDER_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
            **self._user,
        )
