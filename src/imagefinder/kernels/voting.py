"""Voting with binary codes: scores the images that share visual words and similar codes with a query.

A query code votes for an image if it and a code of the image in the same word are mutual nearest neighbours by
Hamming distance, among the codes of that word in query and image (ties: the first). Repetitive texture therefore
gets at most one vote per code. All arithmetic is in integers, so the native kernel and NumPy give identical
results.

Source: H. Jégou, M. Douze, C. Schmid, "Hamming embedding and weak geometric consistency for large scale image
search", ECCV 2008; on repetition: "On the burstiness of visual elements", CVPR 2009, by the same.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from imagefinder.kernels.mutual_nn import backend
from imagefinder.kernels.threads import share

BITS = 64

_WORTH_A_THREAD = 1 << 20
"""Minimum number of comparisons per thread; fewer take less time than starting a thread."""


# wide: the arrays of an inverted file and of a query, as the native kernel takes them.
def votes(
    starts: NDArray[np.int64],
    owners: NDArray[np.int32],
    codes: NDArray[np.uint64],
    words: NDArray[np.int32],
    query_codes: NDArray[np.uint64],
    *,
    weights: NDArray[np.int64],
    rarities: NDArray[np.int64],
    images: int,
    threads: int | None = None,
) -> NDArray[np.int64]:
    """The votes for each image of an inverted file; releases the GIL. Indices out of range are ignored.

    Args:
        starts: ``(W + 1,)`` int64: word ``w`` owns the postings ``starts[w]:starts[w + 1]``.
        owners: ``(P,)`` int32, image of each posting, ascending within a word.
        codes: ``(P,)`` uint64, code of each posting.
        words: ``(n,)`` int32, word of each query code, ascending.
        query_codes: ``(n,)`` uint64, codes of the query.
        weights: ``(65,)`` int64, weight of a vote by Hamming distance.
        rarities: ``(W,)`` int64, factor of a vote by word.
        images: Number of images.
        threads: Maximum number of threads; default: ``threads.share``.

    Returns:
        ``(images,)`` int64, sum of the weighted votes.
    """
    if backend() == "numpy":
        found = np.zeros(images, dtype=np.int64)
        _votes_numpy(starts, owners, codes, words, query_codes, weights, rarities, found)
        return found
    from imagefinder.kernels import _native  # noqa: PLC0415 - missing if built without a compiler

    def vote(share: slice) -> NDArray[np.int64]:
        found = np.zeros(images, dtype=np.int64)
        _native.vote(starts, owners, codes, words[share], query_codes[share], weights, rarities, found)
        return found

    shares = _shares(starts, words, share() if threads is None else threads)
    if len(shares) == 1:
        return vote(shares[0])
    with ThreadPoolExecutor(len(shares)) as pool:
        found = np.sum(list(pool.map(vote, shares)), axis=0, dtype=np.int64)
    return np.asarray(found, dtype=np.int64)


def _shares(starts: NDArray[np.int64], words: NDArray[np.int32], threads: int) -> list[slice]:
    """Divide the query codes among threads, about evenly by the number of comparisons; words are not split."""
    inside = np.clip(words, 0, max(0, len(starts) - 2))
    work = np.cumsum(starts[inside + 1] - starts[inside]) if len(starts) > 1 else np.zeros(len(words), np.int64)
    total = int(work[-1]) if len(work) else 0
    parts = max(1, min(threads, total // _WORTH_A_THREAD))
    cuts = np.searchsorted(work, total * np.arange(1, parts) / parts)
    cuts = np.searchsorted(words, words[cuts])  # back to the start of the word
    bounds = [0, *cuts.tolist(), len(words)]
    return [slice(a, b) for a, b in pairwise(bounds)]


# wide: the twin of the native kernel takes the same arguments.
def _votes_numpy(  # noqa: PLR0917 - the native kernel's arguments
    starts: NDArray[np.int64],
    owners: NDArray[np.int32],
    codes: NDArray[np.uint64],
    words: NDArray[np.int32],
    query_codes: NDArray[np.uint64],
    weights: NDArray[np.int64],
    rarities: NDArray[np.int64],
    found: NDArray[np.int64],
) -> None:
    if not len(words):
        return
    heads = np.flatnonzero(np.diff(words, prepend=words[0] - 1))
    for begin, end in zip(heads.tolist(), [*heads[1:].tolist(), len(words)], strict=True):
        word = int(words[begin])
        if not 0 <= word < len(starts) - 1:
            continue
        first, last = np.clip(starts[word : word + 2], 0, len(owners)).tolist()
        mine = owners[first:last]
        if not len(mine):
            continue
        runs = np.flatnonzero(np.diff(mine, prepend=mine[0] - 1))
        distances = np.bitwise_count(codes[first:last, None] ^ query_codes[None, begin:end]).astype(np.int64)
        nearest_query = distances.argmin(axis=1)
        # Distance and position in one number: the minimum of a run is its nearest posting, for ties the first.
        ranked = distances * len(mine) + np.arange(len(mine))[:, None]
        best = np.minimum.reduceat(ranked, runs, axis=0)
        near, place = np.divmod(best, len(mine))
        mutual = nearest_query[place] == np.arange(end - begin)
        gains = (weights[near] * mutual).sum(axis=1) * int(rarities[word])
        images = mine[runs]
        inside = (images >= 0) & (images < len(found))
        np.add.at(found, images[inside], gains[inside])
