import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scenes import KNOWN, SIZE, features, project, scene, similarity

from imagefinder.core.features import GlobalFeatures
from imagefinder.extractors.sift import SiftExtractor, mirrored
from imagefinder.matching.mutual_nn import MutualNNMatcher
from imagefinder.verification.geometry import GeometryVerifier

VERIFIER, MATCHER = GeometryVerifier(), MutualNNMatcher()
SIFT = SiftExtractor(max_side=800, max_keypoints=2000, threads=1)
PICTURES = Path(__file__).parents[3] / "examples" / "pictures"
QUERY_CORNERS = np.array([(-0.5, -0.5), (639.5, -0.5), (639.5, 479.5), (-0.5, 479.5)])


def verify(query, candidate, matches, size=SIZE, candidate_size=SIZE):
    found = VERIFIER.verify(query, candidate, matches, query_size=size, candidate_size=candidate_size)
    return found and found.evidence


def distance(found, matrix, corners=QUERY_CORNERS):
    """Maximum distance of the transformed corners of the query from their true positions."""
    return np.abs(project(found.transform, corners) - project(matrix, corners)).max()


@pytest.mark.parametrize("model", KNOWN)
@pytest.mark.parametrize("seed", range(3))
def test_the_simplest_model_that_explains_the_matches_is_found(model, seed):
    found = verify(*scene(KNOWN[model], 100, 100, seed=seed))
    assert found.model == model
    assert found.inliers >= 85
    assert found.matches == 200
    assert not found.mirrored
    assert distance(found, KNOWN[model]) < 6


@pytest.mark.parametrize("model", KNOWN)
@pytest.mark.parametrize("seed", range(3))
def test_among_95_percent_outliers(model, seed):
    query, candidate, matches = scene(KNOWN[model], 40, 760, seed=seed)
    found = verify(query, candidate, matches)
    assert found.inliers >= 25
    assert distance(found, KNOWN[model]) < 25
    inliers = VERIFIER.verify(query, candidate, matches, query_size=SIZE, candidate_size=SIZE).inliers
    assert len(inliers) == found.inliers
    assert (inliers[:, 0] < 40).mean() > 0.9


@pytest.mark.parametrize("count", [5, 20, 100, 400, 1500])
@pytest.mark.parametrize("seed", range(4))
def test_noise_is_not_evidence(count, seed):
    query, candidate, matches = scene(None, 0, count, seed=seed)
    assert verify(query, candidate, matches) is None


@pytest.mark.parametrize("count", range(5))
def test_few_matches_are_not_evidence(count):
    assert verify(*scene(similarity(), count, 0)) is None


def test_the_order_of_the_matches_does_not_matter():
    query, candidate, matches = scene(KNOWN["affine"], 30, 120)
    expected = verify(query, candidate, matches)
    assert expected is not None

    @settings(max_examples=15, deadline=None)
    @given(st.permutations(range(len(matches))))
    def check(order):
        assert verify(query, candidate, matches[list(order)]) == expected

    check()


def test_matches_at_one_position_count_once():
    query, candidate, matches = scene(similarity(), 60, 0, noise=0.1, places=(100.0, 100.0))
    assert verify(query, candidate, matches) is None


def test_matches_on_a_line_give_no_more_than_a_similarity():
    places = np.column_stack([np.linspace(50, 600, 60), np.full(60, 200.0)])
    matrix = similarity(0.8, 10, 30, 20)
    found = verify(*scene(matrix, 60, 100, places=places))
    assert found.model == "similarity"
    assert found.inliers >= 50
    assert distance(found, matrix) < 20


@pytest.mark.parametrize(
    "matrix",
    [
        similarity(0.01, 0, 300, 200),
        np.array([[-1, 0, 640], [0, 1, 0], [0, 0, 1.0]]),
        np.array([[1, 0, 0], [0, 0.02, 240], [0, 0, 1.0]]),
        np.array([[0.01, 0, 10], [0.0, 0.01, 3], [2e-3, 1e-3, 0.01]]),
    ],
    ids=["a dot", "mirrored", "a line", "inside out"],
)
def test_implausible_transforms_are_rejected(matrix):
    query, candidate, matches = scene(matrix, 60, 0, noise=0.0)
    assert verify(query, candidate, matches) is None


