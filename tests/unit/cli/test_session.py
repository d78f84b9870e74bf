import io
import sys
from types import SimpleNamespace

import pytest
import typer

from imagefinder.cli import session
from imagefinder.core.settings import Settings


def test_settings_from_file_environment_and_options(call, tmp_path, monkeypatch):
    file = tmp_path / "settings.toml"
    file.write_text("threads = 3\nport = 6000\nbatch_size = 7\n")
    monkeypatch.setenv("IMAGEFINDER_PORT", "7000")
    monkeypatch.setenv("IMAGEFINDER_BATCH_SIZE", "8")
    answer = call("--config", file, "--set", "batch_size=9", "-c", tmp_path / "c", "settings", "--json")
    values = {name: entry["value"] for name, entry in answer.json.items()}
    assert values["threads"] == "3"
    assert values["port"] == "7000"
    assert values["batch_size"] == "9"
    assert values["collection"] == str(tmp_path / "c")
    assert answer.json["batch_size"]["variable"] == "IMAGEFINDER_BATCH_SIZE"


def test_the_collection_named_after_the_command_wins(call, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert str(second) in call("-c", first, "info", "-c", second).err
    assert str(first) in call("-c", first, "info").err


def test_a_collection_may_be_a_url(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"no collection in {tmp_path / 'a b'}" in call("info", "-c", (tmp_path / "a b").as_uri()).err
    answer = call("info", "-c", "mongodb://ann:s3cret@db/shop")
    assert answer.code == session.USAGE
    assert answer.err.startswith(
        "error: unknown kind of collection: mongodb://..., imagefinder opens folders and postgresql://...\n"
    )
    shown = call("-c", "mongodb://ann:s3cret@db/shop", "settings", "--json")
    assert shown.json["collection"]["value"] == "mongodb://***@db/shop"
    assert "s3cret" not in answer.err + shown.out
    assert list(tmp_path.iterdir()) == []


def test_every_setting_is_listed(call):
    lines = call("settings").out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == [name for name, _, _ in Settings().describe()]


class TestImageArgument:
    def test_a_path_or_url_is_returned_unchanged(self):
        assert session.image_argument("a.jpg", Settings()) == "a.jpg"

    def test_standard_input_is_read_to_one_byte_over_the_limit(self, monkeypatch):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"x" * 100), isatty=lambda: False))
        assert session.image_argument("-", Settings(max_image_bytes=10)) == b"x" * 11

    def test_a_terminal_is_refused(self, monkeypatch):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
        with pytest.raises(typer.BadParameter):
            session.image_argument("-", Settings())


class TestProgram:
    def test_as_a_module(self, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["/x/imagefinder/__main__.py"])
        assert session.program() == "python -m imagefinder"

    @pytest.mark.parametrize("found", [True, False])
    def test_as_a_command(self, monkeypatch, tmp_path, found):
        command = tmp_path / "bin" / "imagefinder"
        command.parent.mkdir()
        command.touch(mode=0o755)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PATH", str(command.parent) if found else "")
        monkeypatch.setattr(sys, "argv", [str(command)])
        assert session.program() == ("imagefinder" if found else "bin/imagefinder")
