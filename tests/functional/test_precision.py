"""Features of different precisions are not comparable; those of two float32 providers are."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

import imagefinder
from imagefinder.core.errors import FingerprintMismatchError, SettingsError

sys.modules.setdefault("openvino_telemetry", None)  # see imagefinder.models.openvino_session
openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")

PICTURES = Path(__file__).parents[2] / "examples" / "pictures"
METHOD = "efficientnet-lite0"


@pytest.fixture
def folder(tmp_path):
    with imagefinder.open(tmp_path / "c") as collection:
        collection.add(PICTURES / "coffee.jpg", PICTURES / "stream.jpg", methods=[METHOD])
    return tmp_path / "c"


def reopened(folder, **settings):
    return imagefinder.open(folder, create=False, settings=replace(imagefinder.Settings(), **settings))


def ask(collection):
    return collection.search(PICTURES / "coffee.jpg", method=METHOD, ranking="matches", evalues=False)


def test_another_provider_in_float32_goes_on_with_the_collection(folder):
    with reopened(folder, provider="openvino") as collection:
        report = collection.add(PICTURES / "temple.jpg")
        assert report.added == 1
        best = ask(collection).hits[0]
        assert Path(best.id).name == "coffee.jpg"
        assert best.score == pytest.approx(1, abs=1e-5)


def test_another_precision_is_refused(folder):
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bfloat16")
    with reopened(folder, provider="openvino", precision="bf16") as collection:
        for attempt in (lambda: ask(collection), lambda: collection.add(PICTURES / "temple.jpg")):
            with pytest.raises(FingerprintMismatchError, match="bf16"):
                attempt()
        assert collection.info().images == 2


def test_a_precision_that_there_is_not_is_told(folder):
    with reopened(folder, precision="int8") as collection, pytest.raises(SettingsError, match="int8"):
        ask(collection)
