"""Checks with published weights and with Docker, which need the internet: ``make verify-online``.

1. Downloads the weights of ResNet-50 and BEiT with ``imagefinder models pull`` and verifies their hashes.
2. Classifies the example photographs. The published files contain classifiers, which imagefinder does not use; its
   features must lead them to the right classes. At least 10 of 12 photographs must have an expected class among
   the first five.
3. Searches edited copies of the example images with each method alone; 9 of 10 must come first.
4. Builds the container image, runs it, indexes the examples and searches over HTTP.

Tests run the code with the weights of EfficientNet-Lite0 and with a substitute for Docker. The published weights
of ResNet-50 and BEiT and a Docker daemon were not available where it was written.
"""

from __future__ import annotations

import argparse
import json
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from imagefinder import Settings
from imagefinder.core.errors import ImagefinderError
from imagefinder.extractors.network import NetworkExtractor
from imagefinder.images.decoding.decode import decode
from imagefinder.models.catalogue import MODELS
from imagefinder.models.hub import ModelCache
from imagefinder.models.weights import read_legacy_pickle, read_safetensors

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
EXPECTED: Mapping[str, Mapping[int, str]] = runpy.run_path(str(ROOT / "tools" / "imagenet_classes.py"))["EXPECTED"]
DOWNLOADED = ("resnet50", "beit")
FIRST = 5
MIN_CLASSIFIED = 10
MIN_RECALL = 0.9
IMAGE = "imagefinder:verify"


class CheckFailedError(Exception):
    """A check did not give the expected result."""


