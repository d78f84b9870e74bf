"""Time and room: networks, indexing, the first query, sizes."""

from __future__ import annotations

from typing import Any

from tables.measured import RANKINGS, measured_on, read, size, spaced, span


def speed() -> str:
    """Networks, indexing, latency."""
    document = read("inference")
    lines = [
        "# Speed of networks, of indexing, and of the first query\n",
        "Written by `make bench` and `make docs`. Medians, least and greatest in brackets; only the ratios compare machines.\n",
        "## Providers and precisions\n",
        f"{measured_on('inference')}. ResNet-50 and BEiT have seeded weights here, EfficientNet-Lite0 its real ones. "
        "What each setting means, and why float32 on the processor is the default: "
        "[decision 9](../decisions/0009-precision-and-providers.md).\n",
        "| network | provider, precision | batch | ms per image | times as fast as f32 on the processor |",
        "|---|---|---|---|---|",
    ]
    for name, network in document["networks"].items():
        for batch, runs in sorted(network["milliseconds_per_image"].items(), key=lambda item: int(item[0])):
            for run, values in runs.items():
                ratio = network["times_as_fast_as_f32"][batch].get(run)
                lines.append(
                    f"| `{name}` | {run} | {batch} | {span(values)} | {span(ratio, 1) if ratio else '1'} |"
                )
    lines += [
        "\n## What a precision costs\n",
        "Cosine of features to those of float32, least and median of 16 pictures (of all their tokens for BEiT).\n",
        "| network | provider, precision | cosine, least | cosine, median | matches found by both | change of a count, median, greatest |",
        "|---|---|---|---|---|---|",
    ]
    for name, network in document["networks"].items():
        for run, near in network["near"].items():
            cosine, agreement = near["cosine_to_f32"], near.get("mutual_nn_agreement")
            matches = (
                f"{100 * agreement['matches_in_both']:.1f} % | {100 * agreement['change_of_a_count']['median']:.1f} %, "
                f"{100 * agreement['change_of_a_count']['max']:.1f} %"
                if agreement
                else "- | -"
            )
            lines.append(f"| `{name}` | {run} | {cosine['min']:.5f} | {cosine['median']:.5f} | {matches} |")
    lines += [
        "\nRetrieval with EfficientNet-Lite0 by cosine, every query that has an answer:\n",
        "| set | queries | provider, precision | mAP | R@1 |",
        "|---|---|---|---|---|",
        *(
            f"| `{row['set']}` | {row['queries']} | {row['run']} | {row['mAP']:.4f} | {row['R@1']:.4f} |"
            for row in document["retrieval"]
        ),
        *int8_tokens(document),
        "\n## The extractor against the bare network\n",
        "Our extractor resizes, normalises and runs; the bare network only runs, on batches of 16 made beforehand.\n",
        "| network | bare, images per second | extractor | % of bare | one thread, ms per image | two threads |",
        "|---|---|---|---|---|---|",
    ]
    for name, network in document["networks"].items():
        bare = network["bare"]
        threads = " | ".join(
            span(network["threads"].get(count, {"median": 0, "min": 0, "max": 0})) for count in "12"
        )
        lines.append(
            f"| `{name}` | {span(bare['images_per_second']['bare'], 1)} | {span(bare['images_per_second']['extractor'], 1)} | "
            f"{span(bare['percent_of_bare'])} | {threads} |"
        )
    lines += [
        "\nBEiT and ResNet-50 keep up with the bare network; EfficientNet-Lite0 takes so little time that making its inputs is a sixth of it "
        "([decision 9](../decisions/0009-precision-and-providers.md)).",
        *indexing(),
        *latency(),
    ]
    return "\n".join(lines) + "\n"


def int8_tokens(document: dict[str, Any]) -> list[str]:
    kernel = read("mutual_nn")["beit"]
    lines = [
        "\n## Tokens in int8\n",
        "The setting `tokens=int8` keeps 152 kB of tokens of an image instead of 605 kB. One comparison with 100 images takes "
        f"1/{kernel['int8_times_as_fast_as_float32']['median']:.1f} of the time "
        f"({1000 * kernel['seconds_per_query']['imagefinder, int8 tokens']['median']:.1f} ms instead of "
        f"{1000 * kernel['seconds_per_query']['imagefinder']['median']:.1f}; `python -m benchmarks mutual_nn`). Matches between "
        f"{document['networks']['beit']['pictures']} pictures, against those of float32:\n",
        "| tokens | matches found by both | change of a count, median, greatest | the picture with the most matches is the same |",
        "|---|---|---|---|",
    ]
    for name, row in document["int8_tokens"].items():
        if name == "commit":
            continue
        change = row["change_of_a_count"]
        lines.append(
            f"| {name} | {100 * row['matches_in_both']:.1f} % | {100 * change['median']:.1f} %, "
            f"{100 * change['max']:.1f} % | {row['same_best_picture']} of {document['networks']['beit']['pictures']} |"
        )
    return lines


