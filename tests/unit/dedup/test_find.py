import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forms import form as new_form
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import imagefinder
from imagefinder.core.records import Entry
from imagefinder.core.results import LOOKS_ALIKE, Evidence
from imagefinder.core.serialization import to_json
from imagefinder.core.settings import Settings
from imagefinder.dedup.groups import _joined, copies
from imagefinder.dedup.identical import Item, best_first
from imagefinder.dedup.originals import Original
from imagefinder.dedup.pairs import Pair
from imagefinder.testing.extractors import textured_image
from imagefinder.verification.relation import STRONG, relation_of_pair

PICTURES = Path(__file__).parents[3] / "examples" / "pictures"


def wide(seed):
    return textured_image(seed, 240, 320)


def encoded(pixels, form="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, form, **options)
    return buffer.getvalue()


def reduced(pixels, factor):
    size = round(pixels.shape[1] * factor), round(pixels.shape[0] * factor)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


@pytest.fixture
def collection():
    with imagefinder.open(settings=Settings(store="memory")) as collection:
        yield collection


def put(collection, **pictures):
    for image_id, data in pictures.items():
        collection.put(image_id, data if isinstance(data, bytes) else encoded(data))


def unrelated(collection, count=6):
    put(collection, **{f"other{seed}": wide(100 + seed) for seed in range(count)})


def found(report):
    return [(group.kind, group.ids) for group in report.groups]


def test_unrelated_images_are_not_duplicates(collection):
    unrelated(collection)
    report = collection.duplicates()
    assert (report.groups, report.images) == ((), 6)
    assert set(report.timings) == {"read", "propose", "verify", "group", "check", "total"}
    assert to_json(report)["groups"] == []


def test_forms_of_one_layout_are_for_review(collection, tmp_path):
    for seed in (1, 2):
        Image.fromarray(new_form(seed)).save(tmp_path / f"{seed}.png")
    Image.fromarray(new_form(1)).save(tmp_path / "copy.jpg", quality=90)
    collection.add(tmp_path, methods=["sift"])
    report = collection.duplicates()
    assert [group.kind for group in report.groups] == ["edited copies", "overlapping"]
    assert report.groups[0].ids == ("1.png", "copy.jpg")
    assert [pair.relation for pair in report.groups[1].pairs] == ["same layout"]
    assert not report.groups[1].spare


def test_without_their_files_documents_are_not_called_copies(collection):
    put(collection, a=new_form(1), b=encoded(new_form(1), "JPEG", quality=90))
    (group,) = collection.duplicates().groups
    assert (group.kind, group.pairs[0].relation) == ("overlapping", "same layout")
    assert group.pairs[0].note == "looks the same at this resolution"


def test_an_empty_collection(collection):
    assert to_json(collection.duplicates())["images"] == 0


def test_the_same_bytes_and_the_same_pixels_are_identical(collection, tmp_path):
    unrelated(collection)
    for name, form in (("b", "PNG"), ("a", "PNG"), ("aa", "PNG"), ("bmp", "BMP")):
        (tmp_path / f"{name}.{form.lower()}").write_bytes(encoded(wide(1), form))
    collection.add(tmp_path)
    report = collection.duplicates()
    assert found(report) == [("identical", ("bmp.bmp", "a.png", "b.png", "aa.png"))]
    assert [(pair.a, pair.b, pair.relation) for pair in report.groups[0].pairs] == [
        ("a.png", "bmp.bmp", "identical"),
        ("b.png", "bmp.bmp", "identical"),
        ("aa.png", "bmp.bmp", "identical"),
    ]
    assert report.groups[0].spare == ("a.png", "b.png", "aa.png")
    assert collection.duplicates(kinds=["identical"]).groups == report.groups


def test_without_files_only_equal_bytes_are_identical(collection):
    unrelated(collection)
    put(collection, b=wide(1), a=wide(1), bmp=encoded(wide(1), "BMP"))
    report = collection.duplicates()
    assert found(report) == [("identical", ("b", "a")), ("edited copies", ("bmp", "b"))]
    assert [group.spare for group in report.groups] == [(), ()]
    assert report.groups[1].pairs[0].note == "looks the same at this resolution"
    assert report.groups[0].reasons == dict.fromkeys("ab", "it was added as data, without a file")
    identical = collection.duplicates(kinds=["identical"])
    assert (identical.groups, identical.verified, identical.candidates) == (report.groups[:1], 0, 0)


def test_equal_thumbnails_do_not_make_images_identical(collection):
    other = wide(1)
    other[100:140, 100:140] = wide(2)[100:140, 100:140]
    put(collection, a=wide(1), b=other)
    store = collection.store
    features = {name: store.features("b", name) for name in store.info().methods}
    store.put([Entry(store.get("b"), features, store.thumbnail("a"))])
    assert [kind for kind, _ in found(collection.duplicates())] == ["edited copies"]


def test_edited_copies_are_ordered_best_first(collection):
    unrelated(collection)
    put(
        collection,
        original=encoded(wide(1), "JPEG", quality=98),
        small=reduced(wide(1), 0.6),
        pressed=encoded(wide(1), "JPEG", quality=20),
        mirrored=encoded(wide(1)[:, ::-1], "JPEG", quality=90),
        turned=encoded(np.rot90(reduced(wide(1), 0.9))),
    )
    report = collection.duplicates()
    assert found(report) == [("edited copies", ("original", "mirrored", "pressed", "turned", "small"))]
    (group,) = report.groups
    to_the_best = {pair.a: pair for pair in group.pairs if pair.b == "original"}
    assert set(to_the_best) == set(group.ids[1:])
    assert all(pair.agreement >= LOOKS_ALIKE for pair in to_the_best.values())
    assert to_the_best["mirrored"].evidence.mirrored
    assert not to_the_best["small"].evidence.mirrored
    assert to_json(report)["groups"][0]["pairs"][0]["evidence"]["inliers"] > STRONG


def test_without_mirror_mirrored_copies_are_not_found(collection):
    unrelated(collection)
    put(collection, original=wide(1), mirrored=wide(1)[:, ::-1])
    assert len(collection.duplicates().groups) == 1
    assert collection.duplicates(mirror=False).groups == ()


def test_a_mirrored_copy_of_a_half_symmetric_image(collection):
    # Without mirroring there is a strong geometry too, but without agreement.
    half = wide(1)
    half[60:180, 100:160] = half[60:180, 160:220][:, ::-1]
    unrelated(collection)
    put(collection, original=half, mirrored=half[:, ::-1])
    (group,) = collection.duplicates().groups
    assert group.kind == "edited copies"
    assert group.pairs[0].evidence.mirrored


def test_a_crop_is_part_of_its_image(collection):
    unrelated(collection)
    put(collection, whole=wide(1), crop=wide(1)[30:190, 40:240])
    report = collection.duplicates()
    assert found(report) == [("overlapping", ("whole", "crop"))]
    (pair,) = report.groups[0].pairs
    assert (pair.a, pair.b, pair.relation) == ("crop", "whole", "part of")
    assert pair.evidence.candidate_overlap == pytest.approx(160 * 200 / (240 * 320), abs=0.03)


def test_a_small_image_may_contain_a_large_one(collection):
    # The page has fewer pixels than the image that it shows.
    page = np.full((200, 300, 3), 255, np.uint8)
    page[10:190, 10:250] = reduced(wide(1), 0.75)
    unrelated(collection)
    put(collection, picture=wide(1), page=page)
    (group,) = collection.duplicates().groups
    assert (group.ids, group.pairs[0].relation) == (("picture", "page"), "contains")


def test_overlaps_and_shared_details_are_the_same_scene(collection):
    long = textured_image(5, 240, 640)
    one, two = wide(11), wide(12)
    for target, (top, left) in ((one, (20, 30)), (two, (100, 150))):
        target[top : top + 120, left : left + 120] = wide(13)[:120, :120]
    unrelated(collection)
    put(collection, left=long[:, :400], right=long[:, 240:], one=one, two=two)
    report = collection.duplicates()
    assert sorted(found(report)) == [("overlapping", ("one", "two")), ("overlapping", ("right", "left"))]
    assert {pair.relation for group in report.groups for pair in group.pairs} == {"same scene"}


def test_a_crop_of_several_copies_is_reported_once(collection):
    unrelated(collection)
    put(
        collection,
        original=encoded(wide(1), "JPEG", quality=98),
        pressed=encoded(wide(1), "JPEG", quality=30),
        crop=wide(1)[30:190, 40:240],
    )
    report = collection.duplicates()
    assert found(report) == [
        ("edited copies", ("original", "pressed")),
        ("overlapping", ("original", "crop")),
    ]


def test_the_best_of_identical_images_represents_them(collection):
    unrelated(collection)
    small = reduced(wide(1), 0.6)
    put(collection, large=wide(1), again1=wide(1), small=small, small1=small)
    assert sorted(found(collection.duplicates())) == [
        ("edited copies", ("large", "small")),
        ("identical", ("large", "again1")),
        ("identical", ("small", "small1")),
    ]


def test_without_keypoints_whole_images_are_compared(collection, tmp_path):
    for path in sorted(PICTURES.glob("*.jpg"))[:10]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    cat = np.asarray(Image.open(PICTURES / "cat.jpg"))
    height, width = cat.shape[:2]
    (tmp_path / "small.png").write_bytes(encoded(reduced(cat, 0.8)))
    (tmp_path / "mirrored.png").write_bytes(encoded(reduced(cat[:, ::-1], 0.9)))
    collection.add(tmp_path, methods=["efficientnet-lite0"])
    (group,) = collection.duplicates().groups
    assert (group.kind, group.ids) == ("edited copies", ("cat.jpg", "mirrored.png", "small.png"))
    for pair in group.pairs:
        assert (pair.evidence.found_by, pair.evidence.inliers) == ("whole image", 0)
    mirrored = next(pair.evidence for pair in group.pairs if pair.a == "mirrored.png")
    assert mirrored.mirrored
    reduced_width = collection.get("mirrored.png").width
    # In the mirrored image, the centre of the last pixel is half a pixel from the left edge.
    x, _, depth = np.array(mirrored.transform) @ (reduced_width - 1, 0, 1)
    assert x / depth == pytest.approx(width / reduced_width / 2 - 0.5)
    assert mirrored.query_outline[0] == (reduced_width - 0.5, -0.5)
    assert mirrored.candidate_outline[2] == (-0.5, height - 0.5)


def test_imported_features_are_ignored(collection):
    unrelated(collection)
    put(collection, a=wide(1), b=encoded(wide(1), "JPEG", quality=20))
    store = collection.store
    for image_id in ("a", "b"):
        features = {name: store.features(image_id, name) for name in store.info().methods}
        places = np.zeros_like(features["sift"].keypoints)
        places[:, 3] = -1
        features["sift"] = replace(features["sift"], keypoints=places)
        store.put([Entry(replace(store.get(image_id), width=0, height=0, sha256=""), features)])
    assert collection.duplicates().groups == ()


def test_progress_names_each_stage_and_ends_complete(collection):
    unrelated(collection)
    put(collection, a=wide(1), b=reduced(wide(1), 0.7))
    reported = []
    collection.duplicates(progress=lambda *state: reported.append(state))
    assert list(dict.fromkeys(stage for stage, _, _ in reported)) == ["read", "propose", "verify", "check"]
    for stage in ("read", "propose", "verify", "check"):
        done = [(done, total) for name, done, total in reported if name == stage]
        assert done[-1][0] == done[-1][1]
        assert done == sorted(done)


class Verifier:
    """A fake verifier: knows which pairs are copies, and records those that were compared."""

    def __init__(self, copies):
        self.copies, self.compared = copies, []

    def query(self, item):
        return item

    def compare(self, query, worse, other, better):
        assert (worse, better) == (int(query.id), int(other.id))
        self.compared.append((worse, better))
        return Pair(worse, better, "edited copy", EVIDENCE) if (worse, better) in self.copies else None


EVIDENCE = Evidence(
    inliers=99,
    matches=99,
    model="similarity",
    transform=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    mirrored=False,
    query_outline=((0, 0), (1, 0), (1, 1), (0, 1)),
    candidate_outline=((0, 0), (1, 0), (1, 1), (0, 1)),
    query_overlap=1.0,
    candidate_overlap=1.0,
    agreement=0.9,
)
PAIRS = st.sets(st.tuples(st.integers(0, 11), st.integers(0, 11)).filter(lambda pair: pair[0] > pair[1]))


@given(truth=PAIRS, data=st.data())
def test_every_redundant_image_was_compared_with_the_one_kept(truth, data):
    seen = {pair for pair in sorted(truth) if data.draw(st.booleans())}
    pictures = [Item(str(n), (9, 9), 1, 0.0, "") for n in range(12)]
    verifier = Verifier(truth)
    pairs = [Pair(*pair, "edited copy", EVIDENCE) for pair in sorted(seen)]
    groups, others = copies(verifier, pictures, pairs)
    in_groups = [int(image_id) for group in groups for image_id in group.ids]
    assert len(in_groups) == len(set(in_groups))
    for group in groups:
        best, *rest = map(int, group.ids)
        assert best < min(rest)
        assert {(number, best) for number in rest} <= truth
        assert {(int(pair.a), int(pair.b)) for pair in group.pairs} >= {(number, best) for number in rest}
    assert len(verifier.compared) <= 12
    # No pair is lost: it joins a group, or it is reported as overlapping.
    reported = {(int(pair.a), int(pair.b)) for group in groups for pair in group.pairs}
    reported |= {(pair.worse, pair.better) for pair in others}
    assert seen <= reported <= truth


@given(PAIRS)
def test_connected_components(pairs):
    groups = _joined(pairs)
    slow = {number: {number} for pair in pairs for number in pair}
    for a, b in pairs:
        union = slow[a] | slow[b]
        for number in union:
            slow[number] = union
    assert sorted(groups) == sorted(
        {tuple(sorted(union)) for union in slow.values()}
        and [list(union) for union in {tuple(sorted(union)) for union in slow.values()}]
    )


@pytest.mark.parametrize(
    ("changes", "relation"),
    [
        ({}, "edited copy"),
        ({"query_overlap": 0.7}, "contains"),
        ({"candidate_overlap": 0.7}, "part of"),
        ({"query_overlap": 0.5, "candidate_overlap": 0.7}, "same scene"),
        ({"agreement": 0.49}, "same scene"),
        ({"agreement": None}, "same scene"),
        ({"agreement": 0.49, "inliers": 24}, None),
        ({"agreement": 0.69, "inliers": 24}, None),
        ({"agreement": 0.7, "inliers": 0}, "edited copy"),
    ],
)
def test_relations(changes, relation):
    assert relation_of_pair(replace(EVIDENCE, **changes)) == relation


def test_the_order_of_images_to_keep():
    there = Original("/kept.png", "")
    kept = Item("kept", (10, 10), 500, 5.0, "", "PNG", there)
    assert best_first(kept) < best_first(Item("gone", (99, 99), 999, 1.0, "", "PNG"))
    for other in (
        replace(kept, size=(9, 11)),
        replace(kept, format="JPEG", size_bytes=501),
        replace(kept, format="GIF"),
        replace(kept, wrong_suffix=True, size_bytes=501),
        replace(kept, size_bytes=499),
        replace(kept, id="kept (1)"),
        replace(kept, added_at=6.0),
        replace(kept, id="tepk"),
    ):
        assert best_first(kept) < best_first(other)
