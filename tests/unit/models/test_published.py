import json

import pytest

from imagefinder.core.errors import ModelError
from imagefinder.models.catalogue import MODELS, Preprocessing
from imagefinder.models.published import architecture, preprocessing
from imagefinder.models.repository import licence_of_card

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def read(name, content):
    how, file = preprocessing({name: json.dumps(content)})
    assert file == name
    return how


def test_transformers_as_dinov2_publishes_it():
    content = {
        "crop_size": {"height": 224, "width": 224},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(IMAGENET[0]),
        "image_processor_type": "BitImageProcessor",
        "image_std": list(IMAGENET[1]),
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 256},
    }
    how = read("preprocessor_config.json", content)
    assert how == Preprocessing("shorter-side", 256, 224, "bicubic", *IMAGENET)
    assert how == MODELS["dinov2-small"].preprocessing


def test_transformers_without_a_crop():
    content = {
        "do_resize": True,
        "size": {"height": 256, "width": 256},
        "resample": 2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "rescale_factor": 1 / 255,
    }
    how = read("preprocessor_config.json", content)
    assert how == Preprocessing("exact", 256, 256, "bilinear", *HALF)
    assert how == MODELS["siglip2-base"].preprocessing


def test_transformers_with_sizes_as_numbers():
    content = {
        "size": 224,
        "crop_size": 224,
        "do_center_crop": True,
        "resample": 3,
        "image_mean": CLIP[0],
        "image_std": CLIP[1],
    }
    how = read("preprocessor_config.json", content)
    assert how == Preprocessing("shorter-side", 224, 224, "bicubic", *CLIP)
    assert how == MODELS["clip-vit-b32"].preprocessing


@pytest.mark.parametrize("scale", [{"do_rescale": False}, {"rescale_factor": 1.0}])
def test_values_up_to_255(scale):
    how = read("preprocessor_config.json", {"size": 32, "image_mean": [102] * 3, "image_std": [51] * 3, **scale})
    assert how.mean == pytest.approx((0.4,) * 3)
    assert how.std == pytest.approx((0.2,) * 3)


def test_no_normalisation():
    how = read("preprocessor_config.json", {"size": 32, "do_normalize": False})
    assert (how.mean, how.std) == ((0, 0, 0), (1, 1, 1))


def test_timm():
    content = {
        "architecture": "resnet50",
        "pretrained_cfg": {
            "input_size": [3, 224, 224],
            "interpolation": "bilinear",
            "crop_pct": 0.875,
            "mean": IMAGENET[0],
            "std": IMAGENET[1],
        },
    }
    assert read("config.json", content) == MODELS["resnet50"].preprocessing
    assert architecture({"config.json": json.dumps(content)}) == "resnet50"
    content["pretrained_cfg"]["crop_mode"] = "squash"
    assert read("config.json", content).resize == "exact"


def test_open_clip():
    content = {
        "model_cfg": {"embed_dim": 512, "vision_cfg": {"image_size": 224}},
        "preprocess_cfg": {"mean": HALF[0], "std": HALF[1], "interpolation": "bicubic", "resize_mode": "squash"},
    }
    assert read("open_clip_config.json", content) == Preprocessing("exact", 224, 224, "bicubic", *HALF)
    del content["preprocess_cfg"]
    assert read("open_clip_config.json", content) == Preprocessing("shorter-side", 224, 224, "bicubic", *CLIP)


def test_immich():
    content = {"size": [224, 224], "mode": "RGB", "mean": CLIP[0], "std": CLIP[1], "interpolation": "bicubic"}
    expected = Preprocessing("shorter-side", 224, 224, "bicubic", *CLIP)
    assert read("preprocess_cfg.json", {**content, "resize_mode": "shortest", "fill_color": 0}) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("preprocessor_config.json", {"size": {"height": 32, "width": 64}}, "not square"),
        ("preprocessor_config.json", {"size": 32, "resample": 1}, "resampling filter 1"),
        ("preprocessor_config.json", {"size": 32, "do_resize": False}, "do_resize is false"),
        ("preprocessor_config.json", {"size": 32, "image_std": [0, 1, 1]}, "standard deviation"),
        ("preprocessor_config.json", {"size": 32, "image_mean": "grey"}, "not understood"),
        ("preprocess_cfg.json", {"size": [32, 32], "mode": "L"}, "mode is L"),
        ("open_clip_config.json", {"model_cfg": {}}, "not understood"),
        (
            "open_clip_config.json",
            {"model_cfg": {"vision_cfg": {"image_size": 32}}, "preprocess_cfg": {"resize_mode": "longest"}},
            "resize_mode is 'longest'",
        ),
        ("config.json", {"model_type": "vit"}, "nothing published with the model says"),
        ("preprocessor_config.json", [], "is not a JSON object"),
    ],
)
def test_what_is_not_supported_is_named(name, content, message):
    with pytest.raises(ModelError, match=message):
        read(name, content)


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\ntags: [x]\n---\n# A", "mit"),
        ("---\nlibrary: x\nlicense: 'apache-2.0'\n---", "apache-2.0"),
        ("---\r\nlibrary: x\n---\nlicense: mit", ""),
        ("# No front matter\nlicense: mit", ""),
        ("", ""),
    ],
)
def test_the_licence_of_a_model_card(card, licence):
    assert licence_of_card(card) == licence
