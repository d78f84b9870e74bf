import csv
import os
import re
import threading
from contextlib import closing

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagefinder.core.errors import FingerprintMismatchError, SourceError
from imagefinder.core.features import GlobalFeatures, LocalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, Failure, ImageRecord
from imagefinder.core.serialization import to_json
from imagefinder.indexing import npy_file
from imagefinder.indexing.npy_layout import METHODS, import_npy_layout, read_npy_layout, write_npy_layout
from imagefinder.stores.embedded import EmbeddedStore
from imagefinder.stores.memory import MemoryStore

RANDOM = np.random.default_rng(0)
SIFT = RANDOM.integers(0, 256, (7, 128)).astype(np.float32)
RESNET = RANDOM.random(2048, dtype=np.float32)
BEIT = RANDOM.random((197, 768), dtype=np.float32)

NONE_OF_NUMPY_1 = (
    b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (), }" + b" " * 63 + b"\n"
    b"\x80\x03cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nq\x01K\x00\x85q\x02C\x01bq\x03\x87q\x04Rq"
    b"\x05(K\x01)cnumpy\ndtype\nq\x06X\x02\x00\x00\x00O8q\x07\x89\x88\x87q\x08Rq\t(K\x03X\x01\x00\x00\x00|q\nNNNJ"
    b"\xff\xff\xff\xffJ\xff\xff\xff\xffK?tq\x0bb\x89]q\x0cNatq\rb."
)


def save(folder, method, name, array, **options):
    path = folder / "features" / method / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(array, bytes):
        path.write_bytes(array)
    else:
        np.save(path, array, **options)
    return path


