import importlib.metadata
import subprocess
import sys

import pytest

from imagefinder.cli import app as application
from imagefinder.cli import session
from imagefinder.cli.commands import COMMANDS
from imagefinder.cli.session import COLLECTION, INPUT, INTERRUPTED, MODEL, USAGE
from imagefinder.core import errors


def every_error(kind=errors.ImagefinderError):
    yield kind
    for child in kind.__subclasses__():
        yield from every_error(child)


def test_version(call):
    assert call("--version").out == f"imagefinder {importlib.metadata.version('imagefinder')}\n"


def test_without_a_command_the_help_is_printed(call):
    answer = call()
    assert answer.code == USAGE
    assert "Usage: imagefinder" in answer.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("sarch",),
        ("search", "--colour", "x.jpg"),
        ("search",),
        ("search", "x.jpg", "--id", "y"),
        ("search", "x.jpg", "-k", "0"),
        ("compare", "-", "-"),
        ("--set", "threads", "settings"),
        ("--set", "colour=blue", "settings"),
        ("--set", "threads=many", "settings"),
        ("--config", "no such file", "settings"),
        ("serve", "--port", "70000"),
        ("export", "x", "--format", "csv"),
    ],
)
def test_invalid_usage_prints_an_error_and_a_hint_or_one_document(call, arguments):
    answer = call(*arguments)
    assert (answer.code, answer.out) == (USAGE, "")
    assert answer.err.startswith("error: ")
    assert len(answer.err.splitlines()) <= 2
    if arguments[0] != "serve":
        answer = call(*arguments, "--json")
        assert (answer.code, answer.err) == (USAGE, "")
        assert answer.json["error"]["message"]


def test_a_misspelt_command_gets_a_suggestion(call):
    assert "search" in call("sarch").err


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_kind_of_error_has_its_exit_code(kind):
    if issubclass(kind, errors.SettingsError):
        expected = USAGE
    elif issubclass(kind, errors.ModelError):
        expected = MODEL
    elif issubclass(kind, errors.StoreError):
        expected = COLLECTION
    else:
        expected = INPUT
    assert application.exit_code(kind.__new__(kind)) == expected


@pytest.mark.parametrize(
    ("problem", "code", "message"),
    [
        (PermissionError(13, "Permission denied", "page.html"), INPUT, "Permission denied: 'page.html'"),
        (KeyboardInterrupt(), INTERRUPTED, ""),
    ],
)
def test_a_system_error_prints_no_stack_trace(call, monkeypatch, problem, code, message):
    def fail(*_, **__):
        raise problem

    monkeypatch.setattr(session, "settings", fail)
    answer = call("settings")
    assert answer.code == code
    assert message in answer.err


def test_the_old_name_of_build_index_still_works_and_is_deprecated(call, collection):
    old, new = (call("-c", collection, name, "--json") for name in ("index", "build-index"))
    assert (old.code, old.json["indexes"]) == (new.code, new.json["indexes"]) == (0, new.json["indexes"])
    assert new.err == ""
    assert old.err == "warning: `imagefinder index` is deprecated; use `imagefinder build-index`\n"


def test_a_bug_is_not_hidden(monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(session, "settings", fail)
    with pytest.raises(ZeroDivisionError):
        application.run(["settings"])


def loaded(*arguments):
    """Modules that a process has imported after the command line with these arguments."""
    code = (
        "import sys; sys.argv[0] = 'imagefinder'; from imagefinder.__main__ import main\n"
        "try: main()\nexcept SystemExit: pass\nprint('|', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("|")[2].split())


HEAVY = {"numpy", "cv2", "onnxruntime", "PIL", "fastapi", "sqlite3", "httpx2", "rich", "http.client"}


def test_the_version_is_printed_without_the_command_line():
    modules = loaded("--version")
    assert not modules & {*HEAVY, "typer", "pydantic", "dataclasses", "importlib.metadata", "imagefinder.cli.app"}
    assert "imagefinder" in modules


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_the_help_imports_no_command(arguments):
    modules = loaded(*arguments)
    names = {entry.place.partition(":")[0] for entry in COMMANDS.values()}
    assert not modules & {*HEAVY, "pydantic", "importlib.metadata", *(f"imagefinder.cli.{name}" for name in names)}
    assert "typer" in modules


def test_a_command_imports_no_other():
    modules = loaded("settings")
    names = {entry.place.partition(":")[0] for entry in COMMANDS.values()}
    assert {name for name in names if f"imagefinder.cli.{name}" in modules} == {"settings"}
    assert not modules & HEAVY


def test_a_search_with_an_image_does_not_load_the_readers_of_archives_and_lists():
    readers = {"tarfile", "imagefinder.indexing.archives", "imagefinder.indexing.lists"}
    assert not loaded("search", "missing.jpg") & readers


@pytest.mark.parametrize(
    ("arguments", "question"),
    [
        (["serch", "x.jpg"], "Did you mean 'search'"),
        (["keys", "lst"], "Did you mean 'list'"),
        (["search", "x.jpg", "--metod", "sift"], "--metod. Did you mean --method"),
        (["search", "x.jpg", "--mode", "exakt"], "Did you mean exact?"),
        (["search", "cat.jpg", "-m", "sfit"], "did you mean sift?"),
        (["search", "--id", "CAT.jpg"], "did you mean cat.jpg?"),
        (["explain", "cat.jpg", "cta.jpg"], "did you mean cat.jpg?"),
        (["remove", "cta.jpg"], "not in the collection: cta.jpg (did you mean cat.jpg"),
        (["models", "verify", "resnet"], "did you mean resnet50?"),
        (["--set", "thread=1", "methods"], "did you mean threads?"),
        (["--set", "store=embeded", "list"], "did you mean embedded?"),
        (["-c", "collectoin", "list"], "did you mean collection?"),
    ],
)
def test_a_misspelt_name(call, collection, images, monkeypatch, arguments, question):
    monkeypatch.chdir(collection.parent)
    arguments = [str(images / "cat.jpg") if one == "cat.jpg" and "-m" in arguments else one for one in arguments]
    if arguments[0] == "explain":
        arguments[1] = str(images / "cat.jpg")
    answer = call("-c", collection, *arguments)
    assert answer.code != 0
    assert question in answer.err