def indexing() -> list[str]:
    document = read("indexing")
    lines = [
        "\n## Indexing\n",
        f"{measured_on('indexing')}; {document['pictures']} pictures of `copy`, each under so many names that the extractor is busy for "
        "20 s; ResNet-50 and BEiT with seeded weights. `add` against the bare extractor over decoded pictures, "
        "and against a loop that reads, decodes and extracts with the same threads and stores nothing. Processor time says what "
        "is done, whoever else uses the machine.\n",
        "| method | pictures | add, s | over the loop | over the extractor | over the loop, processor time | over the extractor, processor time | peak memory, once | five times as many pictures |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, method in document["methods"].items():
        over = method["add_over"]
        peaks = document["memory"].get(name)
        lines.append(
            f"| `{name}` | {document['pictures'] * method['times']} | {span(method['seconds']['add'], 1)} | {span(over['decode + extract']['seconds'], 2)} | "
            f"{span(over['extract']['seconds'], 2)} | {span(over['decode + extract']['processor_seconds'], 2)} | "
            f"{span(over['extract']['processor_seconds'], 2)} | "
            + (f"{size(peaks['once'])} | {size(peaks['5 times'])} |" if peaks else "- | - |")
        )
    lines += [
        "\nProcessor milliseconds per picture of each step by itself:\n",
        "| method | read and decode | thumbnail | extract |",
        "|---|---|---|---|",
    ]
    for name, method in document["methods"].items():
        parts = method["parts"]
        lines.append(
            f"| `{name}` | {parts['read and decode']:.1f} | {parts['thumbnail']:.1f} | {parts['extract']:.1f} |"
        )
    lines.append(
        "\nWhat is not extracting (reading, decoding, the thumbnail, hashes, storing) takes about 3 ms of processor time per picture, whatever "
        "the method; one that is done in 14 ms shows it ([decision 10](../decisions/0010-decoding-in-workers.md))."
    )
    return lines


def latency() -> list[str]:
    document = read("latency")
    lines = [
        "\n## The first query, and those after it\n",
        f"{measured_on('latency')}. *Cold*: from the start of a fresh process to its first answer, files in the system's cache; "
        "*warm*: the next five. Milliseconds.\n",
        "| set | method, order | cold | of it start | open | query | warm |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in document["rows"]:
        cold = row["cold_ms"]
        name = "**auto**" if row["method"] == "auto" else f"`{row['method']}`, {RANKINGS[row['ranking']]}"
        parts = " | ".join(f"{cold[key]['median']:.0f}" for key in ("start", "open", "query"))
        lines.append(
            f"| `{row['set']}` ({row['images']}) | {name} | {span(cold['total'])} | {parts} | {span(row['warm_ms'])} |"
        )
    stages = ("decode", "extract", "match", "verify", "decide", "total")
    lines += [
        "\nBy stage, medians, cold and warm:\n",
        f"| set | method, order | | {' | '.join(stages)} |",
        "|---|---|---|" + "---|" * len(stages),
    ]
    for row in document["rows"]:
        name = "**auto**" if row["method"] == "auto" else f"`{row['method']}`, {RANKINGS[row['ranking']]}"
        for kind in ("cold", "warm"):
            times = " | ".join(f"{row[f'{kind}_stages_ms'].get(stage, 0):.0f}" for stage in stages)
            lines.append(f"| `{row['set']}` | {name} | {kind} | {times} |")
    return lines


def sizing() -> str:
    """Disk and memory by method and number of images."""
    document = read("sizing")
    lines = [
        "# How large will it be?\n",
        "Written by `make bench` and `make docs`, from collections really made on disk; *computed* sizes lie on the straight line "
        "through the measured ones. One method each; for several, add their features.\n",
        f"* Of each picture {document['thumbnail_bytes'] / 1000:.1f} kB are its thumbnail. `sift` has "
        f"{document['descriptors']['sift']} descriptors per picture here, the mean on photographs of 500 pixels; up to "
        "1 000 by default (`sift_max_keypoints`).",
        "* **Memory** is what a process holds to answer without reading from disk, beside about "
        f"{size(max(row['base_bytes'] for m in document['methods'].values() for row in m['measured']))} for the program, and a loaded network's "
        "weights. The setting `cache_bytes` (4 GiB) is the bound: what is over it is read from disk for each query.\n",
        "| method | images | on disk | in memory | |",
        "|---|---|---|---|---|",
    ]
    for name, method in document["methods"].items():
        for count, row in method["published"].items():
            lines.append(
                f"| `{name}` | {spaced(int(count))} | {size(row['disk_bytes'])} | {size(row['memory_bytes'])} | {row['how']} |"
            )
    lines += [
        "\n## Per image\n",
        "| method | features | on disk, all | in memory | measured up to |",
        "|---|---|---|---|---|",
    ]
    for name, method in document["methods"].items():
        lines.append(
            f"| `{name}` | {size(method['feature_bytes_per_image'])} | {size(method['disk_bytes_per_image'])} | "
            f"{size(method['memory_bytes_per_image'])} | {method['measured'][-1]['images']} images |"
        )
    return "\n".join(lines) + "\n"
