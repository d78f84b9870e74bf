"""Run networks with ONNX Runtime."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import ModelError, ProviderMissingError

# Read when the library is loaded. Otherwise its wheels write a device id to the home folder and report every
# session to Microsoft; ``disable_telemetry_events`` takes effect too late.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

# The options select full float32: CUDA would round to TF32 (10 bits), CoreML to 16-bit floats.
_PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0"}),
    "coreml": ("CoreMLExecutionProvider", {"ModelFormat": "MLProgram", "MLComputeUnits": "CPUAndGPU"}),
}
_INSTALL = {
    "cuda": "in a separate environment: pip uninstall onnxruntime; pip install onnxruntime-gpu",
    "coreml": "CoreML is part of ONNX Runtime for macOS",
}
# The CPU is as fast with 4 images per batch as with 16, needs less memory, and the next inputs are prepared
# meanwhile. Elsewhere starting an inference is more expensive.
_BATCH = {"cpu": 4, "cuda": 16, "coreml": 16}


def require_provider(provider: str) -> None:
    """Check that this ONNX Runtime was built with a provider.

    Raises:
        ProviderMissingError: it was built without the provider.
    """
    name, _ = _PROVIDERS[provider]
    if name not in onnxruntime.get_available_providers():
        raise ProviderMissingError(
            provider, reason=f"this ONNX Runtime has no {name}", hint=_INSTALL.get(provider, "")
        )


class Session:
    """A network loaded by ONNX Runtime; safe to call from several threads."""

    def __init__(  # wide: options of ONNX Runtime, given by name
        self, graph: bytes, *, threads: int, provider: str = "cpu", batch: int = 0, output: str = ""
    ) -> None:
        """Load and optimise the graph.

        Args:
            graph: Serialised ONNX graph whose only required input is a batch of images.
            threads: Number of CPU threads per inference.
            provider: ``cpu``, ``cuda`` or ``coreml``.
            batch: Best batch size (``providers.Network.batch``); 0 selects that of the provider.
            output: Name of the output to compute; empty: the only one.

        Raises:
            ProviderMissingError: ONNX Runtime lacks the provider, or the provider did not start.
            ModelError: ONNX Runtime cannot load the graph, or it has no such input and output.
        """
        self.batch = batch or _BATCH[provider]
        require_provider(provider)
        name, how = _PROVIDERS[provider]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that wait for the next operation sleep. Spinning took 18 instead of 11 CPU-ms per image with two
        # threads, for the same output, and kept the cores from decoders, SIFT and other processes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=[(name, how)])
        except Exception as error:  # ONNX Runtime's errors have no common base class
            raise ModelError(f"ONNX Runtime cannot load the network: {error}") from error
        # If a provider does not start, ONNX Runtime silently falls back to the CPU.
        if self._session.get_providers()[0] != name:
            raise ProviderMissingError(
                provider, reason=f"{name} did not start", hint="install the driver version that it requires"
            )
        self._input, shape = self._image_input()
        self.outputs = tuple(one.name for one in self._session.get_outputs())
        if (output not in self.outputs) if output else len(self.outputs) != 1:
            raise ModelError(
                f"the network has no output {output!r}, but: {', '.join(self.outputs)}"
                if output
                else f"the network has several outputs: {', '.join(self.outputs)}",
                hint="name one of them in model.toml: [output] name",
            )
        self._output = output or self.outputs[0]
        if shape and isinstance(shape[0], int):  # the graph was exported for batches of one size
            if shape[0] != 1:
                raise ModelError(
                    f"the network takes batches of {shape[0]} images only",
                    hint="export it with a free batch dimension",
                )
            self.batch = 1

    def _image_input(self) -> tuple[str, list[object]]:
        """Name and shape of the only input."""
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)":
            found = ", ".join(f"{one.name} {one.type}" for one in inputs)
            raise ModelError(
                f"the network takes other inputs than one batch of images in float32: {found}",
                hint="use the graph of the image tower alone, in float32",
            )
        shape = inputs[0].shape
        if shape and (len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3)):
            raise ModelError(
                f"the network takes an input of the shape {shape}, not images (batch, 3, height, width)",
                hint="export the model for colour images with the channels first",
            )
        return inputs[0].name, shape

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the output of a batch.

        Args:
            batch: ``(B, 3, size, size)`` float32, B >= 1.

        Returns:
            ``(B, ...)`` float32, finite.

        Raises:
            ModelError: the inference failed, or returned infinite or NaN values.
        """
        try:
            (output,) = self._session.run([self._output], {self._input: batch})
        except Exception as error:  # no common base class
            raise ModelError(f"ONNX Runtime cannot run the network: {error}") from error
        if not np.isfinite(output).all():
            raise ModelError("the network returned infinite or NaN values")
        return np.asarray(output, dtype=np.float32)


def outputs(graph: bytes, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """All outputs of a graph for a batch, by name, except those that are not float32.

    Raises:
        ModelError: the graph cannot be loaded, or cannot be run on this batch.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # no common base class
        raise ModelError(f"ONNX Runtime cannot load the network: {error}") from error
    names = [one.name for one in session.get_outputs() if one.type == "tensor(float)"]
    if not names:
        raise ModelError("the network has no output in float32")
    Session(graph, threads=1, output=names[0])  # checks the input
    fixed = [side for side in session.get_inputs()[0].shape[2:] if isinstance(side, int)]
    if any(side != batch.shape[2] for side in fixed):
        raise ModelError(
            f"the network takes images of {' x '.join(map(str, fixed))} pixels, but they are resized to "
            f"{batch.shape[2]}",
            hint="correct the size in the published preprocessing file",
        )
    try:
        values = session.run(names, {session.get_inputs()[0].name: batch})
    except Exception as error:
        raise ModelError(f"ONNX Runtime cannot run the network: {error}") from error
    return dict(zip(names, values, strict=True))
