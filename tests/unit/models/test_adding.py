from dataclasses import replace

import numpy as np
import pytest

from imagefinder.core.errors import InputError, ModelError
from imagefinder.models import description
from imagefinder.models.adding import (
    Publication,
    architecture_of,
    check_size,
    licence_to_record,
    of_file,
    propose,
    to_toml,
)
from imagefinder.models.catalogue import MODELS, LocalFile, Output, UrlFile


def values(*shape):
    return np.zeros((1, *shape), dtype=np.float32)


def test_an_embedding_comes_before_tokens_and_class_scores():
    found = propose({"logits": values(1000), "last_hidden_state": values(257, 384), "image_embeds": values(512)})
    assert [(one.output.name, one.output.pool, one.dim) for one in found] == [
        ("image_embeds", "vector", 512),
        ("last_hidden_state", "class token", 384),
        ("last_hidden_state", "mean of tokens", 384),
        ("logits", "vector", 1000),
    ]


@pytest.mark.parametrize(
    ("tokens", "pools", "skip"),
    [
        (257, ["class token", "mean of tokens"], 1),
        (261, ["class token", "mean of tokens"], 5),
        (256, ["mean of tokens"], 0),
        (50, ["class token", "mean of tokens"], 1),
    ],
)
def test_tokens_before_the_patches(tokens, pools, skip):
    found = propose({"x": values(tokens, 8)})
    assert [one.output.pool for one in found] == pools
    assert found[-1].output.skip == skip


def test_maps_and_outputs_without_vectors():
    found = propose({"map": values(2048, 7, 7), "scale": values(1), "sequence": values(5, 4, 3, 2)})
    assert [(one.output.pool, one.dim) for one in found] == [("mean of map", 2048), ("GeM of map", 2048)]


@pytest.mark.parametrize("name", list(MODELS))
def test_a_written_description_is_read_as_the_same_model(tmp_path, name):
    model = replace(MODELS[name], untested=False, text=None)
    path = tmp_path / name / "model.toml"
    path.parent.mkdir()
    path.write_text(to_toml(model))
    assert description.read(path, shipped=True) == model


def test_text_of_a_publisher_stays_text(tmp_path):
    summary = 'quotes " and \\ and\nlines ] = [ \x7f é'
    model = replace(
        MODELS["dinov2-small"], summary=summary, output=Output('a"b', "GeM of map", power=2.5), untested=False
    )
    path = tmp_path / "m" / "model.toml"
    path.parent.mkdir()
    path.write_text(to_toml(replace(model, source=UrlFile("https://models.example/a.onnx", "a.onnx"))))
    read = description.read(path)
    assert read.summary == summary.replace("\x7f", "")
    assert read.output == model.output


def test_licences():
    def published(licence):
        return Publication(LocalFile("a.onnx"), {}, licence, "")

    assert licence_to_record(published("mit"), "") == "mit"
    assert licence_to_record(published("mit"), "Apache-2.0") == "Apache-2.0"
    for licence in ("cc-by-nc-4.0", "CC-BY-NC-SA-4.0", "apple-amlr-research", "non-commercial"):
        with pytest.raises(InputError, match="forbids commercial use"):
            licence_to_record(published(licence), "")
        assert licence_to_record(published(licence), licence) == licence
    with pytest.raises(InputError, match="names no licence"):
        licence_to_record(published(""), "")


def test_kinds_of_files(tmp_path):
    (tmp_path / "config.json").write_text('{"architecture": "resnet50"}')
    assert architecture_of(of_file(tmp_path / "a.safetensors")) == "resnet50"
    assert architecture_of(of_file(tmp_path / "a.onnx")) == "onnx"
    for name in ("a.pt", "a.pth", "pytorch_model.bin", "a.h5", "a"):
        with pytest.raises(ModelError, match=r"neither \.onnx nor \.safetensors"):
            architecture_of(of_file(tmp_path / name))
    (tmp_path / "config.json").write_text('{"architecture": "vgg16"}')
    with pytest.raises(ModelError, match="names no architecture"):
        architecture_of(of_file(tmp_path / "a.safetensors"))


def test_the_size_limit():
    assert check_size("a", description.MAX_BYTES) == description.MAX_BYTES
    with pytest.raises(ModelError, match="a has 1,073,741,825 bytes"):
        check_size("a", description.MAX_BYTES + 1)
