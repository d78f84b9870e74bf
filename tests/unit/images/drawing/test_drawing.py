import functools
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from imagefinder.core.results import Evidence, Explanation
from imagefinder.images import drawing
from imagefinder.images.drawing import colours, overlay, page
from imagefinder.testing.extractors import textured_image

FRAME = ((-0.5, -0.5), (399.5, -0.5), (399.5, 299.5), (-0.5, 299.5))
EVIDENCE = Evidence(
    inliers=30,
    matches=90,
    model="similarity",
    transform=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    mirrored=False,
    query_outline=((100.0, 80.0), (300.0, 80.0), (300.0, 220.0), (100.0, 220.0)),
    candidate_outline=FRAME,
    query_overlap=0.25,
    candidate_overlap=1.0,
)
PLACES = tuple(((120.0 + 5 * i, 100.0 + 3 * i), (50.0 + 9 * i, 40.0 + 6 * i)) for i in range(30))
EXPLANATION = Explanation("a/b.jpg", "sift", "0" * 12, 90.0, EVIDENCE, 90, PLACES, (400, 300), (400, 300))
WHITE, GREY = np.full((300, 400, 3), 255, np.uint8), np.full((300, 400, 3), 128, np.uint8)


def drawn(explanation, query=WHITE, candidate=GREY):
    with Image.open(io.BytesIO(drawing.draw(query, candidate, explanation))) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"), dtype=int)


@functools.cache
def sheet_of_the_example():
    return drawn(EXPLANATION)


def coloured(page):
    return np.ptp(page, axis=2) > 60


def test_draws_both_images_lines_and_outlines():
    sheet = sheet_of_the_example()
    sheet = sheet[: sheet.shape[0] // 2]
    assert ((sheet == 128).all(axis=2)).mean() > 0.3
    left, right = np.array_split(coloured(sheet), 2, axis=1)
    assert left.any()
    assert right.any()
    middle = sheet.shape[1] // 2
    assert coloured(sheet)[:, middle - 3 : middle + 3].any()  # lines cross the gap


def test_without_evidence_only_the_images_are_drawn():
    page = drawn(replace(EXPLANATION, evidence=None, inliers=()))
    assert not coloured(page).any()


def test_a_thumbnail_is_scaled_to_the_size_of_its_image():
    assert drawn(EXPLANATION, candidate=GREY[:75, :100]).shape == sheet_of_the_example().shape


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000), (5000, 4000)])
def test_images_of_any_shape(size):
    page = drawn(replace(EXPLANATION, candidate_size=size), candidate=np.zeros((2, 2, 3), np.uint8))
    assert page.shape[0] < 1400
    assert page.shape[1] < 2200


def test_outliers_are_drawn_faintly():
    others = tuple(((10.0, 20.0 + i), (390.0, 280.0 - i)) for i in range(50))
    alone = replace(EXPLANATION, evidence=None, inliers=())
    difference = np.abs(drawn(replace(alone, outliers=others)) - drawn(alone)).max(axis=2)
    assert (difference > 10).mean() > 0.01
    assert not coloured(drawn(replace(alone, outliers=others))).any()


def test_tokens_are_drawn_as_cells():
    cells = replace(EXPLANATION, query_cell=(40.0, 30.0), candidate_cell=(40.0, 30.0))
    assert coloured(drawn(cells)).sum() > 1.2 * coloured(sheet_of_the_example()).sum()


