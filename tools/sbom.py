"""Writes what an installation of imagefinder consists of, as CycloneDX JSON, to standard output.

    python tools/sbom.py requirements/runtime.txt > sbom.json

Components and hashes are those of the lock file; licences are what the installed packages say.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

ROOT = Path(__file__).parents[1]
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.M)
_VIA = re.compile(r"^    #(?: via)?(?:   | )(\S+)( \(.*\))?$", re.M)


def document(lock: str) -> str:
    """The bill of materials of a lock file, as JSON; the same for the same input."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    root = _component(project["name"], project["version"], (), ComponentType.APPLICATION, project["license"])
    bom = Bom(serial_number=uuid5(NAMESPACE_URL, lock))
    bom.metadata.component = root
    found = list(_PIN.finditer(lock))
    ends = [match.start() for match in found[1:]] + [len(lock)]
    components, users = {}, {}
    for match, end in zip(found, ends, strict=True):
        text = lock[match.end() : end]
        name = match[1].lower()
        hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})", text)
        components[name] = _component(name, match[2], hashes, ComponentType.LIBRARY, _license(name))
        users[name] = [user[0].lower() for user in _VIA.findall(text) if user[0] != "via"]
        bom.components.add(components[name])
    needs: dict[str, list[Component]] = {}
    for name, above in users.items():
        for user in above:
            needs.setdefault(user, []).append(components[name])
    bom.register_dependency(root, needs.get("imagefinder", []))
    for name, component in components.items():
        bom.register_dependency(component, needs.get(name, []))
    return JsonV1Dot6(bom).output_as_string(indent=2)


def _component(name: str, version: str, hashes: Sequence[str], kind: ComponentType, license_: str) -> Component:
    return Component(
        name=name,
        version=version,
        type=kind,
        bom_ref=f"{name}@{version}",
        purl=PackageURL("pypi", name=name, version=version) if kind is ComponentType.LIBRARY else None,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=value) for value in hashes],
        licenses=[LicenseFactory().make_from_string(license_)] if license_ else (),
    )


def _license(name: str) -> str:
    try:
        said = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return ""
    text = said.get("License-Expression") or said.get("License") or ""
    return text if "\n" not in text else ""


if __name__ == "__main__":
    sys.stdout.write(document(Path(sys.argv[1]).read_text(encoding="utf-8")) + "\n")
