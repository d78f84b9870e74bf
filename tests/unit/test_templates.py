from pathlib import Path

import jinja2
import pytest

from imagefinder import templates
from imagefinder.cli import duplicate_sheet
from imagefinder.core.records import ImageRecord
from imagefinder.core.results import DuplicateGroup

PAGES = sorted(Path(templates.__file__).parent.glob("*.html"))
EVIL = "<script>alert(1)</script>\"'&\x1b[31m\u202e\udcff\n.jpg"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_template_disables_escaping(path):
    text = path.read_text(encoding="utf-8")
    jinja2.Environment(autoescape=True).parse(text)
    assert not {"safe", "autoescape", "Markup"} & set(text.replace("|", " ").split())
    assert "//" not in text, "a page must not load anything"
    assert "<script" not in text


def test_a_hostile_id_is_escaped_everywhere_on_the_duplicate_sheet():
    group = DuplicateGroup("identical", (EVIL, "b.jpg"), ())
    records = {name: ImageRecord(name, "file:///a", "0" * 64, 1200, 640, 427, "JPEG") for name in group.ids}
    relations = dict.fromkeys(group.ids, (EVIL, EVIL))
    page = duplicate_sheet.render(
        [duplicate_sheet.SheetGroup(group, records, relations, dict.fromkeys(group.ids, "stays"))],
        lambda image_id: b"JPEG",
        subtitle=EVIL,
    )
    shown = "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;\\x1b[31m\\u202e\\udcff\\n.jpg"
    assert "<script" not in page
    assert page.replace("\n", "").isprintable()
    assert page.count(shown) == 7  # subtitle, id, alternative text, and relation and agreement of two images
    assert f'alt="{shown}"' in page


def test_a_missing_variable_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="version"):
        templates.render("reference.html", operations=[], problems={})


def test_an_unknown_template_is_an_error():
    with pytest.raises(jinja2.TemplateNotFound):
        templates.render("../web/index.html")
