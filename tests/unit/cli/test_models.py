import pytest

LITE = "efficientnet-lite0"


def test_list(call, bare):
    answer = call(*bare, "models", "list")
    rows = {line.split()[0]: line.split()[1] for line in answer.out.splitlines()[1:] if line}
    assert {**rows, "resnet50": "no", "beit": "no", LITE: "package"} == rows
    assert "imagefinder models pull beit" in answer.out
    models = {model["name"]: model for model in call(*bare, "models", "list", "--json").json}
    assert models[LITE]["present"]
    assert models[LITE]["bytes"] == 18_826_032
    assert not models["resnet50"]["present"]
    assert models["resnet50"]["licence"] == "BSD-3-Clause"


def test_export_and_import(call, bare, tmp_path):
    bundle = tmp_path / "models.zip"
    answer = call(*bare, "models", "export", LITE, "-o", bundle, "--json")
    assert answer.json == {"file": str(bundle), "bytes": bundle.stat().st_size, "models": [LITE]}
    answer = call(*bare, "models", "import", bundle)
    assert answer.code == 0
    assert f"{LITE} installed: {tmp_path / 'models'}" in answer.out
    models = {model["name"]: model for model in call(*bare, "models", "list", "--json").json}
    assert models[LITE]["origin"] == "bundle"
    assert "imagefinder models import models.zip" in call(*bare, "models", "export", LITE, "-o", bundle).out


def test_import_of_another_file(call, bare, tmp_path):
    bundle = tmp_path / "models.zip"
    bundle.write_bytes(b"not a bundle")
    answer = call(*bare, "models", "import", bundle, "--json")
    assert (answer.code, answer.json["error"]["code"]) == (4, "model_corrupt")


def test_export_of_missing_weights(call, bare, tmp_path):
    answer = call(*bare, "models", "export", "resnet50", "-o", tmp_path / "models.zip", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (4, "model_missing")
    assert not (tmp_path / "models.zip").exists()


def test_verify_checks_the_installed_weights(call, bare):
    answer = call(*bare, "models", "verify")
    assert answer.code == 0
    assert answer.out.startswith(f"{LITE} intact: ")
    assert LITE in [model["name"] for model in call(*bare, "models", "verify", "--json").json["models"]]


def test_verify_of_a_damaged_file(call, bare, tmp_path):
    call(*bare, "models", "export", LITE, "-o", tmp_path / "models.zip")
    call(*bare, "models", "import", tmp_path / "models.zip")
    file = next((tmp_path / "models" / LITE).glob("*.pth"))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    answer = call(*bare, "models", "verify")
    assert answer.code == 4
    assert answer.err.startswith("error: ")
    assert call(*bare, "models", "verify", "--json").json["errors"][0]["code"] == "model_corrupt"


def test_verify_of_missing_weights(call, bare):
    answer = call(*bare, "models", "verify", LITE, "resnet50", "--json")
    assert answer.code == 4
    assert [model["name"] for model in answer.json["models"]] == [LITE]
    assert [error["code"] for error in answer.json["errors"]] == ["model_missing"]


def test_pull_continues_after_a_failure(call, bare):
    answer = call(*bare, "models", "pull", "resnet50", LITE, "--json")
    assert answer.code == 4
    assert [error["code"] for error in answer.json["errors"]] == ["hub_unreachable"]
    assert [model["name"] for model in answer.json["models"]] == [LITE]
    answer = call(*bare, "models", "pull", "resnet50", LITE)
    assert "resnet50" in answer.err
    assert f"{LITE} installed: " in answer.out


@pytest.mark.parametrize("command", ["pull", "export", "verify"])
def test_an_unknown_name(call, bare, command):
    answer = call(*bare, "models", command, "resnet51", "--json")
    assert answer.code == 3
    assert "resnet50" in answer.json["error"]["hint"]
