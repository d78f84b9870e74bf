"""Why a picture was found, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from imagefinder.core.contracts import Store
from imagefinder.core.errors import MethodNotIndexedError
from imagefinder.core.features import Features, LocalFeatures
from imagefinder.core.method import Examiner, Method
from imagefinder.core.results import Explanation, Point
from imagefinder.search import engine, evidence
from imagefinder.search.background import Background
from imagefinder.search.question import Asked, Question


def explain(
    store: Store,
    methods: Sequence[Method],
    asked: Asked,
    image_id: str,
    *,
    mirror: bool,
    examiner: Examiner,
    background: Background,
) -> Explanation:
    """What speaks for a stored image."""
    raise NotImplementedError
