"""A running network: the only user of ONNX Runtime."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import ModelError, ProviderMissingError

# Read when the library loads: its wheels otherwise write a device number below the home folder and report
# every session to their maker. ``disable_telemetry_events`` comes too late for both.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

# Float32 as the processor computes it: without the options CUDA would round to 10 bits, CoreML to 16-bit floats.
_PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0"}),
    "coreml": ("CoreMLExecutionProvider", {"ModelFormat": "MLProgram", "MLComputeUnits": "CPUAndGPU"}),
}
_INSTALL = {
    "cuda": "in an environment of its own: pip uninstall onnxruntime; pip install onnxruntime-gpu",
    "coreml": "CoreML is part of ONNX Runtime for macOS",
}
# The processor is as fast with 4 pictures as with 16, and the next inputs are made meanwhile; the memory for a run
# grows with each. Elsewhere a run costs more to begin.
_BATCH = {"cpu": 4, "cuda": 16, "coreml": 16}


def require_provider(provider: str) -> None:
    """Check that this ONNX Runtime was built with a provider.

    Raises:
        ProviderMissingError: it was not.
    """
    name, _ = _PROVIDERS[provider]
    if name not in onnxruntime.get_available_providers():
        raise ProviderMissingError(
            provider, reason=f"this ONNX Runtime has no {name}", hint=_INSTALL.get(provider, "")
        )


class Session:
    """An ONNX graph ready to run; safe to call from several threads."""

    def __init__(self, graph: bytes, *, threads: int, provider: str = "cpu", batch: int = 0) -> None:
        """Loads and optimises the graph.

        Args:
            graph: Serialised ONNX with one input and one output.
            threads: Processor cores one run uses.
            provider: ``cpu``, ``cuda`` or ``coreml``.
            batch: See ``providers.Network``; 0: what is good for the provider.

        Raises:
            ProviderMissingError: ONNX Runtime does not have the provider here.
            ModelError: ONNX Runtime cannot load the graph.
        """
        self.batch = batch or _BATCH[provider]
        require_provider(provider)
        name, how = _PROVIDERS[provider]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Waiting threads spin within a run, where it pays, and not after it: the next run may be another
        # session's, or the cores may have pictures to decode.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=[(name, how)])
        except Exception as error:  # ONNX Runtime's errors have no root of their own
            raise ModelError(f"ONNX Runtime cannot load the network: {error}") from error
        # Where a provider does not start, ONNX Runtime goes on with the processor and says so in a log only.
        if self._session.get_providers()[0] != name:
            raise ProviderMissingError(
                provider, reason=f"{name} did not start", hint="is its driver installed, of the version it wants?"
            )
        self._input = self._session.get_inputs()[0].name

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's output for a batch.

        Args:
            batch: ``(B, 3, 224, 224)`` float32, B >= 1.

        Returns:
            ``(B, ...)`` float32, finite.

        Raises:
            ModelError: the run failed, or gave something that is no number.
        """
        try:
            (output,) = self._session.run(None, {self._input: batch})
        except Exception as error:  # see above
            raise ModelError(f"ONNX Runtime cannot run the network: {error}") from error
        if not np.isfinite(output).all():
            raise ModelError("the network gave values that are no finite numbers")
        return np.asarray(output, dtype=np.float32)
