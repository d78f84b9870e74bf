"""How fast is a collection indexed and searched, how large is it, and how accurate are the results?

For each labelled dataset and each method that is ready: a new collection on disk, all queries, exact search.
``BENCH_SETS`` (comma-separated) selects datasets; default: ``copy,places``.

The baseline of indexing is the bare extractor with the same threads on the same images, already decoded; the ratio
shows the cost of reading, decoding, thumbnails and durable storage.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DATASETS = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data"))
SETS = os.environ.get("BENCH_SETS", "copy,places").split(",")


def main() -> None:
    from benchmarks.contract import write

    rows = []
    for name in SETS:
        if not (DATASETS / name / "manifest.json").is_file():
            print(f"skipped {name}: no {DATASETS / name}/manifest.json (set BENCH_DATASETS)")
            continue
        for method in ready_methods():
            # A separate process, so that the memory peak belongs to this method and dataset alone.
            run = subprocess.run(
                [sys.executable, "-m", "benchmarks.retrieval", name, method],
                stdout=subprocess.PIPE,
                check=True,
                text=True,
                env={k: v for k, v in os.environ.items() if not k.startswith("IMAGEFINDER_")}
                | {"BENCH_DATASETS": str(DATASETS)},
            )
            rows.append(json.loads(run.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    if rows:
        write("retrieval", {"rows": rows})


def ready_methods() -> list[str]:
    import imagefinder

    with tempfile.TemporaryDirectory() as folder, imagefinder.open(folder + "/c") as collection:
        return [state.name for state in collection.methods() if state.ready]


def measure(name: str, method: str) -> dict[str, object]:
    import imagefinder
    from imagefinder.evaluation.datasets import read_manifest
    from imagefinder.evaluation.protocol import add_gallery, evaluate
    from imagefinder.images.decoding.decode import decode

    dataset = read_manifest(DATASETS / name)
    with tempfile.TemporaryDirectory() as folder, imagefinder.open(folder + "/c") as collection:
        collection.warm(method)
        report = add_gallery(collection, dataset, [method])
        assert report.added == len(dataset.images), report
        info = collection.info()
        cold = collection.search(dataset.queries[0].path, method=method, ranking="matches", evalues=False)
        results = {"matches": evaluate(collection, dataset, method, ranking="matches", evalues=False)}
        result = results["matches"]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        limits = collection.settings
        decoded = [
            decode(
                (dataset.root / image).read_bytes(),
                max_bytes=limits.max_image_bytes,
                max_pixels=limits.max_image_pixels,
            ).rgb
            for image in dataset.images
        ]
        extractor, start = collection.method(method).extractor, time.perf_counter()
        for at in range(0, len(decoded), limits.batch_size):
            extractor.extract(decoded[at : at + limits.batch_size])
        bare = time.perf_counter() - start
        return {
            "set": name,
            "method": method,
            "fingerprint": result.fingerprint,
            "images": len(dataset.images),
            "queries_judged": result.queries,
            "rankings": {
                ranking: {
                    "mAP": round(found.mean_average_precision, 4),
                    "R@1": round(found.recall_at_1, 4),
                    "query_ms_median": {k: round(v * 1000, 2) for k, v in found.median_seconds.items()},
                }
                for ranking, found in results.items()
            },
            "images_indexed_per_second": round(len(dataset.images) / report.seconds, 2),
            "indexing_seconds_over_bare_extractor": round(report.seconds / bare, 3),
            "first_query_ms": {k: round(v * 1000, 2) for k, v in cold.timings.items()},
            "memory_peak_bytes": peak,
            "feature_bytes_per_image": round(info.methods[method].bytes / info.images),
            "disk_bytes_per_image": round(info.bytes_on_disk / info.images),
        }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2])))