def make_list(folder, *rows, header=("url", "id")):
    with (folder / "dataset.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def read(folder):
    items = list(read_npy_layout(folder))
    entries = {item.image.id: item for item in items if isinstance(item, Entry)}
    failures = [item for item in items if isinstance(item, Failure)]
    assert len(entries) + len(failures) == len(items)
    return entries, failures


def header(descr="'<f4'", shape="(7, 128)", order="False", version=b"\x01\x00"):
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    size = len(text).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + size + text


def test_a_layout_of_the_original_program(tmp_path):
    make_list(tmp_path, ("https://example.org/1.jpg", "1"), ("https://example.org/7.jpg", "007"))
    save(tmp_path, "sift", "1", SIFT)
    save(tmp_path, "resnet_50", "1", RESNET)
    save(tmp_path, "microsoft_beit", "1", BEIT)
    save(tmp_path, "sift", "007", SIFT[:2])
    entries, failures = read(tmp_path)
    assert failures == []
    assert list(entries) == ["1", "007"]
    image = entries["1"].image
    assert (image.uri, image.sha256, image.size_bytes, image.width) == ("https://example.org/1.jpg", "", 0, 0)
    sift, resnet, beit = (entries["1"].features[method] for method in ("sift", "resnet50", "beit"))
    assert sift.descriptors.dtype == np.uint8
    np.testing.assert_array_equal(sift.descriptors, SIFT)
    np.testing.assert_array_equal(resnet.vectors, RESNET[None])
    np.testing.assert_array_equal(beit.descriptors, BEIT)
    for local in (sift, beit):
        assert (local.keypoints == (0, 0, 0, -1)).all()
    assert {made.name: entries["1"].features[made.name].spec() for made in METHODS} == {
        made.name: made.spec for made in METHODS
    }
    assert set(entries["007"].features) == {"sift"}


@pytest.mark.parametrize(
    ("method", "array"),
    [
        ("sift", SIFT.astype(np.uint8)),
        ("sift", SIFT.astype(">i8")),
        ("sift", SIFT.astype(np.float64)),
        ("sift", np.asfortranarray(SIFT)),
        ("sift", SIFT[None]),
        ("resnet_50", RESNET[None]),
        ("resnet_50", RESNET.astype(">f4")),
        ("resnet_50", RESNET.astype(np.float16).astype(np.float16)),
        ("microsoft_beit", BEIT[None]),
        ("microsoft_beit", BEIT.astype(np.float64)),
    ],
)
def test_other_forms_of_the_same(tmp_path, method, array):
    save(tmp_path, method, "a", array)
    entries, failures = read(tmp_path)
    assert failures == []
    ((features,),) = [entries["a"].features.values()]
    given = features.vectors if isinstance(features, GlobalFeatures) else features.descriptors
    assert given.flags.c_contiguous
    np.testing.assert_array_equal(given.ravel(), array.ravel())


@pytest.mark.parametrize(
    "nothing",
    [np.empty((0, 128), np.float32), np.empty(0, np.float32), np.array(None), NONE_OF_NUMPY_1],
    ids=["no rows", "empty", "None", "None of NumPy 1"],
)
def test_images_without_descriptors(tmp_path, nothing):
    save(tmp_path, "sift", "blank", nothing)
    entries, failures = read(tmp_path)
    assert failures == []
    assert entries["blank"].features["sift"].descriptors.shape == (0, 128)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize(
    ("method", "array", "reason"),
    [
        ("sift", SIFT / 2 + 0.25, "integers"),
        ("sift", SIFT - 1, "0 to 255"),
        ("sift", SIFT + 1, "0 to 255"),
        ("sift", np.full((1, 128), np.nan, np.float32), "finite"),
        ("sift", SIFT[:, :127], r"\(7, 127\)"),
        ("sift", SIFT[0], r"\(128,\)"),
        ("sift", np.empty((2, 0), np.float32), r"\(2, 0\)"),
        ("resnet_50", RESNET[:-1], r"\(2047,\)"),
        ("resnet_50", np.stack([RESNET, RESNET]), r"\(2, 2048\)"),
        ("resnet_50", RESNET * np.inf, "finite"),
        ("resnet_50", RESNET.astype(np.float64) / 3, "float32"),
        ("resnet_50", np.full(2048, 1e300), "float32"),
        ("resnet_50", np.array(None), "no array"),
        ("resnet_50", np.float32(3), r"\(\)"),
        ("microsoft_beit", BEIT[:196], r"\(196, 768\)"),
        ("microsoft_beit", np.stack([BEIT, BEIT]), r"\(2, 197, 768\)"),
        ("microsoft_beit", BEIT.astype(np.complex64), "instead of numbers"),
        ("microsoft_beit", np.full((197, 768), "text"), "instead of numbers"),
        ("microsoft_beit", np.zeros(3, dtype=[("a", "f4")]), "instead of numbers"),
        ("sift", np.array([Bomb()], dtype=object), "Python objects"),
        ("sift", np.array(Bomb(), dtype=object), "Python objects"),
        ("sift", b"", "not a .npy"),
        ("sift", b"\x93NUMPY\x01\x00", "not a .npy"),
        ("sift", b"PK\x03\x04" + b"\0" * 100, "not a .npy"),
        ("sift", b"\x93NUMPY\x03\x00" + bytes(100), "version"),
        ("sift", b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100), "not a .npy"),
        ("sift", header() + SIFT.tobytes()[:-1], "3,584 bytes"),
        ("sift", header() + SIFT.tobytes() + b"\0", "3,584 bytes"),
        ("sift", header(shape="(1000000000000, 128)") + bytes(512), "512,000"),
        ("sift", header(shape="(10000000000000000000000000, 0)"), "shape"),
        ("sift", header(shape="(-7, -128)") + SIFT.tobytes(), "instead of numbers"),
        ("sift", header(shape="(" + "1, " * 100 + ")") + bytes(4), "shape"),
        ("sift", header(shape="7"), "not a .npy"),
        ("sift", header(shape="(7, 'a')"), "not a .npy"),
        ("sift", header(shape="(" * 5000), "not a .npy"),
        ("sift", header(descr="'<f1'"), "not a .npy"),
        ("sift", header(descr="'|V0'", shape="(5,)"), "instead of numbers"),
        ("sift", header(descr="__import__('os').mkdir('exploded')"), "not a .npy"),
        ("sift", header()[:40], "not a .npy"),
    ],
)  # fmt: skip
def test_invalid_files(tmp_path, monkeypatch, method, array, reason):
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path, method, "bad", array)
    save(tmp_path, "sift", "good", SIFT)
    entries, failures = read(tmp_path)
    assert set(entries) == {"good"}
    (failure,) = failures
    assert (failure.id, failure.code) == ("bad", "invalid_source")
    assert failure.message.startswith(f"{path}: ")
    assert re.search(reason, failure.message), failure.message
    assert not (tmp_path / "exploded").exists()


def test_an_invalid_file_does_not_affect_other_files_of_the_image(tmp_path):
    save(tmp_path, "sift", "a", SIFT)
    save(tmp_path, "resnet_50", "a", b"rubbish")
    entries, (failure,) = read(tmp_path)
    assert set(entries["a"].features) == {"sift"}
    assert "resnet_50" in failure.message


def test_large_files_are_not_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(npy_file, "MAX_FILE_BYTES", 1 << 20)
    path = save(tmp_path, "sift", "large", header(shape="(1000000000, 128)"))
    os.truncate(path, path.stat().st_size + 1_000_000_000 * 128 * 4)  # a sparse file
    _, (failure,) = read(tmp_path)
    assert re.search(r"512,000,000,000 bytes.* 1,048,576", failure.message)


