"""What other people's code computes from the same weights and pictures; needs torch and transformers."""

# ruff: noqa: E402 - torchvision needs a step before its import

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from PIL import Image

# torchvision registers shape rules for operators compiled against CUDA, which a torch without CUDA does not
# load; its Pillow transforms and its models use none of them.
sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("torchvision._meta_registrations"))

import torchvision
import transformers
from efficientnet_lite_pytorch import EfficientNet
from torchvision.transforms import InterpolationMode
from transformers.models.beit.image_processing_beit import BeitImageProcessor
from transformers.models.beit.image_processing_pil_beit import BeitImageProcessorPil

BEIT_CONFIG = {
    "architectures": ["BeitForImageClassification"],
    "model_type": "beit",
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "image_size": 224,
    "patch_size": 16,
    "num_channels": 3,
    "layer_scale_init_value": 0.1,
    "use_absolute_position_embeddings": False,
    "use_mask_token": False,
    "use_mean_pooling": True,
    "use_relative_position_bias": True,
    "use_shared_relative_position_bias": False,
    "num_labels": 1000,
}
"""``config.json`` of ``microsoft/beit-base-patch16-224``, the parts that shape the network."""

BEIT_PROCESSOR = {
    "do_resize": True,
    "size": {"height": 224, "width": 224},
    "resample": 2,
    "do_center_crop": False,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
"""``preprocessor_config.json`` of the same."""


def beit(weights: dict[str, np.ndarray], images: np.ndarray, folder: Path) -> np.ndarray:
    """``last_hidden_state`` of transformers' ``BeitModel``, loaded from files as the hub has them."""
    (folder / "config.json").write_text(json.dumps(BEIT_CONFIG))
    safetensors.numpy.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    whole, report = transformers.BeitForImageClassification.from_pretrained(folder, output_loading_info=True)
    problems = {kind: names for kind, names in report.items() if names}
    if problems:
        raise AssertionError(f"these are not the published names and shapes: {problems}")
    with torch.inference_mode():
        return whole.beit.eval()(torch.from_numpy(images)).last_hidden_state.numpy()


def resnet50(weights: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """The global average pool of torchvision's ``resnet50``."""
    network = torchvision.models.resnet50()
    state = network.state_dict()
    given = {name: torch.from_numpy(value) for name, value in weights.items()}
    counters = {name: value for name, value in state.items() if name.endswith("num_batches_tracked")}
    network.load_state_dict(given | counters, strict=True)
    network.fc = torch.nn.Identity()
    with torch.inference_mode():
        return network.eval()(torch.from_numpy(images)).numpy()


def efficientnet_lite0(path: Path, images: np.ndarray) -> np.ndarray:
    """The pooled vector of the network that the weights' publisher wrote for them."""
    return efficientnet_lite("efficientnet-lite0", torch.load(path, weights_only=True), images)


def efficientnet_lite_weights(name: str) -> dict[str, np.ndarray]:
    """Random weights of a variant, with batch norms that matter, in the publisher's names and shapes."""
    generator, state = torch.Generator().manual_seed(5), EfficientNet.from_name(name).state_dict()
    for key, values in state.items():
        if key.endswith(("running_mean", "running_var")) or ("_bn" in key and key.endswith(("weight", "bias"))):
            low = 0.5 if key.endswith(("running_var", "weight")) else -0.3
            values.copy_(low + torch.rand(values.shape, generator=generator))
        elif values.dim() == 4:
            bound = (6 / values[0].numel()) ** 0.5
            values.copy_((torch.rand(values.shape, generator=generator) * 2 - 1) * bound)
    return {key: values.numpy() for key, values in state.items()}


def efficientnet_lite(name: str, state: dict[str, Any], images: np.ndarray) -> np.ndarray:
    """The pooled vector of a variant, by the publisher's program."""
    network = EfficientNet.from_name(name)
    network.load_state_dict({key: torch.as_tensor(values) for key, values in state.items()}, strict=True)
    with torch.inference_mode():
        return network.eval().extract_features(torch.from_numpy(images)).mean(dim=(2, 3)).numpy()


def beit_pixels(picture: np.ndarray) -> np.ndarray:
    """transformers' processor on Pillow, as the original program had it."""
    processor = BeitImageProcessorPil(**BEIT_PROCESSOR)
    return processor(Image.fromarray(picture), return_tensors="np")["pixel_values"][0]


def beit_tensor_pixels(picture: np.ndarray) -> np.ndarray:
    """transformers' present default processor, on torch tensors."""
    processor = BeitImageProcessor(**BEIT_PROCESSOR)
    return processor(Image.fromarray(picture), return_tensors="pt")["pixel_values"][0].numpy()


def resnet50_pixels(picture: np.ndarray) -> np.ndarray:
    """torchvision's pipeline for its V1 weights."""
    return _torchvision(picture, InterpolationMode.BILINEAR, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def efficientnet_lite0_pixels(picture: np.ndarray) -> np.ndarray:
    """The same, bicubic, to [-1, 1]."""
    return _torchvision(picture, InterpolationMode.BICUBIC, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def efficientnet_lite2_pixels(picture: np.ndarray) -> np.ndarray:
    """The same in the size of Lite2, with the margin of 32 pixels that the publisher evaluates with."""
    half = (0.5, 0.5, 0.5)
    return _torchvision(picture, InterpolationMode.BICUBIC, half, half, sizes=(292, 260))


def _torchvision(
    picture: np.ndarray,
    mode: InterpolationMode,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    sizes: tuple[int, int] = (256, 224),
) -> np.ndarray:
    steps = torchvision.transforms
    pipeline = steps.Compose(
        [steps.Resize(sizes[0], mode), steps.CenterCrop(sizes[1]), steps.ToTensor(), steps.Normalize(mean, std)]
    )
    return pipeline(Image.fromarray(picture)).numpy()
