import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support import small_model
from tests.support.hub_server import REVISION, serve_hub

REPOSITORY = "shop/small-net"
PROCESSOR = {
    "do_resize": True,
    "size": {"height": 32, "width": 32},
    "resample": 3,
    "do_normalize": True,
    "image_mean": [0.4, 0.5, 0.6],
    "image_std": [0.2, 0.2, 0.2],
    "rescale_factor": 1 / 255,
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with serve_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, "127.0.0.1")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        hub.files[f"{REPOSITORY}/onnx/model.onnx"] = small_model.graph()
        hub.files[f"{REPOSITORY}/preprocessor_config.json"] = json.dumps(PROCESSOR).encode()
        hub.files[f"{REPOSITORY}/README.md"] = b"---\nlicense: apache-2.0\n---\n# Small"
        yield hub


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


def test_a_model_of_the_hub(call, bare, hub, models):
    answer = call(*bare, "models", "add", REPOSITORY)
    assert answer.code == 0, answer
    outputs = [line.split()[:2] for line in answer.out.splitlines()[1:] if line][:3]
    assert outputs[0] == ["vector", "vector"]
    assert "trusted on first use" in answer.out
    text = (models / "small-net" / "model.toml").read_text()
    assert f'revision = "{REVISION}"' in text
    assert 'licence = "apache-2.0"' in text
    assert 'interpolation = "bicubic"' in text
    assert "mean = [0.4, 0.5, 0.6]" in text
    assert "auto = false" in text

    sha256 = hashlib.sha256(small_model.graph()).hexdigest()
    shown = call(*bare, "models", "show", "small-net")
    assert f"SHA-256: {sha256} recorded at the first download (trusted on first use)" in shown.out
    assert text.splitlines() == shown.out.splitlines()[1 : len(text.splitlines()) + 1]
    assert call(*bare, "models", "show", "small-net", "--json").json["state"]["origin"] == "hub"
    states = {one["name"]: one for one in call(*bare, "methods", "--json").json}
    assert states["small-net"]["ready"]
    assert not states["small-net"]["auto"]
    assert "small-net" in call(*bare, "models", "list").out


def test_every_output_is_tried(call, bare, hub):
    answer = call(*bare, "models", "add", REPOSITORY, "--json")
    tried = [(one["output"], one["pool"], one["dim"]) for one in answer.json["outputs"]]
    assert tried[0] == ("vector", "vector", 8)
    assert set(tried) == {
        ("vector", "vector", 8),
        ("map", "mean of map", 8),
        ("map", "GeM of map", 8),
        ("tokens", "class token", 8),
        ("tokens", "mean of tokens", 8),
    }
    for one in answer.json["outputs"]:
        assert len(one["crops"]) == len(one["others"]) == 2
        assert all(-1.001 <= score <= 1.001 for score in (*one["crops"], *one["others"]))


def test_the_user_chooses_output_and_pooling(call, bare, hub, models):
    answer = call(*bare, "models", "add", REPOSITORY, "--output-name", "tokens", "--pool", "mean of tokens")
    assert answer.code == 0, answer
    text = (models / "small-net" / "model.toml").read_text()
    assert 'name = "tokens"\npool = "mean of tokens"\nskip = 1\ndim = 8' in text


