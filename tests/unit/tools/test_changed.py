import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MAKEFILE = (ROOT / "Makefile").read_text()


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("changed", ROOT / "tools" / "changed.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module


def names(tool, group):
    return {path.relative_to(ROOT).as_posix() for path in tool.inputs(tool.GROUPS[group])}


def test_each_group_is_a_target_of_the_makefile(tool):
    assert set(tool.GROUPS) <= set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M))


def test_the_inputs_of_each_group(tool):
    assert "src/imagefinder/web/index.html" in names(tool, "browser-tests")
    assert {"tests/fuzz/targets.py", "src/imagefinder/indexing/archives.py"} <= names(tool, "fuzz-tests")
    # What the tests import, and what that imports.
    assert {"src/imagefinder/extractors/network.py", "src/imagefinder/models/session.py"} <= names(tool, "parity")
    assert not any(name.startswith("src/imagefinder/cli/") for group in tool.GROUPS for name in names(tool, group))


@pytest.fixture
def world(tool, tmp_path, monkeypatch):
    """A repository with one group: a package, of which its tests import one module, and a folder of examples."""
    package = tmp_path / "src" / "tiny"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "reached.py").write_text("from tiny import below\n")
    (package / "below.py").write_text("X = 1\n")
    (package / "other.py").write_text("Y = 1\n")
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "a").write_text("a")
    (tmp_path / "tests.py").write_text("from tiny import reached\n")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setattr(tool, "PACKAGE", "tiny")
    return tmp_path


@pytest.mark.parametrize(
    ("depth", "file", "counts"),
    [
        (None, "examples/a", True),
        (None, "src/tiny/reached.py", True),
        (None, "src/tiny/below.py", True),
        (None, "src/tiny/other.py", False),
        (1, "src/tiny/reached.py", True),
        (1, "src/tiny/below.py", False),
    ],
)
def test_a_change_of_an_input_counts(tool, world, depth, file, counts):
    group = tool.Group(("examples/*", "tests.py"), ("tests.py",), depth=depth)
    before = tool.digest(group, world)
    assert tool.digest(group, world) == before
    (world / file).write_text("X = 2\n")
    assert (tool.digest(group, world) != before) == counts


def test_a_new_file_counts_and_a_pattern_without_files_is_an_error(tool, world):
    group = tool.Group(("examples/*",))
    before = tool.digest(group, world)
    (world / "examples" / "b").touch()
    assert tool.digest(group, world) != before
    with pytest.raises(FileNotFoundError, match="gone"):
        tool.inputs(tool.Group(("gone/*",)), world)


def test_a_group_runs_until_its_stamp_is_that_of_its_inputs(tool, tmp_path):
    assert tool.changed(tmp_path) == sorted(tool.GROUPS)
    (tmp_path / "parity").write_text(tool.digest(tool.GROUPS["parity"]) + "\n")
    (tmp_path / "fuzz-tests").write_text("<<<<<<< a merge\n")
    assert tool.changed(tmp_path) == ["browser-tests", "fuzz-tests"]


def test_what_make_check_leaves_out_exists():
    (left_out,) = re.findall(r"^SLOW := ((?:.*\\\n)*.*)$", MAKEFILE, re.M)
    for pattern in left_out.replace("\\\n", " ").split():
        assert list(ROOT.glob(pattern.replace("**/", "tests/unit/**/"))), pattern
