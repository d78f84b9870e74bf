"""Runtimes with replaceable parts, for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from imagefinder import wiring
from imagefinder.core.image_contracts import Decoder
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
    """Make a runtime that decodes in this process.

    Args:
        settings: Default: the default settings.
        methods: Name -> factory of the method; default: the installed methods.
        decoder: Replaces the in-process decoder.
        ann_indexes: Whether to use ANN indexes.
    """
    made = wiring.make_runtime(settings or Settings())
    factories = replace(made._factories, decoder=lambda: decoder or InProcessDecoder())
    if methods is not None:
        factories = replace(factories, methods=tuple(methods), method=lambda name: methods[name]())
    if not ann_indexes:
        factories = replace(factories, ann_index=None)
    return Runtime(made.settings, factories)
