"""A network on OpenVINO: the only user of that optional library."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import ModelError, ProviderMissingError


class OpenVinoSession:
    """An ONNX graph ready to run on the processor; safe to call from several threads.

    Pictures run one by one, in a graph of fixed shape: larger batches were no faster, and a picture has the same
    features alone and in any batch, whatever kernels the library would choose for others.
    """

    batch = 1

    def __init__(self, graph: bytes, *, threads: int, precision: str) -> None:
        """Loads and optimises the graph.

        Args:
            graph: Serialised ONNX with one input and one output.
            threads: Processor cores one run uses.
            precision: ``f32`` or ``bf16``. Asked for by name: left alone, OpenVINO takes bfloat16 where the
                processor has it.

        Raises:
            ImportError: OpenVINO is not installed; see ``providers.require``.
            ProviderMissingError: the processor has no bfloat16.
            ModelError: OpenVINO cannot load the graph.
        """
        # Importing OpenVINO reports the import to its maker and leaves an identity in the home folder, unasked;
        # with its reporting module not to be had it does neither.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino  # noqa: PLC0415 - optional

        core = openvino.Core()
        if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ProviderMissingError(
                "openvino", reason="this processor has no bfloat16", hint="use precision=f32"
            )
        try:
            model = core.read_model(graph)
            model.reshape([1, *(dimension.get_length() for dimension in list(model.input().partial_shape)[1:])])
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
            self._output = self._model.output()
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot load the network: {error}") from error
        self._idle: list[Any] = []
        self._lock = threading.Lock()

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``providers.Network``."""
        with self._lock:
            request = self._idle.pop() if self._idle else self._model.create_infer_request()
        try:
            outputs = [np.array(request.infer({0: one[None]})[self._output], np.float32) for one in batch]
        except Exception as error:  # of several kinds, by what is wrong
            raise ModelError(f"OpenVINO cannot run the network: {error}") from error
        finally:
            with self._lock:
                self._idle.append(request)
        output = np.concatenate(outputs)
        if not np.isfinite(output).all():
            raise ModelError("the network gave values that are no finite numbers")
        return output
