"""Run networks with OpenVINO, an optional dependency."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import ModelError, ProviderMissingError


class OpenVinoSession:
    """A network loaded by OpenVINO for the CPU; safe to call from several threads.

    Images run one at a time in a graph of fixed shape. Larger batches were not faster, and this way the features
    of an image do not depend on the batch, for which the library might choose other kernels.
    """

    batch = 1

    def __init__(  # wide: options of OpenVINO, given by name
        self, graph: bytes, *, threads: int, precision: str, output: str = "", size: int = 224
    ) -> None:
        """Load and optimise the graph.

        Args:
            graph: Serialised ONNX graph whose only input is a batch of images.
            threads: Number of CPU threads per inference.
            precision: ``f32`` or ``bf16``. Always explicit: by default OpenVINO uses bfloat16 if the CPU supports
                it.
            output: Name of the output to compute; empty: the only one.
            size: Width and height of the input in pixels.

        Raises:
            ImportError: OpenVINO is not installed (``providers.require`` checks that).
            ProviderMissingError: the CPU does not support bfloat16.
            ModelError: OpenVINO cannot load the graph.
        """
        # Without its telemetry module OpenVINO neither reports the import to Intel nor writes an id to the home
        # folder.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino  # noqa: PLC0415 - optional

        core = openvino.Core()
        if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ProviderMissingError(
                "openvino", reason="this CPU does not support bfloat16", hint="set precision=f32"
            )
        try:
            model = core.read_model(graph)
            model.reshape([1, 3, size, size])
            self._model = core.compile_model(
                model,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": precision,
                    "INFERENCE_NUM_THREADS": threads,
                    "PERFORMANCE_HINT": "LATENCY",
                    "ENABLE_CPU_PINNING": False,
                },
            )
            self._output = self._model.output(output) if output else self._model.output()
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot load the network: {error}") from error
        self._idle: list[Any] = []
        self._lock = threading.Lock()

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the output of a batch, one image at a time (``providers.Network.run``)."""
        with self._lock:
            request = self._idle.pop() if self._idle else self._model.create_infer_request()
        try:
            outputs = [np.array(request.infer({0: one[None]})[self._output], np.float32) for one in batch]
        except Exception as error:  # OpenVINO raises several unrelated types
            raise ModelError(f"OpenVINO cannot run the network: {error}") from error
        finally:
            with self._lock:
                self._idle.append(request)
        output = np.concatenate(outputs)
        if not np.isfinite(output).all():
            raise ModelError("the network returned infinite or NaN values")
        return output
