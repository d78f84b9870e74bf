"""Votes of binary codes: which images share visual words, and within them near codes, with a query.

A code votes for an image when a code of the image in the same word and it are each other's nearest, by Hamming
distance, among the codes of that word in image and query (of equals the first): so a texture that repeats has one
vote for each of the query's codes at most, and each of its own codes gives one at most. All arithmetic is in
integers, and the native kernel gives exactly what NumPy gives.

Source: H. Jégou, M. Douze, C. Schmid, "Hamming embedding and weak geometric consistency for large scale image
search", ECCV 2008; on repetition: "On the burstiness of visual elements", CVPR 2009, by the same.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from imagefinder.kernels.mutual_nn import backend, cores

BITS = 64

_WORTH_A_THREAD = 1 << 20
"""To compare fewer codes takes less time than to start a thread."""


# wide: the arrays of an inverted file and of a query, as the native kernel takes them.
def votes(
    starts: NDArray[np.int64],
    owners: NDArray[np.int32],
    codes: NDArray[np.uint64],
    words: NDArray[np.int32],
    asked: NDArray[np.uint64],
    *,
    weights: NDArray[np.int64],
    rarities: NDArray[np.int64],
    images: int,
    threads: int | None = None,
) -> NDArray[np.int64]:
    """What each image of an inverted file gets.

    Other Python threads run meanwhile. What points outside of the file is passed over.

    Args:
        starts: ``(W + 1,)``: word ``w`` owns the postings ``starts[w]:starts[w + 1]``.
        owners: ``(P,)``, the image of each posting, rising within a word.
        codes: ``(P,)``, the code of each posting.
        words: ``(n,)``, the word of each code of the query, rising.
        asked: ``(n,)``, the codes of the query.
        weights: ``(65,)``, what a pair counts, by its distance.
        rarities: ``(W,)``, times what it counts, by its word.
        images: How many images there are.
        threads: How many to use at most; by default as many as this process may use cores.

    Returns:
        ``(images,)`` int64.
    """
    if backend() == "numpy":
        found = np.zeros(images, dtype=np.int64)
        _votes_numpy(starts, owners, codes, words, asked, weights, rarities, found)
        return found
    from imagefinder.kernels import _native  # noqa: PLC0415 - not there without a compiler

    def vote(share: slice) -> NDArray[np.int64]:
        found = np.zeros(images, dtype=np.int64)
        _native.vote(starts, owners, codes, words[share], asked[share], weights, rarities, found)
        return found

    shares = _shares(starts, words, cores() if threads is None else threads)
    if len(shares) == 1:
        return vote(shares[0])
    with ThreadPoolExecutor(len(shares)) as pool:
        found = np.sum(list(pool.map(vote, shares)), axis=0, dtype=np.int64)
    return np.asarray(found, dtype=np.int64)


def _shares(starts: NDArray[np.int64], words: NDArray[np.int32], threads: int) -> list[slice]:
    """The codes of a query divided among threads, about evenly by what there is to compare; words stay whole."""
    inside = np.clip(words, 0, max(0, len(starts) - 2))
    work = np.cumsum(starts[inside + 1] - starts[inside]) if len(starts) > 1 else np.zeros(len(words), np.int64)
    total = int(work[-1]) if len(work) else 0
    parts = max(1, min(threads, total // _WORTH_A_THREAD))
    cuts = np.searchsorted(work, total * np.arange(1, parts) / parts)
    cuts = np.searchsorted(words, words[cuts])  # back to where the word begins
    bounds = [0, *cuts.tolist(), len(words)]
    return [slice(a, b) for a, b in pairwise(bounds)]


# wide: the twin of the native kernel takes the same arguments.
def _votes_numpy(  # noqa: PLR0917 - the native kernel's arguments
    starts: NDArray[np.int64],
    owners: NDArray[np.int32],
    codes: NDArray[np.uint64],
    words: NDArray[np.int32],
    asked: NDArray[np.uint64],
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
        distances = np.bitwise_count(codes[first:last, None] ^ asked[None, begin:end]).astype(np.int64)
        nearest_asked = distances.argmin(axis=1)
        # Distance and place in one number: the least of a run is its nearest posting, of equals the first.
        ranked = distances * len(mine) + np.arange(len(mine))[:, None]
        best = np.minimum.reduceat(ranked, runs, axis=0)
        near, place = np.divmod(best, len(mine))
        mutual = nearest_asked[place] == np.arange(end - begin)
        gains = (weights[near] * mutual).sum(axis=1) * int(rarities[word])
        images = mine[runs]
        inside = (images >= 0) & (images < len(found))
        np.add.at(found, images[inside], gains[inside])
