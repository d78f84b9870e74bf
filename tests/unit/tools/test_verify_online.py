"""The checks of ``make verify-online``, with the weights at hand and a substitute for Docker."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import command
import numpy as np
import pytest
from example_pictures import PICTURES
from service import Service

sys.path.insert(0, str(Path(__file__).parents[3] / "tools"))
import verify_online

FAKE_DOCKER = """#!/bin/sh
echo "$@" >> {log}
case "$1" in
  run) echo box ;;
  port) echo {address} ;;
esac
"""


def test_published_features_lead_to_the_right_classes(capsys: pytest.CaptureFixture[str]) -> None:
    verify_online.classes(["efficientnet-lite0"])
    assert len(capsys.readouterr().out.splitlines()) == len(verify_online.EXPECTED)


def test_wrong_classes_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    shuffled = {"efficientnet_lite0": lambda tensors, features: np.arange(1000)}
    monkeypatch.setattr(verify_online, "SCORES", shuffled)
    with pytest.raises(verify_online.CheckFailedError, match="efficientnet-lite0"):
        verify_online.classes(["efficientnet-lite0"])


def test_the_head_of_beit_is_average_norm_and_classifier() -> None:
    rng = np.random.default_rng(0)
    tensors = {
        "beit.pooler.layernorm.weight": np.ones(768),
        "beit.pooler.layernorm.bias": np.zeros(768),
        "classifier.weight": rng.normal(size=(1000, 768)),
        "classifier.bias": np.zeros(1000),
    }
    tokens = np.tile(tensors["classifier.weight"][7] * 5 + 3, (197, 1))
    tokens[0] = 1e6  # the class token does not count

    class Features:
        descriptors = tokens

    assert int(verify_online.SCORES["beit_base"](tensors, Features).argmax()) == 7


def test_retrieval_prints_a_table_and_requires_good_results(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = '{"method": "sift", "queries": 4, "recall_at_1": %s, "mean_average_precision": 0.5}'
    monkeypatch.setattr(verify_online, "imagefinder", lambda *_: '{"methods": [' + row % 0.95 + "]}")
    verify_online.retrieval(["sift"])
    assert "| sift | 4 | 0.950 | 0.500 |" in capsys.readouterr().out
    monkeypatch.setattr(verify_online, "imagefinder", lambda *_: '{"methods": [' + row % 0.85 + "]}")
    with pytest.raises(verify_online.CheckFailedError, match="sift"):
        verify_online.retrieval(["sift"])


def test_a_container_is_built_run_searched_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command.answer(
        "-c", tmp_path / "default", "add", PICTURES / "cat.jpg", PICTURES / "coins.jpg", "--method", "sift"
    )
    with Service(tmp_path) as service:
        docker = tmp_path / "bin" / "docker"
        docker.parent.mkdir()
        docker.write_text(FAKE_DOCKER.format(log=tmp_path / "log", address=service.url.removeprefix("http://")))
        docker.chmod(0o755)
        monkeypatch.setenv("PATH", f"{docker.parent}:{os.environ['PATH']}")
        verify_online.container()
    called = (tmp_path / "log").read_text().splitlines()
    assert [line.split()[0] for line in called] == ["build", "run", "port", "exec", "rm"]
    assert "--read-only" in called[1]


def test_a_failed_check_is_reported_and_the_others_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise verify_online.CheckFailedError("it found nothing")

    monkeypatch.setattr(verify_online, "CHECKS", {"weights": fail, "classes": lambda: None})
    assert verify_online.main([]) == 1
    output = capsys.readouterr().out
    assert "failed: it found nothing" in output
    assert "== classes" in output
    assert verify_online.main(["classes"]) == 0
    with pytest.raises(SystemExit):
        verify_online.main(["nothing"])
