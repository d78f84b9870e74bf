"""The texts of the web page are in its catalogues: none missing, unused, or outside of them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import NamedTuple

import pytest

from imagefinder.server.errors import KINDS
from imagefinder.server.pages import WEB

CATALOGUES = {path.name.split(".")[1]: json.loads(path.read_text("utf-8")) for path in WEB.glob("texts.*.json")}
ENGLISH = CATALOGUES["en"]
SCRIPTS = {path.name: path.read_text("utf-8") for path in sorted(WEB.glob("*.js"))}
PLURALS = {"en": {"one", "other"}, "de": {"one", "other"}}  # categories of whole numbers, CLDR

NO_TEXTS = {
    *(
        "Content-Type",
        "Retry-After",
        "X-Request-Id",
        "Authorization",
        "Accept",
        "Bearer ${}",
        "AbortError",
        "NotAllowedError",
    ),
    *("…", "Files", "GET", "PUT", "POST", "DELETE", "JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF", "BMP"),
    *("English", "Deutsch"),  # each language by its own name
    *("SHA-256", "imagefinder add FOLDER", "kind=cat year=1999", "https://…", r"https://…\nhttps://…"),
    *("edited copy", "part of", "same scene", "same layout", "edited copies", "whole image"),  # values of the API
    *("Escape", "Enter", "Delete", "Backspace", "Shift", "Home", "End", "ArrowLeft", "ArrowRight", "ArrowUp"),
    *("ArrowDown", "Arrow", "PageUp", "PageDown"),
}
"""Literals that look like texts: names of protocols, keys and formats."""

CLASSES = {name for path in WEB.glob("*.css") for name in re.findall(r"\.([a-z][\w-]*)", path.read_text("utf-8"))}
CODE = re.compile(
    r"(?:(?:class|transform|accept|rel|\"aria-keyshortcuts\"): |(?:DOMException|import|from)[( ]|focusOn\(\w+, "
    r"|(?:find|[qQ]uerySelector(?:All)?|matches|closest|matchMedia)\(|(?:event|element), |new Error\()$"
)


class Literal(NamedTuple):
    """A string literal of JavaScript; `before` is the code in front of it on the same line."""

    text: str
    before: str
    after: str


def literals(script: str) -> Iterator[Literal]:
    """Each string and template literal; of a template, with its substitutions as ``${}`` and then those inside."""
    token = re.compile(
        r"//[^\n]*|/\*.*?\*/|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|`"
        r"|(?<=[(,=:\[!&|?{};])\s*/(?![/*])(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/\w*",
        re.S,
    )
    place = 0
    while found := token.search(script, place):
        place = found.end()
        before = script[: found.start()].rpartition("\n")[2]
        if found[0] == "`":
            place = _template_end(script, found.end())
            inner = script[found.end() : place - 1]
            outer, substitutions = _split(inner)
            yield Literal(outer, before, script[place : place + 400])
            for each in substitutions:
                yield from literals(each)
        elif found[0][0] in "\"'":
            yield Literal(found[0][1:-1], before, script[place : place + 400])


def _template_end(script: str, place: int) -> int:
    depth = 0
    while True:
        if script[place] == "\\":
            place += 1
        elif script.startswith("${", place):
            depth += 1
            place += 1
        elif script[place] == "}" and depth:
            depth -= 1
        elif script[place] == "`":
            if not depth:
                return place + 1
            place = _template_end(script, place + 1) - 1
        place += 1


def _split(inner: str) -> tuple[str, list[str]]:
    outer, substitutions, place = "", [], 0
    while (start := inner.find("${", place)) >= 0:
        end, depth = start + 2, 1
        while depth:
            depth += {"{": 1, "}": -1}.get(inner[end], 0)
            end += 1
        outer += inner[place:start] + "${}"
        substitutions.append(inner[start + 2 : end - 1])
        place = end
    return outer + inner[place:], substitutions


def is_text(literal: Literal) -> bool:
    """Whether a literal is for people: it begins with a capitalised word, or a word stands next to a space."""
    text, before, _ = literal
    if text in NO_TEXTS or text in ENGLISH or CODE.search(before) or CLASSES.issuperset(text.split()):
        return False
    words = re.sub(r"\S*(?:\$\{\}|\d)\S*|imagefinder| ms$", "", text)
    return bool(re.search(r"^\W*[A-Z][a-z]+|[A-Za-z]{2,}[,:.]? | [A-Za-z]{2,}|…|“", words))


def placeholders(text: str | Mapping[str, str]) -> set[str]:
    forms = [text] if isinstance(text, str) else text.values()
    return {name for form in forms for name in re.findall(r"\{(\w+)\}", form)}


def uses(name: str) -> Iterator[tuple[str, Literal]]:
    """The calls of `t` and `parts` in a script, with their key."""
    for literal in literals(SCRIPTS[name]):
        if re.search(r"(?<![\w.])(?:t|parts)\($", literal.before):
            yield literal.text, literal


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_text_that_is_used_exists(name: str) -> None:
    assert {key for key, _ in uses(name)} - set(ENGLISH) == set()


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_text_gets_the_values_of_its_placeholders(name: str) -> None:
    for key, literal in uses(name):
        rest = literal.after.lstrip()
        if rest.startswith(", {") and "..." not in (values := rest[3 : _closing(rest, 2)]):
            depth_one = re.sub(r"\([^()]*(?:\([^()]*(?:\([^()]*\))*[^()]*\))*[^()]*\)", "", values)
            given = {part.partition(":")[0].strip() for part in _parts(depth_one)} - {""}
            assert given >= placeholders(ENGLISH[key]), key
            assert given <= placeholders(ENGLISH[key]) | {"count"}, key
        elif not rest.startswith(","):
            assert not placeholders(ENGLISH[key]), key


def _closing(text: str, start: int) -> int:
    depth = 0
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return place
    raise AssertionError(f"no closing brace in {text[:80]}")


def _parts(values: str) -> list[str]:
    parts, depth = [""], 0
    for character in values:
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(character, 0)
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def test_no_text_is_unused() -> None:
    found = {literal.text for script in SCRIPTS.values() for literal in literals(script)}
    problems = {f"problem.{code}{part}" for code in KINDS for part in ("", ".detail", ".hint")}
    assert set(ENGLISH) - found - problems == set()


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_text_is_outside_the_catalogue(name: str) -> None:
    outside = [literal.text for literal in literals(SCRIPTS[name]) if is_text(literal)]
    assert [text for text in outside if not (name == "start.js" and text.startswith("This page could not"))] == []


class Texts(HTMLParser):
    """The texts of a page, but not what is shown without scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "link"}:
            self.inside.append(tag)
        self.found += [
            value or "" for name, value in attrs if name in {"title", "alt", "aria-label", "placeholder"}
        ]

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if data.strip() and "noscript" not in self.inside:
            self.found.append(data.strip())


