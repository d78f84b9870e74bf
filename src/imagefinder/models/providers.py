"""Select and load the inference backend of a network: provider and precision."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import ModelError, ProviderMissingError, SettingsError

PRECISIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"cpu": ("f32", "int8"), "openvino": ("f32", "bf16"), "cuda": ("f32",), "coreml": ("f32",)}
)
"""Precisions of each provider; the first is that of ``auto``."""

INT8 = frozenset({"beit_base"})
"""Architectures with int8 support. Convolutions would need activation ranges measured on images; with such ranges
the int8 vectors of EfficientNet-Lite0 had a cosine of only 0.97 with the float32 ones."""

INSTALL_OPENVINO = "install it with: pip install 'imagefinder[openvino]'"
_UNTESTED = frozenset({"cuda", "coreml"})  # compared with the CPU whenever a network is loaded
_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Backend:
    """The inference backend of a network.

    Attributes:
        provider: ``cpu``, ``openvino``, ``cuda`` or ``coreml``.
        precision: ``f32``, ``bf16`` or ``int8``.
    """

    provider: str = "cpu"
    precision: str = "f32"


class Network(Protocol):
    """A loaded network; safe to call from several threads.

    Attributes:
        batch: Best batch size; 1 if the values would depend on the other images in a batch.
    """

    batch: int

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the output of a batch.

        Args:
            batch: ``(B, 3, size, size)`` float32, B >= 1.

        Returns:
            ``(B, ...)`` float32, finite.

        Raises:
            ModelError: the inference failed, or returned infinite or NaN values.
        """
        ...


def resolve(provider: str, precision: str, architecture: str) -> Backend:
    """Resolve the settings ``provider`` and ``precision``; ``auto`` is ``cpu`` and ``f32`` on every machine.

    Args:
        provider: The setting ``provider``.
        precision: The setting ``precision``.
        architecture: ``ModelSpec.architecture``.

    Raises:
        SettingsError: unknown provider, or one that does not support this precision for this network.
    """
    provider = "cpu" if provider == "auto" else provider
    precision = "f32" if precision == "auto" else precision
    if provider not in PRECISIONS:
        raise SettingsError(f"unknown provider {provider!r}", hint=f"providers: {', '.join(PRECISIONS)}")
    if precision not in PRECISIONS[provider]:
        supporting = [name for name, precisions in PRECISIONS.items() if precision in precisions]
        raise SettingsError(
            f"the provider {provider} does not support the precision {precision}",
            hint=f"for {precision}, set provider={' or '.join(supporting)}"
            if supporting
            else "precisions: f32, bf16, int8",
        )
    if precision == "int8" and architecture not in INT8:
        raise SettingsError(
            f"{architecture} does not support int8: no activation ranges are available",
            hint="for bf16, set provider=openvino",
        )
    return Backend(provider, precision)


def require(provider: str) -> None:
    """Check that a provider is installed, without starting it.

    Raises:
        ProviderMissingError: it is not installed.
    """
    if provider == "openvino" and importlib.util.find_spec("openvino") is None:
        raise ProviderMissingError(provider, reason="OpenVINO is not installed", hint=INSTALL_OPENVINO)
    if provider in _UNTESTED:
        from imagefinder.models.session import require_provider  # noqa: PLC0415 - a slow import

        require_provider(provider)


def load(graph: bytes, backend: Backend, *, threads: int, output: str = "", size: int = 224) -> Network:
    """Load a network.

    Args:
        graph: Serialised ONNX graph whose only input is a batch of images, built for ``backend.precision``.
        backend: The result of ``resolve``.
        threads: Number of CPU threads per inference.
        output: Name of the output to compute; empty: the only one.
        size: Width and height of the input in pixels.

    Raises:
        ProviderMissingError: the provider is not installed; there is no fallback to another one.
        ModelError: the graph cannot be loaded, or a provider does not compute in float32 although it claims to.
    """
    require(backend.provider)
    if backend.provider == "openvino":
        from imagefinder.models.openvino_session import OpenVinoSession  # noqa: PLC0415 - an optional library

        return OpenVinoSession(graph, threads=threads, precision=backend.precision, output=output, size=size)
    from imagefinder.models.session import Session  # noqa: PLC0415 - a slow import

    if backend.precision == "int8":  # its scales are those of a whole batch
        return Session(graph, threads=threads, batch=1)
    session = Session(graph, threads=threads, provider=backend.provider, output=output)
    if backend.provider in _UNTESTED:
        compare(session, Session(graph, threads=threads, output=output), backend.provider, size)
    return session


def compare(session: Network, reference: Network, provider: str, size: int = 224) -> None:
    """Compare the float32 output of a provider with that of the CPU on one fixed input.

    Features with equal fingerprints are compared with each other, so the provider must really compute in float32.

    Raises:
        ModelError: the relative difference exceeds 0.001.
    """
    batch = np.random.default_rng(0).standard_normal((1, 3, size, size), dtype=np.float32)
    expected = reference.run(batch)
    error = float(np.linalg.norm(session.run(batch) - expected) / max(float(np.linalg.norm(expected)), 1e-30))
    if error > _TOLERANCE:
        raise ModelError(
            f"the provider {provider} does not compute in float32 on this machine: its features differ from "
            f"those of the CPU by {error:.1e} (relative)",
            hint="set provider=cpu",
        )
