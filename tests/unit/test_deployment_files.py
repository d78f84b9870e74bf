"""The files in ``deploy/`` agree with each other, with the schemas of Kubernetes, and keep no secret."""

from __future__ import annotations

import copy
import importlib.util
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagefinder.cli.commands import COMMANDS
from imagefinder.core.settings import PREFIX, Settings
from imagefinder.stores.distributed.address import Address
from imagefinder.stores.distributed.objects import BucketAddress

DEPLOY = Path(__file__).parents[2] / "deploy"
MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.cluster.yaml").read_text())
VERSIONS = ("1.31", "1.33", "1.37")


def documents() -> list[dict[str, Any]]:
    return [one for path in MANIFESTS for one in yaml.safe_load_all(path.read_text())]


def pods() -> Iterator[dict[str, Any]]:
    for one in documents():
        if one["kind"] in ("Deployment", "Job"):
            yield one["spec"]["template"]["spec"]
        elif one["kind"] == "CronJob":
            yield one["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def validate(manifest: dict[str, Any], version: str) -> None:
    if importlib.util.find_spec("kubernetes_validate") is None:
        pytest.skip("kubernetes-validate is not installed (it is one of the dev requirements)")
    import kubernetes_validate

    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_kubernetes_accepts_the_manifests(path: Path, version: str) -> None:
    for manifest in yaml.safe_load_all(path.read_text()):
        validate(manifest, version)


def test_mistakes_in_manifests_are_found() -> None:
    deployment = next(one for one in documents() if one["kind"] == "Deployment")
    validate(deployment, "1.33")
    for place, wrong in (("replicas", "three"), ("replica", 3)):
        broken = copy.deepcopy(deployment)
        broken["spec"][place] = wrong
        with pytest.raises(Exception, match=rf"three|{place}"):
            validate(broken, "1.33")


def test_kustomization_lists_every_manifest() -> None:
    listed = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == [path.name for path in MANIFESTS]


def test_pods_have_no_rights() -> None:
    found = list(pods())
    assert len(found) == 4
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_only_the_migration_has_the_owner_of_the_tables() -> None:
    secrets = {
        volume["secret"]["secretName"]: pod["containers"][0]["args"][0]
        for pod in pods()
        for volume in pod["volumes"]
        if "secret" in volume
    }
    assert secrets["imagefinder-owner"] == "migrate"
    services = COMPOSE["services"]
    assert [name for name, one in services.items() if "owner_password" in one.get("secrets", ())] == [
        "postgres",
        "postgres-standby",
        "migrate",
    ]


def test_deployments_and_services_select_their_pods() -> None:
    labels = {}
    for one in documents():
        if one["kind"] == "Deployment":
            labels[one["metadata"]["name"]] = one["spec"]["template"]["metadata"]["labels"]
            assert one["spec"]["selector"]["matchLabels"] == labels[one["metadata"]["name"]]
    for one in documents():
        if one["kind"] == "Service":
            assert one["spec"]["selector"] == labels["serve"]
        if one["kind"] == "PodDisruptionBudget":
            assert one["spec"]["selector"]["matchLabels"] == labels["serve"]


def test_no_file_contains_a_secret() -> None:
    for path in DEPLOY.rglob("*"):
        if path.is_file() and path.parent.name != "secrets":
            text = path.read_text()
            assert not re.search(r"postgresql://[^/@\s]*:[^/@\s]*@", text), path
            assert not re.search(r"[:=]\s*['\"]?[0-9a-f]{16,}", text), path
            assert "PRIVATE KEY" not in text


def test_compose_defines_what_its_services_use() -> None:
    made = (DEPLOY / "secrets.sh").read_text()
    for name, service in COMPOSE["services"].items():
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"]), name
        assert set(service.get("depends_on", ())) <= set(COMPOSE["services"]), name
        for mount in service.get("volumes", ()):
            place = mount.split(":")[0]
            assert place in COMPOSE["volumes"] or (DEPLOY / place).exists() or "$" in place, mount
        for value in service.get("environment", {}).values():
            for secret in re.findall(r"/run/secrets/([\w.]+)", str(value)):
                assert secret in service["secrets"], (name, secret)
    for secret in COMPOSE["secrets"].values():
        stem = Path(secret["file"]).name.partition(".")[0]
        assert stem in made
        assert secret["file"].startswith("secrets/")


def test_certificates_are_for_the_names_of_the_services(tmp_path: Path) -> None:
    done = subprocess.run(
        [DEPLOY / "secrets.sh", tmp_path / "secrets", "images.example"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert {Path(one["file"]).name for one in COMPOSE["secrets"].values()} <= {
        path.name for path in (tmp_path / "secrets").iterdir()
    }
    names = {"postgres": ("postgres", "postgres-standby"), "objects": ("objects",), "service": ("images.example",)}
    for file, hosts in names.items():
        for host in hosts:
            checked = subprocess.run(
                ["openssl", "verify", "-CAfile", "ca.crt", "-verify_hostname", host, f"{file}.crt"],
                cwd=tmp_path / "secrets",
                capture_output=True,
                text=True,
                check=False,
            )
            assert checked.returncode == 0, checked.stderr
    before = {path.name: path.read_bytes() for path in (tmp_path / "secrets").iterdir()}
    subprocess.run([DEPLOY / "secrets.sh", tmp_path / "secrets"], capture_output=True, check=True)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "secrets").iterdir()}


@pytest.mark.parametrize("script", sorted(DEPLOY.rglob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_sound(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    assert script.read_text().startswith("#!/bin/sh\n")
    assert "set -eu" in script.read_text()
    done = subprocess.run(["sh", "-n", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def environments() -> Iterator[dict[str, str]]:
    """The settings of imagefinder in each service of compose and each pod."""
    settings = next(one for one in documents() if one["kind"] == "ConfigMap")["data"]
    for pod in pods():
        own = {one["name"]: one["value"] for one in pod["containers"][0].get("env", ())}
        yield settings | own
    for service in COMPOSE["services"].values():
        if str(service.get("image", "")).startswith("imagefinder"):
            yield {
                name: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value) for name, value in service["environment"].items()
            }


def test_every_setting_exists_and_is_valid() -> None:
    found = list(environments())
    assert len(found) == 7
    for environment in found:
        ours = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
        settings = Settings.load(environment=ours)
        address = Address.of_database(settings.database)
        assert dict(address.parameters)["sslmode"] == "verify-full"
        assert "password" not in dict(address.parameters)
        assert settings.database_password_file.endswith("_password")
        assert BucketAddress.of(settings.objects).certificate is not None


def test_every_command_exists() -> None:
    for pod in pods():
        assert pod["containers"][0]["args"][0] in COMMANDS
    commands = [
        one["command"][0] for one in COMPOSE["services"].values() if "imagefinder:" in one.get("image", "")
    ]
    assert sorted(commands) == ["migrate", "serve", "work"]
    assert set(commands) <= set(COMMANDS)
