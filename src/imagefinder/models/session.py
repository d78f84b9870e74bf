"""A running network: the only user of ONNX Runtime."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import ModelError

# Read when the library loads: its wheels otherwise write a device number below the home folder and report
# every session to their maker. ``disable_telemetry_events`` comes too late for both.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime


class Session:
    """An ONNX graph ready to run on the processor; safe to call from several threads."""

    def __init__(self, graph: bytes, *, threads: int) -> None:
        """Loads and optimises the graph.

        Args:
            graph: Serialised ONNX with one input and one output.
            threads: Processor cores one run uses.

        Raises:
            ModelError: ONNX Runtime cannot load it.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Waiting threads spin within a run, where it pays, and not after it: the next run may be another
        # session's, or the cores may have pictures to decode.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no root of their own
            raise ModelError(f"ONNX Runtime cannot load the network: {error}") from error
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
