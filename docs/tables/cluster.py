"""Sizes of collections in a cluster, computed from measured bytes."""

from __future__ import annotations

from tables.measured import measured_on, read, size, spaced

_COPIES = 2
_QUERIES = 100


def sizing() -> str:
    """Generate the sizes, and the cost of queries."""
    found = read("cluster_sizing")
    each, query = found["bytes_per_image"], found["query"]
    lines = [
        "",
        "| images | features and thumbnails | rows, if those are objects | vectors (`sift`) | source |",
        "|---|---|---|---|---|",
    ]
    for images, row in found["published"].items():
        cells = [size(row[name]) for name in ("features_and_thumbnails", "rows_with_objects", "vectors")]
        lines.append(f"| {spaced(int(images))} | {' | '.join(cells)} | {row['how']} |")
    gigabits = _QUERIES * query["bytes"] * 8 / 1e9
    lines += [
        "",
        f"Computed linearly from {each['features'] / 1000:.1f} kB of compressed features, "
        f"{each['thumbnails'] / 1000:.1f} kB of thumbnail, {each['thumbnail_features'] / 1000:.1f} kB of its features (up to `thumbnail_features_bytes`), "
        f"{each['rows_with_objects'] / 1000:.1f} kB of rows (small thumbnails among them) and "
        f"{each['vectors'] / 1000:.1f} kB of vector and index per image; with everything in rows, these take "
        f"{each['rows'] / 1000:.1f} kB beside features and thumbnails. Nobody has run 10 million images or more. "
        f"Multiply by {_COPIES} for the standby, and by the copies of the object store.",
        "",
        f"A query reads {query['candidates']} candidates, {query['bytes'] / 1e6:.1f} MB, whatever the size, and takes "
        f"{query['cpu_seconds']:.1f} s of CPU time: {_QUERIES} queries per second need {_QUERIES * query['cpu_seconds']:.0f} "
        f"cores and {gigabits:.1f} Gbit/s between servers and features. The network is the first to run out.",
        "",
        f"Copying: {found['copy']['into rows']['images_per_second']} images per second into rows and "
        f"{found['copy']['into a folder']['images_per_second']} back, on a machine that was busy with other work; "
        f"{found['copy']['into rows']['cpu_seconds_of_the_copy_per_1000_images']:.1f} s of CPU time per 1000 images.",
        "",
        measured_on("cluster_sizing") + ".",
        "",
    ]
    return "\n".join(lines)