def test_index_html_has_no_texts() -> None:
    assert set(Texts((WEB / "index.html").read_text("utf-8")).found) == {"imagefinder"}


@pytest.mark.parametrize("language", CATALOGUES)
def test_a_catalogue_has_the_texts_and_placeholders_of_english(language: str) -> None:
    catalogue = CATALOGUES[language]
    problems = {f"problem.{code}{part}" for code in KINDS for part in ("", ".detail", ".hint")}
    assert set(ENGLISH) - set(catalogue) == set()
    assert set(catalogue) - set(ENGLISH) - problems == set()
    for key in ENGLISH:
        assert placeholders(catalogue[key]) | {"count"} == placeholders(ENGLISH[key]) | {"count"}, key


@pytest.mark.parametrize("language", set(CATALOGUES) - {"en"})
def test_every_problem_of_the_server_has_a_title(language: str) -> None:
    assert {f"problem.{code}" for code in KINDS} - set(CATALOGUES[language]) == set()


def test_no_hint_tells_people_to_send_a_request() -> None:
    """The page has its own hint for each problem whose hint names a request."""
    unnamed = {"invalid_parameter"}  # of values that the page never sends
    for path in (WEB.parent / "server").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Problem" and node.args:
                hints = [ast.unparse(word.value) for word in node.keywords if word.arg == "hint"]
                code = getattr(node.args[0], "value", None)
                if any("GET /v1" in hint for hint in hints):
                    assert code in unnamed or f"problem.{code}.hint" in ENGLISH, (path.name, code)


@pytest.mark.parametrize("language", CATALOGUES)
def test_a_catalogue_is_well_formed(language: str) -> None:
    for key, text in CATALOGUES[language].items():
        assert re.fullmatch(r"[a-z0-9_]+(-[a-z0-9_]+)*(\.[a-z0-9_]+(-[a-z0-9_]+)*)*", key), key
        if isinstance(text, str):
            assert text.strip() == text != "", key
        else:
            assert set(text) == PLURALS[language], key
            assert "count" in placeholders(text["other"]) or "count" not in placeholders(text), key


def test_each_language_is_offered_and_loaded() -> None:
    [names] = re.findall(r"LANGUAGES = \{([^}]*)\}", SCRIPTS["texts.js"])
    assert set(re.findall(r"(\w+):", names)) == set(CATALOGUES) == set(PLURALS) & set(CATALOGUES)


def test_texts_outside_the_catalogue_would_be_found() -> None:
    script = """
      h("p", {}, "No images yet");  // "Comment text"
      h("p", { class: "row end" }, `${count} of ${total} files`);
      h("span", {}, "in ", link);
      button("close", "Cancel", () => go(`#/jobs`));
      put(x, "Loading…"); x.replace(/"Quoted text"/, "");
    """
    found = [literal.text for literal in literals(script) if is_text(literal)]
    assert found == ["No images yet", "${} of ${} files", "in ", "Cancel", "Loading…"]