def test_an_added_model_is_a_method(call, bare, hub, tmp_path):
    call(*bare, "models", "add", REPOSITORY, "--name", "tiny")
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for number in range(4):
        blocks = rng.integers(0, 255, (5, 7, 3), dtype=np.uint8).repeat(20, axis=0).repeat(20, axis=1)
        Image.fromarray(blocks).save(folder / f"{number}.png")
    place = ("-c", tmp_path / "collection")
    assert call(*bare, *place, "add", folder, "-m", "tiny", "-m", "sift").code == 0
    found = call(*bare, *place, "search", folder / "2.png", "-m", "tiny", "--json").json
    assert found["method"] == "tiny"
    assert found["hits"][0]["id"].endswith("2.png")
    combined = call(*bare, *place, "search", folder / "2.png", "--json").json
    assert set(combined["fingerprints"]) == {"sift"}  # auto = false

    file = tmp_path / "models" / "tiny" / "model.toml"
    file.write_text(file.read_text().replace("auto = false", "auto = true"))
    combined = call(*bare, *place, "search", folder / "2.png", "--json").json
    assert set(combined["fingerprints"]) == {"sift", "tiny"}

    assert call(*bare, "models", "remove", "tiny").code == 0
    assert not file.parent.exists()
    assert call(*bare, *place, "search", folder / "2.png", "-m", "tiny").code != 0
    combined = call(*bare, *place, "search", folder / "2.png", "--json").json
    assert set(combined["fingerprints"]) == {"sift"}
    assert call(*bare, *place, "add", folder).code == 0


def test_other_bytes_under_the_recorded_hash_are_rejected(call, bare, hub, models, tmp_path):
    call(*bare, "models", "add", REPOSITORY)
    shutil.rmtree(tmp_path / "hub")
    hub.files[f"{REPOSITORY}/onnx/model.onnx"] = small_model.graph(seed=2)
    answer = call(*bare, "models", "pull", "small-net")
    assert answer.code == 4
    assert "different weights" in answer.err


def test_a_file_with_its_published_files(call, bare, tmp_path, models):
    file = tmp_path / "download" / "net.onnx"
    file.parent.mkdir()
    file.write_bytes(small_model.graph())
    answer = call(*bare, "models", "add", file, "--licence", "MIT")
    assert answer.code != 0
    assert "preprocessor_config.json" in answer.err
    file.with_name("preprocess_cfg.json").write_text(
        json.dumps({"size": [32, 32], "mode": "RGB", "mean": [0, 0, 0], "std": [1, 1, 1], "resize_mode": "squash"})
    )
    answer = call(*bare, "models", "add", file, "--licence", "MIT", "--name", "shoes")
    assert answer.code == 0, answer
    text = (models / "shoes" / "model.toml").read_text()
    assert f'sha256 = "{hashlib.sha256(file.read_bytes()).hexdigest()}"' in text
    (models / "shoes" / "net.onnx").write_bytes(small_model.graph(seed=2))
    states = {one["name"]: one for one in call(*bare, "methods", "--json").json}
    assert states["shoes"]["ready"]  # only reading the file finds out
    assert call(*bare, "models", "verify", "shoes").code == 4


def test_a_url(call, bare, hub, tmp_path, models):
    hub.files["anywhere/net.onnx"] = small_model.graph()
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    answer = call(
        *bare, "models", "add", f"{hub.storage}/anywhere/net.onnx", "--licence", "MIT", "--config-folder", tmp_path
    )
    assert answer.code == 0, answer
    (models / "net" / "net.onnx").unlink()
    assert call(*bare, "models", "pull", "net").code == 0
    (models / "net" / "net.onnx").unlink()
    hub.files["anywhere/net.onnx"] = small_model.graph(seed=2)
    answer = call(*bare, "models", "pull", "net")
    assert answer.code == 4
    assert "is not the file that was recorded for net" in answer.err
    assert not (models / "net" / "net.onnx").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"onnx/model.onnx": small_model.graph(domain="org.example")}, "org.example.Surprise"),
        ({"onnx/model.onnx": small_model.graph(external=True)}, "external data"),
        ({"onnx/model.onnx": b"\x80\x02}q\x00."}, "not a valid ONNX file"),
        ({"onnx/model.onnx": small_model.graph(batch=8)}, "batches of 8 images"),
        ({"onnx/model.onnx": small_model.graph(channels=1)}, "the shape ['batch', 1, 32, 32], not images"),
        ({"preprocessor_config.json": b'{"size": {"height": 64, "width": 64}}'}, "takes images of 32 x 32 pixels"),
        (
            {"onnx/model.onnx": None, "pytorch_model.bin": b"\x80\x02}q\x00."},
            "has no weights that imagefinder reads",
        ),
        ({"README.md": b"no front matter"}, "names no licence"),
        ({"README.md": b"---\nlicense: cc-by-nc-4.0\n---\n"}, "forbids commercial use"),
        ({"preprocessor_config.json": b"{"}, "preprocessor_config.json is not valid JSON"),
        ({"preprocessor_config.json": b'{"size": {"height": 32, "width": 48}}'}, "the input is not square"),
        ({"preprocessor_config.json": None}, "how images are preprocessed"),
    ],
)
def test_what_is_refused_leaves_nothing(call, bare, hub, models, change, message):
    for name, content in change.items():
        hub.files.pop(f"{REPOSITORY}/{name}", None)
        if content is not None:
            hub.files[f"{REPOSITORY}/{name}"] = content
    answer = call(*bare, "models", "add", REPOSITORY)
    assert answer.code != 0
    assert message in answer.err
    assert not (models / "small-net").exists()