def test_not_a_regular_file(tmp_path):
    save(tmp_path, "sift", "good", SIFT)
    (tmp_path / "features" / "sift" / "folder.npy").mkdir()
    os.mkfifo(tmp_path / "features" / "sift" / "pipe.npy")
    (tmp_path / "features" / "sift" / "gone.npy").symlink_to("nowhere")
    (tmp_path / "features" / "sift" / "notes.txt").write_text("notes")
    (tmp_path / "features" / "sift" / ".npy").write_text("nameless")
    (tmp_path / "features" / "sift" / "caf\udce9.npy").write_text("a name in Latin-1")
    entries, failures = read(tmp_path)
    assert set(entries) == {"good"}
    assert {failure.id for failure in failures} == {"folder", "pipe", "gone", "caf\\xe9"}
    for failure in failures:
        failure.message.encode()


@pytest.mark.parametrize(
    ("name", "listed", "expected"),
    [
        ("a%2Fb", [], "a/b"),
        ("a%2Fb", ["a/b"], "a/b"),
        ("a%20b", ["a%20b"], "a%20b"),
        ("a%20b", ["a b", "a%20b"], "a b"),
        ("a%2520b", ["a b", "a%20b"], "a%20b"),
        ("100%", [], "100%"),
        ("%ff", [], "%ff"),
        ("50%25 off", [], "50%25 off"),
        ("%2e%2e", [], "%2e%2e"),
        ("plain (1)", [], "plain (1)"),
        ("..", [], ".."),
        (".hidden", [], ".hidden"),
    ],
)
def test_names_and_ids(tmp_path, name, listed, expected):
    make_list(tmp_path, *(("url", image_id) for image_id in listed))
    save(tmp_path, "sift", name, SIFT)
    entries, failures = read(tmp_path)
    assert list(entries) == [expected]
    assert {failure.id for failure in failures} == set(listed) - {expected}


def test_two_files_of_one_image(tmp_path):
    make_list(tmp_path, ("url", "a b"))
    save(tmp_path, "sift", "a b", SIFT)
    save(tmp_path, "sift", "a%20b", SIFT[:1])
    entries, (failure,) = read(tmp_path)
    assert len(entries["a b"].features["sift"].descriptors) == 7
    assert "a%20b.npy" in failure.message


def test_images_of_the_list_without_files(tmp_path):
    make_list(tmp_path, ("https://example.org/1", "1"), ("https://example.org/2", "2"))
    save(tmp_path, "sift", "1", SIFT)
    save(tmp_path, "sift", "3", SIFT)
    entries, (failure,) = read(tmp_path)
    assert list(entries) == ["1", "3"]
    assert entries["3"].image.uri == ""
    assert (failure.id, failure.uri) == ("2", "https://example.org/2")
    assert "dataset.csv line 3" in failure.message


def test_metadata_beyond_the_limits_are_a_failure(tmp_path):
    make_list(tmp_path, ("x" * 70_000, "u", "1"), ("red", "v", "2"), header=("colour", "url", "id"))
    for name in "12":
        save(tmp_path, "sift", name, SIFT)
    entries, (failure,) = read(tmp_path)
    assert (list(entries), failure.id) == (["2"], "1")
    assert "dataset.csv line 2: the metadata have more than 65,536 bytes" in failure.message


def test_other_columns_are_metadata(tmp_path):
    make_list(tmp_path, ("red", "u", "1"), header=("colour", " url ", "id"))
    save(tmp_path, "sift", "1", SIFT)
    entries, _ = read(tmp_path)
    assert (entries["1"].image.uri, entries["1"].image.metadata) == ("u", {"colour": "red"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "line 1.*'url'"),
        (b"1,2\n3,4\n", "line 1.*'url'"),
        (b"url,name\nu,1\n", "line 1.*'id'"),
        (b"url,id,id\nu,1,2\n", "line 1.*'id'.*2"),
        (b"url;id\nu;1\n", "line 1"),
        (b"url,id\nu,1\nu,2\nu,1\n", "line 4.*'1'.*line 2"),
        (b"url,id\nu,1\nu\n", "line 3.*2 fields"),
        (b"url,id\nu,1,x\n", "line 2.*2 fields"),
        (b"url,id\nu,\n", "line 2.*empty"),
        (b'url,id\n"u,1\n', "not valid CSV"),
        (b'url,id\n"u"x,1\n', "line 1.*not valid CSV"),
        (b"url,id\nu," + b"x" * 200_000, "not valid CSV"),
        (b"url,id\nu,caf\xe9\n", "not valid UTF-8"),
        ("url,id\nu,1\n".encode("utf-16"), "not valid UTF-8"),
    ],
)
def test_invalid_lists(tmp_path, text, reason):
    (tmp_path / "dataset.csv").write_bytes(text)
    save(tmp_path, "sift", "1", SIFT)
    with pytest.raises(SourceError, match=f"dataset.csv.*{reason}"):
        read(tmp_path)


