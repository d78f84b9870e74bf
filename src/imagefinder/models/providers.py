"""Who runs a network, and in which arithmetic: a fixed rule, the same on every machine."""

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
"""Provider -> the arithmetics it has, the one that ``auto`` takes first."""

INT8 = frozenset({"beit_base"})
"""Architectures that int8 is made for. Convolutions would need the ranges of their values, measured on pictures;
with ranges of our own measuring EfficientNet-Lite0 kept a cosine of 0.97 to its float32 vectors only."""

INSTALL_OPENVINO = "install it with: pip install 'imagefinder[openvino]'"
_UNTESTED = frozenset({"cuda", "coreml"})  # compared with the processor when a network is loaded
_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Run:
    """Who runs a network, and in which arithmetic.

    Attributes:
        provider: ``cpu``, ``openvino``, ``cuda`` or ``coreml``.
        precision: ``f32``, ``bf16`` or ``int8``.
    """

    provider: str = "cpu"
    precision: str = "f32"


class Network(Protocol):
    """A running network; safe to call from several threads.

    Attributes:
        batch: The largest batch worth giving to one run; 1 where values would depend on what is in the batch.
    """

    batch: int

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(B, 3, 224, 224)`` float32 to ``(B, ...)`` float32, finite.

        Raises:
            ModelError: the run failed, or gave something that is no number.
        """
        ...


def resolve(provider: str, precision: str, architecture: str) -> Run:
    """What two settings mean for a network. ``auto`` is ``cpu`` and ``f32``, whatever the machine has.

    Args:
        provider: The setting.
        precision: The setting.
        architecture: As in ``catalogue.Model``.

    Raises:
        SettingsError: there is no such provider, or it does not have this arithmetic for this network.
    """
    provider = "cpu" if provider == "auto" else provider
    precision = "f32" if precision == "auto" else precision
    if provider not in PRECISIONS:
        raise SettingsError(f"there is no provider {provider!r}", hint=f"providers: {', '.join(PRECISIONS)}")
    if precision not in PRECISIONS[provider]:
        having = [name for name, precisions in PRECISIONS.items() if precision in precisions]
        raise SettingsError(
            f"the provider {provider} does not run networks in {precision}",
            hint=f"{precision} is there with provider={' or '.join(having)}"
            if having
            else "precisions: f32, bf16, int8",
        )
    if precision == "int8" and architecture not in INT8:
        raise SettingsError(
            f"{architecture} cannot be run in int8: its values' ranges are not known",
            hint="bf16 is there with provider=openvino",
        )
    return Run(provider, precision)


def require(provider: str) -> None:
    """Check that a provider is on this machine, without starting it.

    Raises:
        ProviderMissingError: it is not.
    """
    if provider == "openvino" and importlib.util.find_spec("openvino") is None:
        raise ProviderMissingError(provider, reason="OpenVINO is not installed", hint=INSTALL_OPENVINO)
    if provider in _UNTESTED:
        from imagefinder.models.session import require_provider  # noqa: PLC0415 - as in load

        require_provider(provider)


def load(graph: bytes, run: Run, *, threads: int) -> Network:
    """A network ready to run.

    Args:
        graph: Serialised ONNX with one input and one output, built for ``run.precision``.
        run: Result of ``resolve``.
        threads: Processor cores one run uses.

    Raises:
        ProviderMissingError: the provider is not on this machine; nothing else runs the network instead.
        ModelError: the graph cannot be loaded, or a provider that claims float32 does not give its values.
    """
    require(run.provider)
    if run.provider == "openvino":
        from imagefinder.models.openvino_session import OpenVinoSession  # noqa: PLC0415 - an optional library

        return OpenVinoSession(graph, threads=threads, precision=run.precision)
    from imagefinder.models.session import Session  # noqa: PLC0415 - half a second of imports, on use

    if run.precision == "int8":  # its scales are those of a whole batch
        return Session(graph, threads=threads, batch=1)
    session = Session(graph, threads=threads, provider=run.provider)
    if run.provider in _UNTESTED:
        compare(session, Session(graph, threads=threads), run.provider)
    return session


def compare(session: Network, reference: Network, provider: str) -> None:
    """Check a provider's float32 against the processor's, on one fixed input.

    Features of one fingerprint may be mixed, so what claims to be float32 has to be.

    Raises:
        ModelError: they differ by more than a thousandth of their length.
    """
    batch = np.random.default_rng(0).standard_normal((1, 3, 224, 224), dtype=np.float32)
    expected = reference.run(batch)
    apart = float(np.linalg.norm(session.run(batch) - expected) / max(float(np.linalg.norm(expected)), 1e-30))
    if apart > _TOLERANCE:
        raise ModelError(
            f"the provider {provider} does not compute in float32 here: its features are {apart:.1e} of their "
            "length away from the processor's",
            hint="use provider=cpu",
        )
