import re
from pathlib import Path

import pytest
from tests.support.small_model import DESCRIPTION

from imagefinder.core.errors import SettingsError
from imagefinder.core.features import FeatureSpec
from imagefinder.models.catalogue import MODELS, SHIPPED, HubFile, LocalFile, ModelCatalogue, PackageFile, UrlFile
from imagefinder.models.description import read


def write(folder: Path, text: str, name: str = "small") -> Path:
    path = folder / name / "model.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_an_onnx_model(tmp_path):
    model = read(write(tmp_path, DESCRIPTION))
    assert (model.name, model.architecture, model.source) == ("small", "onnx", LocalFile("small.onnx"))
    assert model.features == FeatureSpec("global", 8, "float32")
    assert model.preprocessing.resize_to == 32
    assert not model.auto
    assert model.sha256 == ""


@pytest.mark.parametrize(
    ("weights", "source"),
    [
        (
            f'repository = "a/b"\nrevision = "{"0" * 40}"\nfile = "onnx/m.onnx"',
            HubFile("a/b", "0" * 40, "onnx/m.onnx"),
        ),
        ('package = "p"\nmodule = "m"\nfile = "m.onnx"', PackageFile("p", "m", "m.onnx")),
        ('url = "https://models.example/x/m.onnx?v=1"', UrlFile("https://models.example/x/m.onnx?v=1", "m.onnx")),
    ],
)
def test_sources_of_weights(tmp_path, weights, source):
    assert read(write(tmp_path, DESCRIPTION.replace('file = "small.onnx"', weights))).source == source


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('licence = "MIT"\n', "", "licence is missing"),
        ('licence = "MIT"', "licence = 3", "licence is not text"),
        ('licence = "MIT"', 'licence = " "', "licence is empty"),
        ('licence = "MIT"', 'licence = "MIT"\nlicense = "MIT"', "license is not a known key"),
        ("dim = 8", "dim = 8\nshape = 3", r"output\.shape is not a known key"),
        ("dim = 8", "dim = true", r"output\.dim is not a whole number"),
        ("dim = 8", "dim = 0", r"output\.dim is 0, not from 1"),
        ("dim = 8", 'dim = 8\nlinear = ["w", "b"]', r"output\.linear names the tensors"),
        ('pool = "vector"', 'pool = "max"', r"output\.pool is 'max', not one of: vector, class token"),
        ("size = 32", "size = 32\nresize_to = 16", r"input\.resize_to is 16"),
        ("std = [0.5, 0.5, 0.5]", "std = [0.5, 0, 0.5]", r"input\.std contains a number that is not positive"),
        ("mean = [0.5, 0.5, 0.5]", "mean = [0.5, 0.5]", r"input\.mean is not a list of three numbers"),
        (
            'file = "small.onnx"',
            'file = "../small.onnx"',
            r"weights\.file is '\.\./small\.onnx', not a path inside",
        ),
        ('file = "small.onnx"', 'file = "small.pth"', r"weights\.file names 'small\.pth'"),
        ('file = "small.onnx"', 'file = "small.safetensors"', r"architecture onnx are a file \.onnx"),
        (
            'file = "small.onnx"',
            'repository = "a"\nrevision = "main"\nfile = "m.onnx"',
            r"weights\.repository is 'a'",
        ),
        (
            'file = "small.onnx"',
            'repository = "a/b"\nrevision = "a b"\nfile = "m.onnx"',
            "revision is not a commit",
        ),
        ('file = "small.onnx"', 'url = "ftp://models.example/m.onnx"', "not an HTTP address"),
        ("size_bytes = 10_000", "size_bytes = 9_999_999_999", r"weights\.size_bytes is 9999999999"),
        ("size_bytes = 10_000", 'size_bytes = 1\nsha256 = "ABC"', r"weights\.sha256 is not 64"),
        ('licence = "MIT"', 'licence = "MIT"\nscore = "matches"', "score must be cosine"),
        (
            'licence = "MIT"',
            'licence = "MIT"\npurpose = ["art"]',
            "purpose contains 'art', not one of: kinds, copies",
        ),
        (
            'licence = "MIT"',
            'licence = "MIT"\narchitecture = "vgg"',
            "architecture is 'vgg', not one of: resnet50",
        ),
        ("[input]", "[input", "is not a valid TOML file"),
    ],
)
def test_an_error_names_file_and_key(tmp_path, before, after, message):
    assert before in DESCRIPTION
    path = write(tmp_path, DESCRIPTION.replace(before, after, 1))
    with pytest.raises(SettingsError, match=message) as error:
        read(path)
    assert error.value.message.startswith(str(path))


def test_the_input_of_an_architecture_has_one_size(tmp_path):
    text = (SHIPPED / "resnet50" / "model.toml").read_text().replace("size = 224", "size = 225")
    with pytest.raises(SettingsError, match=r"input\.size is 225; the input of resnet50 is 224"):
        read(write(tmp_path, text))


def test_only_shipped_models_may_be_pickles(tmp_path):
    text = (SHIPPED / "efficientnet-lite0" / "model.toml").read_text()
    with pytest.raises(SettingsError, match=r"\.pth.*\.safetensors") as error:
        read(write(tmp_path, text))
    assert "Python objects" in error.value.hint
    assert read(write(tmp_path, text), shipped=True).architecture == "efficientnet_lite0"


@pytest.mark.parametrize("name", ["auto", "graphs", "Small", "a b", "x" * 65])
def test_names(tmp_path, name):
    with pytest.raises(SettingsError, match=re.escape(f"cannot be called {name!r}")):
        read(write(tmp_path, DESCRIPTION, name))


def test_a_text_tower(tmp_path):
    tower = """
        [text]
        file = "text.onnx"
        tokenizer = "tokenizer.json"
        output = "text_embeds"
        length = 77
        padding = 0
        """
    model = read(write(tmp_path, DESCRIPTION + tower))
    assert model.text
    assert (model.text.length, model.text.templates) == (77, ("{}",))
    with pytest.raises(SettingsError, match=r"text\.templates contains a text without exactly one"):
        read(write(tmp_path, DESCRIPTION + tower + 'templates = ["a photo"]\n'))


def test_added_models_are_in_the_catalogue(tmp_path):
    write(tmp_path, DESCRIPTION)
    (tmp_path / "resnet50").mkdir()
    (tmp_path / "resnet50" / "sha256.json").write_text("{}")  # recorded by the cache of weights
    catalogue = ModelCatalogue(tmp_path)
    assert set(catalogue) == {*MODELS, "small"}
    assert catalogue["small"].summary == "A small network"
    assert catalogue.is_added("small")
    assert not catalogue.is_added("resnet50")
    assert catalogue["resnet50"] == MODELS["resnet50"]
    with pytest.raises(KeyError):
        catalogue["../small"]


def test_a_shipped_model_cannot_be_replaced(tmp_path):
    write(tmp_path, DESCRIPTION, "resnet50")
    assert ModelCatalogue(tmp_path)["resnet50"] == MODELS["resnet50"]


def test_an_invalid_file_affects_only_its_model(tmp_path):
    write(tmp_path, "nonsense", "broken")
    catalogue = ModelCatalogue(tmp_path)
    assert "small" not in catalogue
    assert catalogue["beit"] == MODELS["beit"]
    with pytest.raises(SettingsError, match="broken"):
        catalogue["broken"]


def test_a_missing_folder():
    assert set(ModelCatalogue(Path("~/nowhere"))) == set(MODELS)