def test_a_list_as_spreadsheets_write_it(tmp_path):
    (tmp_path / "dataset.csv").write_bytes(
        b'\xef\xbb\xbf"url","id"\r\n"https://example.org/?a=1,2",1\r\n"a ""quoted""\r\none","two\r\nlines"\r\n'
    )
    save(tmp_path, "sift", "1", SIFT)
    save(tmp_path, "sift", "two%0D%0Alines", SIFT)
    entries, failures = read(tmp_path)
    assert failures == []
    assert {image_id: entry.image.uri for image_id, entry in entries.items()} == {
        "1": "https://example.org/?a=1,2",
        "two\r\nlines": 'a "quoted"\r\none',
    }


def test_folders_without_features(tmp_path):
    with pytest.raises(SourceError, match="nowhere"):
        read(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="no folder 'features'"):
        read(tmp_path)
    (tmp_path / "features" / "sift").mkdir(parents=True)
    with pytest.raises(SourceError, match=r"no \.npy files"):
        read(tmp_path)
    (tmp_path / "dataset.csv").mkdir()
    save(tmp_path, "sift", "1", SIFT)
    with pytest.raises(SourceError, match="cannot be read"):
        read(tmp_path)


@pytest.fixture
def layout(tmp_path):
    folder = tmp_path / "layout"
    folder.mkdir()
    make_list(folder, *((f"https://example.org/{number}", number) for number in range(40)))
    for number in range(40):
        save(folder, "sift", number, SIFT[: number % 7])
        save(folder, "resnet_50", number, RESNET * number)
    return folder


def test_import_registers_features_as_of_unknown_make(layout):
    store = MemoryStore()
    report = import_npy_layout(store, layout)
    assert (report.added, report.replaced, report.failures, report.interrupted) == (40, 0, (), False)
    assert report.methods == ("sift", "resnet50")
    methods = store.info().methods
    assert set(methods) == {"sift", "resnet50"}
    assert methods["sift"].fingerprint == Fingerprint("sift", 0, {"origin": "imported .npy"})
    assert methods["resnet50"].images == 40
    assert store.get("12").uri == "https://example.org/12"
    again = import_npy_layout(store, layout)
    assert (again.added, again.replaced) == (0, 40)
    assert store.info().images == 40


def test_import_under_fingerprints_of_the_callers_word(layout):
    store = MemoryStore()
    present = Fingerprint("sift", 3, {"max_side": 1600})
    import_npy_layout(store, layout, fingerprints={"sift": present, "beit": Fingerprint("beit", 1)})
    methods = store.info().methods
    assert methods["sift"].fingerprint == present
    assert methods["resnet50"].fingerprint.version == 0
    assert "beit" not in methods


def test_import_never_mixes(layout):
    store = MemoryStore()
    store.register(Fingerprint("sift", 1), METHODS[0].spec)
    store.put([Entry(ImageRecord("mine", "", "", 1, 1, 1, ""), {"sift": _local(3)})])
    with pytest.raises(FingerprintMismatchError, match="imported"):
        import_npy_layout(store, layout)
    assert store.info().images == 1


def test_import_keeps_existing_data(layout):
    store = MemoryStore()
    store.register(Fingerprint("beit", 1), METHODS[2].spec)
    beit = LocalFeatures(BEIT, np.zeros((197, 4), np.float32), np.array([0, 197]))
    store.put([Entry(ImageRecord("3", "file:///3", "5" * 64, 1, 1, 1, "JPEG"), {"beit": beit}, b"thumbnail")])
    record = store.get("3")
    report = import_npy_layout(store, layout)
    assert (report.added, report.replaced) == (39, 1)
    assert store.get("3") == record
    assert store.thumbnail("3") == b"thumbnail"
    assert store.status(["3"])["3"].methods == {"sift", "resnet50", "beit"}


