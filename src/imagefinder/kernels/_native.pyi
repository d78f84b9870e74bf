from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

LONGEST_BYTES: int

def count(
    query: NDArray[Any],
    gallery: NDArray[Any],
    offsets: NDArray[Any],
    counts: NDArray[Any],
    threads: int,
    isa: str | None = None,
    least: NDArray[Any] = ...,
    near: NDArray[Any] = ...,
    found: NDArray[Any] = ...,
    begins: NDArray[Any] = ...,
    /,
) -> None: ...
def pairs(
    query: NDArray[Any],
    candidates: Sequence[NDArray[Any]],
    found: NDArray[Any],
    counts: NDArray[Any],
    threads: int,
    isa: str | None = None,
    /,
) -> None: ...
def fit(
    pairs: Sequence[tuple[Any, ...]], limits: NDArray[Any], inliers: NDArray[Any], threads: int, /
) -> list[tuple[int, Any, int, float] | None]: ...
def displacements(
    query: NDArray[Any],
    candidate: NDArray[Any],
    corners: NDArray[Any],
    found: NDArray[Any],
    block: int,
    radius: int,
    plain: bool = False,
    /,
) -> None: ...
def by_level(levels: NDArray[Any], inside: NDArray[Any], order: NDArray[Any], counts: NDArray[Any], /) -> int: ...
def fit_colours(
    rgb: NDArray[Any], grey: NDArray[Any], ridge: float, kept: float, fits: int, /
) -> tuple[float, ...] | None: ...
def map_colours(
    rgb: NDArray[Any], coefficients: NDArray[Any], least: float, most: float, mapped: NDArray[Any], /
) -> None: ...
def correlation(one: NDArray[Any], other: NDArray[Any], inside: NDArray[Any], /) -> float: ...
def windows(
    one: NDArray[Any],
    other: NDArray[Any],
    centres: NDArray[Any],
    found: NDArray[Any],
    side: int,
    reach: int,
    flat: float,
    plain: bool = False,
    /,
) -> None: ...
def alike(
    one: NDArray[Any], other: NDArray[Any], inside: NDArray[Any], side: int, texture: float, alike: float, /
) -> tuple[int, int]: ...
def unexplained(
    mine: tuple[Any, Any, Any],
    theirs: tuple[Any, Any, Any],
    inside: NDArray[Any],
    counts: NDArray[Any],
    strong: float,
    weak: float,
    like: float,
    cell: int,
    /,
) -> None: ...
def dots(
    rows: NDArray[Any],
    begins: NDArray[Any],
    ends: NDArray[Any],
    vector: NDArray[Any],
    products: NDArray[Any],
    plain: bool = False,
    /,
) -> None: ...
def nearest_words(
    vectors: NDArray[Any],
    rows: NDArray[Any],
    cells: NDArray[Any],
    centres: NDArray[Any],
    halves: NDArray[Any],
    words: NDArray[Any],
    scores: NDArray[Any],
    plain: bool = False,
    /,
) -> None: ...
def add_rows(vectors: NDArray[Any], owners: NDArray[Any], sums: NDArray[Any], counts: NDArray[Any], /) -> None: ...
def supported() -> tuple[str, ...]: ...
def vote(
    starts: NDArray[Any],
    owners: NDArray[Any],
    codes: NDArray[Any],
    words: NDArray[Any],
    query_codes: NDArray[Any],
    weights: NDArray[Any],
    rarities: NDArray[Any],
    votes: NDArray[Any],
    plain: bool = False,
    /,
) -> None: ...