def test_outlines_and_overlap():
    # The query shows the left quarter of the candidate at twice its size, with an empty margin above it.
    found = verify(*scene(similarity(0.5, 0, 0, -60), 80, 0, noise=0.0))
    assert np.allclose(found.candidate_outline, project(similarity(0.5, 0, 0, -60), QUERY_CORNERS), atol=1)
    assert np.allclose(
        found.query_outline, project(np.linalg.inv(similarity(0.5, 0, 0, -60)), QUERY_CORNERS), atol=2
    )
    assert found.query_overlap == pytest.approx(0.75, abs=0.01)
    assert found.candidate_overlap == pytest.approx(0.5 * 0.5 * 0.75, abs=0.01)


def test_features_without_keypoints_give_no_evidence():
    query, candidate, matches = scene(similarity(), 60, 0)
    without = np.zeros((60, 4))
    without[:, 3] = -1
    assert verify(query, features(without, candidate.descriptors), matches) is None


def test_global_features_have_no_geometry():
    vectors = GlobalFeatures(np.ones((1, 3), np.float32))
    with pytest.raises(TypeError, match="local"):
        verify(vectors, vectors, np.empty((0, 2), np.int64))


# -- real images ---------------------------------------------------------------------------------------------


def load(name):
    return Image.open(PICTURES / name).convert("RGB")


def cropped(picture):
    w, h = picture.size
    box = (w // 5, h // 4, w // 5 + w // 2, h // 4 + h // 2)
    return picture.crop(box), similarity(1, 0, *box[:2])


def turned(picture):
    w, h = picture.size
    edited = picture.rotate(20, Image.Resampling.BICUBIC)
    c = np.array([w / 2 - 0.5, h / 2 - 0.5])
    m = similarity(1, 20)
    m[:2, 2] = c - m[:2, :2] @ c
    return edited, m


def reduced(picture):
    w, h = picture.size
    edited = picture.resize((w * 2 // 5, h * 2 // 5), Image.Resampling.LANCZOS)
    return edited, similarity(2.5, 0, 0.75, 0.75)


def perspective(picture):
    w, h = picture.size
    m = np.array([[0.8, 0.08, 0.1 * w], [0.04, 0.85, 0.05 * h], [0.25 / w, 0.15 / h, 1.0]])
    return picture.transform((w, h), Image.Transform.PERSPECTIVE, m.ravel()[:8], Image.Resampling.BICUBIC), m


def screenshot(picture):
    w, h = picture.size
    page = Image.new("RGB", (w + 200, h + 300), (245, 245, 245))
    ImageDraw.Draw(page).text((20, 20), "a page with a picture and a few words around it " * 3, fill=(0, 0, 0))
    page.paste(picture, (90, 160))
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=50)
    return Image.open(buffer), similarity(1, 0, -90, -160)


@pytest.mark.parametrize("edit", [cropped, turned, reduced, perspective, screenshot])
@pytest.mark.parametrize("name", ["cat.jpg", "motorcycle.jpg", "coins.jpg"])
def test_edited_images_are_located(edit, name):
    picture = load(name)
    edited, matrix = edit(picture)
    query, candidate = SIFT.extract([np.asarray(edited)]), SIFT.extract([np.asarray(picture)])
    found = verify(query, candidate, MATCHER.matches(query, candidate), edited.size, picture.size)
    w, h = edited.size
    corners = np.array([(0, 0), (w, 0), (w, h), (0, h)])
    assert distance(found, matrix, corners) < 0.02 * max(picture.size)


def test_different_images_share_nothing():
    names = ["cat.jpg", "bridge.jpg", "coins.jpg", "stream.jpg", "dahlia.jpg", "temple.jpg"]
    pictures = [np.asarray(load(name)) for name in names]
    for i, a in enumerate(pictures):
        for b in pictures[:i]:
            query, candidate = SIFT.extract([a]), SIFT.extract([b])
            sizes = (a.shape[1], a.shape[0]), (b.shape[1], b.shape[0])
            assert verify(query, candidate, MATCHER.matches(query, candidate), *sizes) is None


def test_a_mirrored_image_is_found_by_mirrored_features():
    picture = load("cat.jpg")
    flipped = np.asarray(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    query, candidate = SIFT.extract([flipped]), SIFT.extract([np.asarray(picture)])
    assert verify(query, candidate, MATCHER.matches(query, candidate), picture.size, picture.size) is None
    again = mirrored(query, picture.width)
    found = verify(again, candidate, MATCHER.matches(again, candidate), picture.size, picture.size)
    assert found.inliers > 50
    assert np.allclose(found.transform, np.eye(3), atol=0.01 * picture.width)