def test_import_tells_and_stops(layout):
    store, seen, stop = MemoryStore(), [], threading.Event()

    def progress(now):
        seen.append((now.total, now.done))
        if now.done >= 32:
            stop.set()

    report = import_npy_layout(store, layout, progress=progress, stop=stop)
    assert seen == [(40, 16), (40, 32)]
    assert report.interrupted
    assert report.added == store.info().images == 32


def _local(seed, count=5):
    generator = np.random.default_rng(seed)
    return LocalFeatures(
        generator.integers(0, 256, (count, 128), dtype=np.uint8),
        generator.random((count, 4), dtype=np.float32),
        np.array([0, count]),
    )


def filled(store, ids):
    store.register(Fingerprint("sift", 1), METHODS[0].spec)
    store.register(Fingerprint("resnet50", 1), METHODS[1].spec)
    for seed, image_id in enumerate(ids):
        vector = GlobalFeatures(np.random.default_rng(seed).normal(size=(1, 2048)).astype(np.float32))
        features = {"sift": _local(seed, seed % 4), "resnet50": vector}
        if seed % 5 == 4:
            del features["sift"]
        store.put([Entry(ImageRecord(image_id, f'file:///{seed},"x"\n', "0", 1, 1, 1, ""), features)])
    return store


def bits(features):
    array = features.vectors if isinstance(features, GlobalFeatures) else features.descriptors
    return array.dtype, array.shape, array.tobytes()


@settings(
    max_examples=25, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    ids=st.lists(
        st.text(min_size=1, max_size=20, alphabet=st.sampled_from("aZ0/\\.%2F \"',\n\r\0é😀-_~")),
        unique=True,
        max_size=12,
    )
)
def test_round_trip(tmp_path_factory, ids):
    folder = tmp_path_factory.mktemp("layout")
    with closing(filled(MemoryStore(), ids)) as store, closing(MemoryStore()) as again:
        report = write_npy_layout(store, folder / "out")
        assert (report.images, report.failures) == (len(ids), ())
        if not ids:
            return
        imported = import_npy_layout(again, folder / "out")
        assert (imported.added, imported.failures) == (len(ids), ())
        for image_id in ids:
            assert again.get(image_id).uri == store.get(image_id).uri
            methods = store.status([image_id])[image_id].methods
            assert again.status([image_id])[image_id].methods == methods
            for method in methods:
                assert bits(again.features(image_id, method)) == bits(store.features(image_id, method))


def test_the_original_program_can_read_an_export(tmp_path):
    with closing(EmbeddedStore(tmp_path / "c", create=True, cache_bytes=0)) as store:
        filled(store, ["1", "2", "sub/3", "4", "5"])
        seen = []
        report = write_npy_layout(store, tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    assert report.files == {"sift": 4, "resnet50": 5, "beit": 0}
    assert to_json(report)["failed"] == 0
    assert seen[0] == (0, 5)
    assert sorted(path.name for path in (tmp_path / "out" / "features").iterdir()) == ["resnet_50", "sift"]
    sift = np.load(tmp_path / "out" / "features" / "sift" / "sub%2F3.npy")
    assert (sift.dtype, sift.shape) == (np.float32, (2, 128))
    assert np.load(tmp_path / "out" / "features" / "resnet_50" / "2.npy").shape == (2048,)
    with (tmp_path / "out" / "dataset.csv").open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["1", "2", "4", "5", "sub/3"]


def test_export_of_beit(tmp_path):
    store = MemoryStore()
    store.register(Fingerprint("beit", 1), METHODS[2].spec)
    beit = LocalFeatures(BEIT, np.zeros((197, 4), np.float32), np.array([0, 197]))
    store.put([Entry(ImageRecord("a", "", "", 1, 1, 1, ""), {"beit": beit})])
    write_npy_layout(store, tmp_path / "out")
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "features" / "microsoft_beit" / "a.npy"), BEIT)


def test_export_reports_ids_too_long_for_a_file_name(tmp_path):
    store = filled(MemoryStore(), ["a", "ä" * 100])
    report = write_npy_layout(store, tmp_path / "out")
    assert report.images == 1
    (failure,) = report.failures
    assert failure.id == "ä" * 100
    assert "100 characters" in failure.message


def test_export_goes_into_empty_folders_only(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(SourceError, match="not empty"):
        write_npy_layout(MemoryStore(), tmp_path)
    with pytest.raises(SourceError, match=r"mine\.txt"):
        write_npy_layout(MemoryStore(), tmp_path / "mine.txt" / "below")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_export_of_another_form(tmp_path):
    store = MemoryStore()
    store.register(Fingerprint("sift", 1), METHODS[1].spec)
    with pytest.raises(SourceError, match="requires"):
        write_npy_layout(store, tmp_path / "out")
