import pytest

from imagefinder.core.pages import page_name, page_of, split_page


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("scan.tif", ("scan.tif", 1)),
        ("scan.tif#page=3", ("scan.tif", 3)),
        ("a#b.tif#page=12", ("a#b.tif", 12)),
        ("x#page=3.jpg", ("x#page=3.jpg", 1)),
        ("scan.tif#page=1", ("scan.tif#page=1", 1)),  # the first page has the plain name
        ("scan.tif#page=0", ("scan.tif#page=0", 1)),
        ("scan.tif#page=", ("scan.tif#page=", 1)),
        ("file:///a%23page=2.tif", ("file:///a%23page=2.tif", 1)),
        ("file:///a.tif#page=2", ("file:///a.tif", 2)),
    ],
)
def test_names_of_pages(name, parts):
    assert split_page(name) == parts
    assert page_of(name) == parts[1]
    if parts[1] > 1:
        assert page_name(*parts) == name
