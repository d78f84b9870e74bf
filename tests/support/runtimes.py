"""Runtimes with parts of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from imagefinder import wiring
from imagefinder.core.contracts import Decoder
from imagefinder.core.method import Method
from imagefinder.core.settings import Settings
from imagefinder.images.decoding.decode import InProcessDecoder
from imagefinder.runtime import Runtime


def runtime(
    settings: Settings | None = None,
    methods: Mapping[str, Callable[[], Method]] | None = None,
    *,
    decoder: Decoder | None = None,
    ann_indexes: bool = True,
) -> Runtime:
    """A runtime that decodes in this process.

    Args:
        settings: By default the default ones.
        methods: Name -> what makes the method; by default those that are installed.
        decoder: Instead of one in this process.
        ann_indexes: Whether it has ANN indexes.
    """
    made = wiring.make_runtime(settings or Settings())
    factories = replace(made._factories, decoder=lambda: decoder or InProcessDecoder())
    if methods is not None:
        factories = replace(factories, methods=tuple(methods), method=lambda name: methods[name]())
    if not ann_indexes:
        factories = replace(factories, ann_index=None)
    return Runtime(made.settings, factories)
