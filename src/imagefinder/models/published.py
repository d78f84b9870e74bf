"""Read how a publisher says that images are preprocessed, from the files that published models come with.

* ``preprocessor_config.json`` of transformers;
* ``config.json`` of timm (``pretrained_cfg``);
* ``open_clip_config.json`` of OpenCLIP;
* ``preprocess_cfg.json`` of Immich.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from imagefinder.core.errors import ModelError
from imagefinder.models.catalogue import Architecture, Preprocessing
from imagefinder.models.repository import Texts, as_json

FILES = ("preprocessor_config.json", "open_clip_config.json", "preprocess_cfg.json", "config.json")
"""Names of the files, in order of precedence."""

_FILTERS = {2: "bilinear", 3: "bicubic", "bilinear": "bilinear", "bicubic": "bicubic", "random": "bicubic"}
_ARCHITECTURES: Mapping[str, Architecture] = {"resnet50": "resnet50", "beit": "beit_base"}


def preprocessing(texts: Texts) -> tuple[Preprocessing, str]:
    """The preprocessing, and the name of the file that says so.

    Raises:
        ModelError: no file says so, or imagefinder does not support what it says; the message names it.
    """
    readers = {
        "preprocessor_config.json": _of_transformers,
        "open_clip_config.json": _of_open_clip,
        "preprocess_cfg.json": _of_immich,
        "config.json": _of_timm,
    }
    for name in FILES:
        content = as_json(texts, name)
        if content is None:
            continue
        try:
            found = readers[name](content)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ModelError(f"{name} is not understood: {error!r}") from error
        if found is not None:
            return found, name
    raise ModelError(
        f"nothing published with the model says how images are preprocessed: none of {', '.join(FILES)}",
        hint="put one of these files next to the weight file, or write model.toml yourself: "
        "docs/guides/adding-a-model.md",
    )


def architecture(texts: Texts) -> Architecture | None:
    """The builder for the weights, from ``config.json``; ``None`` if there is none."""
    config = as_json(texts, "config.json") or {}
    named = config.get("architecture") or config.get("model_type")
    return _ARCHITECTURES.get(named) if isinstance(named, str) else None


def _of_transformers(content: Mapping[str, Any]) -> Preprocessing:
    size, crop = content.get("size"), content.get("crop_size")
    side, keeps_ratio = _side(size)
    if content.get("do_resize") is False:
        raise ValueError("do_resize is false")
    crops = bool(content.get("do_center_crop")) and crop is not None
    final = _side(crop)[0] if crops else side
    scale = float(content.get("rescale_factor", 1 / 255)) * 255 if content.get("do_rescale", True) else 255.0
    normalises = content.get("do_normalize", True)
    mean = content.get("image_mean", [0.5] * 3) if normalises else [0.0] * 3
    std = content.get("image_std", [0.5] * 3) if normalises else [1.0] * 3
    return _made(
        final,
        side,
        exact=not keeps_ratio and final == side,
        resample=content.get("resample", 2),
        mean=[float(value) / scale for value in mean],
        std=[float(value) / scale for value in std],
    )


def _of_timm(content: Mapping[str, Any]) -> Preprocessing | None:
    how = content.get("pretrained_cfg")
    if not isinstance(how, Mapping):
        return None  # config.json of another library
    size = _square(how["input_size"][1:])
    return _made(
        size,
        int(size / float(how.get("crop_pct", 1.0))),
        exact=_choice(how, "crop_mode", {"center": False, "squash": True}, "center"),
        resample=how.get("interpolation", "bicubic"),
        mean=how["mean"],
        std=how["std"],
    )


def _of_open_clip(content: Mapping[str, Any]) -> Preprocessing:
    how = content.get("preprocess_cfg") or {}
    size = content["model_cfg"]["vision_cfg"]["image_size"]
    side = _square(size) if isinstance(size, list) else int(size)
    return _of_clip(how, side)


def _of_immich(content: Mapping[str, Any]) -> Preprocessing:
    size = content["size"]
    return _of_clip(content, _square(size) if isinstance(size, list) else int(size))


def _of_clip(how: Mapping[str, Any], side: int) -> Preprocessing:
    if how.get("mode", "RGB") != "RGB":
        raise ValueError(f"mode is {how['mode']}")
    return _made(
        side,
        side,
        exact=_choice(how, "resize_mode", {"shortest": False, "squash": True}, "shortest"),
        resample=how.get("interpolation", "bicubic"),
        mean=how.get("mean", (0.48145466, 0.4578275, 0.40821073)),
        std=how.get("std", (0.26862954, 0.26130258, 0.27577711)),
    )


def _made(size: int, resize_to: int, *, exact: bool, resample: Any, mean: Any, std: Any) -> Preprocessing:
    if resample not in _FILTERS:
        raise ValueError(f"the resampling filter {resample!r} is not bilinear or bicubic")
    if not 16 <= size <= resize_to <= 4096:
        raise ValueError(f"images are resized to {resize_to} and cropped to {size} pixels")
    values = [tuple(round(float(value), 12) for value in part) for part in (mean, std)]
    if [len(part) for part in values] != [3, 3] or min(values[1]) <= 0:
        raise ValueError("mean and standard deviation are not three numbers each")
    return Preprocessing(
        "exact" if exact else "shorter-side",
        size if exact else resize_to,
        size,
        cast(Any, _FILTERS[resample]),
        cast(Any, values[0]),
        cast(Any, values[1]),
    )


def _side(size: Any) -> tuple[int, bool]:
    """Length of a side in pixels, and whether the aspect ratio is kept."""
    if isinstance(size, Mapping):
        if "shortest_edge" in size:
            return int(size["shortest_edge"]), True
        return _square([size["height"], size["width"]]), False
    return (_square(size), False) if isinstance(size, list) else (int(size), True)


def _square(size: Any) -> int:
    if len(size) != 2 or size[0] != size[1]:
        raise ValueError(f"the input is not square: {size}")
    return int(size[0])


def _choice(how: Mapping[str, Any], key: str, known: Mapping[str, bool], default: str) -> bool:
    value = how.get(key, default)
    if value not in known:
        raise ValueError(f"{key} is {value!r}")
    return known[value]