def test_a_licence_is_accepted_by_name(call, bare, hub, models):
    hub.licences[REPOSITORY] = "cc-by-nc-4.0"
    assert call(*bare, "models", "add", REPOSITORY).code != 0
    answer = call(*bare, "models", "add", REPOSITORY, "--licence", "cc-by-nc-4.0")
    assert answer.code == 0, answer
    assert 'licence = "cc-by-nc-4.0"' in (models / "small-net" / "model.toml").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody/nothing"], "404"),
        (["not-a-repository"], "is not a file, a URL, or owner/name"),
        ([REPOSITORY, "--name", "auto"], "cannot be called 'auto'"),
        ([REPOSITORY, "--name", "resnet50"], "there is already a model 'resnet50'"),
        ([REPOSITORY, "--file", "other.onnx"], "has no file other.onnx"),
        ([REPOSITORY, "--output-name", "nothing"], "no output of small-net"),
    ],
)
def test_wrong_arguments(call, bare, hub, models, arguments, message):
    answer = call(*bare, "models", "add", *arguments)
    assert answer.code != 0
    assert message in answer.err
    assert not models.exists() or not list(models.rglob("model.toml"))


def test_shipped_models_stay(call, bare):
    answer = call(*bare, "models", "remove", "resnet50")
    assert answer.code != 0
    assert "part of imagefinder" in answer.err
    assert "did you mean" in call(*bare, "models", "remove", "resnet51").err


def test_check(call, bare, hub, models):
    call(*bare, "models", "add", REPOSITORY)
    answer = call(*bare, "models", "check", "small-net", "--json")
    failed = {title: failure for title, failure in answer.json["checks"].items() if failure}
    assert set(failed) <= {"Crops are nearer than other pictures."}  # its weights are random
    assert len(answer.json["checks"]) > 8
    assert answer.json["bytes_per_image"] == 32
    assert answer.code == (4 if failed else 0)


def test_check_finds_a_wrong_description(call, bare, hub, models):
    call(*bare, "models", "add", REPOSITORY)
    file: Path = models / "small-net" / "model.toml"
    file.write_text(file.read_text().replace("dim = 8", "dim = 9"))
    answer = call(*bare, "models", "check", "small-net")
    assert answer.code == 4
    assert "(1, 8)" in answer.out + answer.err
    assert "dim = 9" in answer.out + answer.err


def test_a_broken_description_affects_one_method(call, bare, models):
    (models / "broken").mkdir(parents=True)
    (models / "broken" / "model.toml").write_text("summary = 3\n")
    states = {one["name"]: one for one in call(*bare, "methods", "--json").json}
    assert states["sift"]["ready"]
    assert not states["broken"]["ready"]
    assert "broken/model.toml" in states["broken"]["reason"]
    assert call(*bare, "models", "remove", "broken").code == 0