def imagefinder(*arguments: str | Path) -> str:
    """Run the command line; what it prints."""
    command = [sys.executable, "-m", "imagefinder", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def weights(models: Sequence[str] = DOWNLOADED) -> None:
    """Download and verify the published weights."""
    imagefinder("models", "pull", *models)
    print(imagefinder("models", "verify", *models))


def classes(models: Sequence[str] = (*DOWNLOADED, "efficientnet-lite0")) -> None:
    """Classify the example photographs by the features of each model and its published classifier."""
    cache = ModelCache(Settings.load().models)
    pictures = {
        name: decode((EXAMPLES / name).read_bytes(), max_bytes=1 << 22, max_pixels=1 << 22).rgb
        for name in EXPECTED
    }
    for name in models:
        model = MODELS[name]
        path = cache.locate(model)
        read = read_safetensors if path.suffix == ".safetensors" else read_legacy_pickle
        tensors = read(path)
        extractor = NetworkExtractor(model, lambda path=path: path, lambda: "", threads=2)
        right = 0
        for picture, rgb in pictures.items():
            scores = SCORES[model.architecture](tensors, extractor.extract([rgb]))
            first = np.argsort(-scores)[:FIRST]
            right += not EXPECTED[picture].keys().isdisjoint(first.tolist())
            print(f"{name:20} {picture:36} {', '.join(map(str, first))}")
        if right < MIN_CLASSIFIED:
            raise CheckFailedError(
                f"{name} classifies {right} of {len(pictures)} photographs, not {MIN_CLASSIFIED}"
            )


def _beit_scores(tensors: Mapping[str, Any], features: Any) -> Any:
    """Average of the patch tokens, layer norm (the pooler), classifier."""
    mean = features.descriptors[1:].astype(np.float64).mean(axis=0)
    normed = (mean - mean.mean()) / np.sqrt(mean.var() + 1e-12)
    pooled = normed * tensors["beit.pooler.layernorm.weight"] + tensors["beit.pooler.layernorm.bias"]
    return tensors["classifier.weight"] @ pooled + tensors["classifier.bias"]


def _linear(name: str) -> Callable[[Mapping[str, Any], Any], Any]:
    return lambda tensors, features: tensors[f"{name}.weight"] @ features.vectors[0] + tensors[f"{name}.bias"]


SCORES: Mapping[str, Callable[[Mapping[str, Any], Any], Any]] = {
    "beit_base": _beit_scores,
    "efficientnet_lite0": _linear("_fc"),
    "resnet50": _linear("fc"),
}


def retrieval(methods: Sequence[str] = ("sift", "efficientnet-lite0", *DOWNLOADED)) -> None:
    """Search edited copies of the example images with each method alone; prints a table."""
    options = [option for method in methods for option in ("--method", method)]
    report = json.loads(imagefinder("evaluate", EXAMPLES / "pictures", *options, "--ranking", "matches", "--json"))
    print("| method | queries | first is right | mean average precision |\n|---|---|---|---|")
    for row in report["methods"]:
        precision = row["mean_average_precision"]
        print(f"| {row['method']} | {row['queries']} | {row['recall_at_1']:.3f} | {precision:.3f} |")
    found = {row["method"]: row["recall_at_1"] for row in report["methods"]}
    weak = [method for method in methods if found[method] < MIN_RECALL]
    if weak:
        raise CheckFailedError(f"less than {MIN_RECALL} of the first results are right with {', '.join(weak)}")


def container(*, build: bool = True) -> None:
    """Build the image, run it read-only, index the examples and search over HTTP."""
    if build:
        docker("build", "--tag", IMAGE, str(ROOT))
    with tempfile.TemporaryDirectory() as folder, _running(Path(folder)) as (name, url):
        docker("exec", name, "imagefinder", "add", "/pictures", "--method", "sift")
        with httpx2.Client(base_url=url, timeout=60) as client:
            query = (EXAMPLES / "pictures" / "cat.jpg").read_bytes()
            answer = (
                client.post("/v1/collections/default/search", files={"image": query}).raise_for_status().json()
            )
            original = client.post("/sift-similar-images", files={"image": query}).raise_for_status().json()
    best = answer["hits"][0]["id"]
    if (best, answer["decision"], original[0]) != ("cat.jpg", "match", "cat.jpg"):
        raise CheckFailedError(
            f"the container finds {best!r} ({answer['decision']}) and {original[0]!r}, not cat.jpg"
        )
    print(f"container: {best}, {answer['decision']}, relation {answer['hits'][0]['relation']}")


@contextmanager
def _running(folder: Path) -> Any:
    """A running container, its name and the address of its service."""
    options = ["--detach", "--read-only", "--tmpfs", "/tmp", "--tmpfs", "/data:uid=10001,gid=10001"]  # noqa: S108
    options += ["--env", "IMAGEFINDER_AUTH=off", "--publish", "127.0.0.1::5000"]
    options += ["--volume", f"{EXAMPLES / 'pictures'}:/pictures:ro", "--cidfile", str(folder / "id")]
    name = docker("run", *options, IMAGE).strip()
    try:
        url = f"http://{docker('port', name, '5000/tcp').split()[0]}"
        _wait_until_ready(url)
        yield name, url
    finally:
        docker("rm", "--force", name)


def _wait_until_ready(url: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if httpx2.get(f"{url}/health/live", timeout=5).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        if time.monotonic() > end:
            raise CheckFailedError(f"the container does not answer at {url} within {seconds:.0f} seconds")
        time.sleep(0.5)


def docker(*arguments: str) -> str:
    """Run Docker; what it prints."""
    return subprocess.run(["docker", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S607


CHECKS: Mapping[str, Callable[[], None]] = {
    "weights": weights,
    "classes": classes,
    "retrieval": retrieval,
    "container": container,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks that are named, by default all; 1 if one fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"{', '.join(CHECKS)}; default: all")
    chosen = parser.parse_args(arguments).checks or list(CHECKS)
    if unknown := set(chosen) - set(CHECKS):
        parser.error(f"unknown checks: {', '.join(sorted(unknown))}")
    failed = []
    for name in chosen:
        print(f"== {name}", flush=True)
        try:
            CHECKS[name]()
        except (
            CheckFailedError,
            ImagefinderError,
            OSError,
            httpx2.HTTPError,
            subprocess.CalledProcessError,
        ) as error:
            print(f"failed: {error}", flush=True)
            failed.append(name)
    print("== failed: " + ", ".join(failed) if failed else "== all checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