@pytest.mark.parametrize("mirrored", [False, True])
def test_overlay_of_a_correct_transform_is_dark(mirrored):
    image = textured_image(1, 300, 400)
    query = image[50:250, 100:350]
    transform = ((1.0, 0.0, 100.0), (0.0, 1.0, 50.0), (0.0, 0.0, 1.0))
    outline = ((99.5, 49.5), (349.5, 49.5), (349.5, 249.5), (99.5, 249.5))
    if mirrored:
        query, transform = query[:, ::-1], ((-1.0, 0.0, 349.0), *transform[1:])
        outline = (outline[1], outline[0], outline[3], outline[2])
    found = replace(EVIDENCE, transform=transform, candidate_outline=outline)
    explained = replace(EXPLANATION, evidence=found, query_size=(250, 200))
    row = np.asarray(overlay.row(np.ascontiguousarray(query), image, explained, found), dtype=int)
    middle = row[400:-200, row.shape[1] // 2 + 200 : -200]
    assert middle.max() < 80, "identical areas are dark"
    shifted = replace(found, transform=((1.0, 0.0, 90.0), *transform[1:]))
    row = np.asarray(overlay.row(np.ascontiguousarray(query), image, explained, shifted), dtype=int)
    assert row[400:-200, row.shape[1] // 2 + 200 : -200].mean() > 40


def test_only_added_text_differs():
    image = textured_image(2, 300, 400)
    query = image.copy()
    query[200:] = 255
    explained = replace(EXPLANATION, evidence=replace(EVIDENCE, candidate_outline=FRAME))
    row = np.asarray(overlay.row(query, image, explained, explained.evidence), dtype=int)
    right = row[100:, row.shape[1] // 2 + 60 : -60]
    assert right[: len(right) // 2].mean() < 10
    assert right[-len(right) // 4 :].mean() > 100


def test_no_overlay_of_images_that_hardly_overlap():
    for corner in (400.5, 5000.0):
        outline = tuple((x + corner, y) for x, y in FRAME)
        found = replace(
            EVIDENCE, candidate_outline=outline, transform=((1.0, 0.0, corner), *EVIDENCE.transform[1:])
        )
        assert overlay.row(WHITE, GREY, EXPLANATION, found) is None
        assert drawn(replace(EXPLANATION, evidence=found)).shape[0] < 800


HEAT = tuple(tuple(0.5 / 49 if column < 3 else 0.0 for column in range(7)) for _ in range(7))
HEATED = replace(
    EXPLANATION,
    method="resnet50",
    heat_of="resnet50",
    evidence=None,
    matches=0,
    inliers=(),
    query_heat=HEAT,
    candidate_heat=HEAT[::-1],
    query_seen=(50.0, 0.0, 300.0, 300.0),
    candidate_seen=(50.0, 0.0, 300.0, 300.0),
    candidate_from="file",
)


def test_heat_is_bright_where_the_contribution_is_large():
    page = drawn(HEATED)
    row = page[page.shape[0] // 2, : page.shape[1] // 2].sum(axis=1)
    inside = row[20 + 110 : 20 + 650]  # the network input is 560 wide on the page
    assert inside[: len(inside) // 4].mean() > 1.4 * inside[-len(inside) // 4 :].mean()


@pytest.mark.parametrize("source", ["thumbnail", ""])
def test_heat_of_a_thumbnail_or_of_the_query_alone(source):
    explained = replace(HEATED, candidate_from=source, candidate_heat=HEATED.candidate_heat if source else ())
    assert drawn(explained).shape == drawn(HEATED).shape
    assert (drawn(explained) != drawn(HEATED)).any()


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000)])
def test_heat_of_images_of_any_shape(size):
    side = min(size)
    drawn(replace(HEATED, candidate_size=size, candidate_seen=(0.0, 0.0, side, side)))


def test_heat_may_be_negative_or_constant():
    drawn(replace(HEATED, query_heat=((-0.1, 0.3),)))
    drawn(replace(HEATED, query_heat=((0.0,),), candidate_heat=((0.0,),)))


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, ["30 of 90 matches fit one similarity"]),
        ({"evidence": replace(EVIDENCE, model="affine")}, ["30 of 90 matches fit one affine transform"]),
        (
            {"evidence": replace(EVIDENCE, found_by="tokens", mirrored=True)},
            ["30 of 90 tokens fit one similarity, mirrored"],
        ),
        ({"evidence": replace(EVIDENCE, inliers=0)}, ["whole images aligned"]),
        ({"evidence": None}, ["no consistent geometry among 90 matches"]),
        (
            {"decision": "match", "relation": "part of", "evalue": 3.21e-14},
            ["match, part of, E-value 3.2e-14", "30 of 90 matches fit one similarity"],
        ),
        (
            {"evidence": None, "matches": 0, "query_heat": ((0.25, 0.25),), "heat_of": "resnet50"},
            ["resnet50: cosine 0.500"],
        ),
    ],
)
def test_summary(changes, lines):
    assert page.summary(replace(EXPLANATION, **changes)) == lines


def test_a_decision_makes_the_page_higher():
    explained = replace(EXPLANATION, decision="possible", evalue=0.2)
    assert page.summary(explained)[0] == "possible match, E-value 0.2"
    assert drawn(explained).shape[0] > sheet_of_the_example().shape[0]


def test_larger_values_are_brighter():
    shades = colours.colour_map(np.linspace(-1, 2, 100)).astype(int) @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(shades) >= -0.5).all()
    assert (shades[0], shades[-1]) == (pytest.approx(0, abs=2), pytest.approx(247, abs=5))


def test_long_names_and_control_characters():
    page = drawn(replace(EXPLANATION, id="a\nb\x1b\u202e" + "long" * 100 + ".jpg"))
    assert page.shape == sheet_of_the_example().shape


def test_many_inliers_do_not_hide_the_images():
    many = replace(EXPLANATION, inliers=PLACES * 40)
    assert coloured(drawn(many)).mean() < 0.5
