"""Files, functions and signatures stay small, or a comment in place says why not.

``# long: reason`` or ``# wide: reason``, on the line of ``def`` or on the line above it (above its
decorators), argues for a long function or for a signature with many parameters.
"""

import ast
import re
from pathlib import Path

import pytest

import imagefinder

SOURCE = Path(imagefinder.__file__).parent
MOST_LINES = 500
MOST_FUNCTION_LINES = 60  # without the docstring
MOST_PARAMETERS = 6  # without self and cls


def sources(*endings):
    return sorted(
        path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*") if path.suffix.lstrip(".") in endings
    )


def too_long_file(text):
    if text.startswith("# Generated from "):
        return []  # as long as the file it is made from
    return [f"{count} lines"] if (count := len(text.splitlines())) > MOST_LINES else []


def too_large_functions(text):
    lines = text.splitlines()
    return [problem for node in ast.walk(ast.parse(text)) for problem in _problems(node, lines)]


def _problems(node, lines):
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    count = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node) is not None:
        count -= node.body[0].end_lineno - node.body[0].lineno + 1
    if count > MOST_FUNCTION_LINES and not _argued("long", node, lines):
        yield f"line {node.lineno}: {node.name} has {count} lines"
    arguments = node.args
    names = [one.arg for one in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]]
    names += [one.arg for one in (arguments.vararg, arguments.kwarg) if one]
    count = len(names) - (names[:1] in (["self"], ["cls"]))
    if count > MOST_PARAMETERS and not _argued("wide", node, lines):
        yield f"line {node.lineno}: {node.name} has {count} parameters"


def _argued(kind, node, lines):
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    places = (lines[node.lineno - 1], lines[first - 2] if first > 1 else "")
    return any(re.search(rf"# {kind}: [^ ]+( [^ ]+){{3,}}", place) for place in places)


@pytest.mark.parametrize("name", sources("py", "hpp", "cpp", "js"))
def test_source_is_small(name):
    text = (SOURCE / name).read_text(encoding="utf-8")
    problems = too_long_file(text) + (too_large_functions(text) if name.endswith(".py") else [])
    assert problems == []


def test_the_limits_are_applied():
    body = "    x = 1\n" * MOST_FUNCTION_LINES
    docstring = '    """One.\n' + "    two\n" * 100 + '    """\n'
    names = ", ".join("abcdef")
    assert too_long_file("\n" * MOST_LINES) == []
    assert too_long_file("\n" * (MOST_LINES + 1)) == ["501 lines"]
    assert too_large_functions("def f():\n" + docstring + body[10:]) == []
    assert too_large_functions("def f():\n" + body) == ["line 1: f has 61 lines"]
    assert too_large_functions(f"class A:\n  def f(self, {names}): ...\n") == []
    assert too_large_functions(f"class A:\n  def f(self, {names}, *, g): ...\n") == ["line 2: f has 7 parameters"]
    assert too_large_functions(f"async def f({names}, **more): ...\n") == ["line 1: f has 7 parameters"]
    assert too_large_functions("# long: four words of reason\n@decorated\ndef f():\n" + body) == []
    assert too_large_functions(f"def f({names}, g):  # wide: four words of reason\n    ...\n") == []
    for excuse in ("# wide: four words of reason", "# long:", "# long: because"):
        assert too_large_functions(f"{excuse}\ndef f():\n" + body) != []


@pytest.mark.parametrize("name", [name for name in sources("py") if name.startswith("collection/")])
def test_the_facade_is_small(name):
    assert len((SOURCE / name).read_text(encoding="utf-8").splitlines()) <= 300


def test_nothing_reaches_through_a_collection_to_its_store():
    reaching = re.compile(r"\b(collection|opened|default|named)\.store\b[^d]")
    outside = [name for name in sources("py") if not name.startswith("collection/")]
    assert [name for name in outside if reaching.search((SOURCE / name).read_text(encoding="utf-8"))] == []
