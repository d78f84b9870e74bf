"""Damaged, full and read-only disks: every result is right or an error, and check finds the damage.

``DAMAGE_ROUNDS`` sets at how many places the file is damaged, ``DAMAGE_SEED`` at which.
"""

import ctypes
import json
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace

import pytest
from make_collection import picture

import imagefinder
from imagefinder import wiring
from imagefinder.core.errors import ImagefinderError, StoreError
from imagefinder.stores.embedded.schema import FILE_NAME

ROUNDS = int(os.environ.get("DAMAGE_ROUNDS", "12"))
SETTINGS = imagefinder.Settings(sift_max_keypoints=40, threads=1)
QUICK = replace(SETTINGS, isolate=False)  # these images are trusted
COUNT = 6


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage") / "collection"
    with imagefinder.open(folder, settings=SETTINGS) as collection:
        sift = collection.method("sift").extractor
        collection.store.register(sift.fingerprint(), sift.spec)
        for number in range(COUNT):
            collection.put(f"picture {number}", picture(number), metadata={"n": number})
        collection.calibrate()
    return folder


@pytest.fixture
def copy(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "copy")


def answers(folder):
    """Everything a collection returns that damage could change."""
    with imagefinder.open(folder, create=False, settings=SETTINGS) as collection:
        collection.calibrate()
        found = [
            [(hit.id, hit.score, hit.evalue, hit.relation) for hit in collection.search(picture(n), k=COUNT).hits]
            for n in range(2)
        ]
        records = collection.images()
        info = collection.info()
        return (
            found,
            records,
            [collection.thumbnail(record.id) for record in records],
            info.images,
            [(name, method.images, method.bytes, method.fingerprint) for name, method in info.methods.items()],
        )


def check(folder, *, repair=False):
    return wiring.check_collection(replace(QUICK, collection=folder), repair=repair)


def test_random_damage_gives_right_answers_or_errors_and_is_repaired(sound, copy):
    choose = random.Random(os.environ.get("DAMAGE_SEED", "1"))
    right, data = answers(sound), (sound / FILE_NAME).read_bytes()
    refused = 0
    for _ in range(ROUNDS):
        at, width = choose.randrange(len(data)), choose.choice([1, 4, 64, 600])
        shutil.rmtree(copy)
        shutil.copytree(sound, copy)
        damaged = data[:at] + choose.randbytes(width) + data[at + width :]
        (copy / FILE_NAME).write_bytes(damaged[: len(data)])
        place = f"{width} bytes at {at}"
        try:
            given = answers(copy)
        except StoreError:
            refused += 1
            try:
                assert not check(copy).sound, place
            except StoreError:
                continue  # an error on opening
        else:
            assert given == right, place
        try:
            report = check(copy, repair=True)
        except StoreError:  # what says that it is a collection at all may be gone
            continue
        assert report.left == (), place
        assert check(copy).sound, place
        with imagefinder.open(copy, create=False, settings=SETTINGS) as collection:
            assert {record.id: record for record in collection.images()}.items() <= {
                record.id: record for record in right[1]
            }.items()
    assert refused or ROUNDS < 100


@pytest.mark.parametrize("part", [0, 1, 4000, 8192, 0.3, 0.7, 0.99])
def test_a_file_cut_short(sound, copy, part):
    data = (copy / FILE_NAME).read_bytes()
    (copy / FILE_NAME).write_bytes(data[: part if isinstance(part, int) else int(part * len(data))])
    with pytest.raises(StoreError) as caught:
        answers(copy)
    assert caught.value.hint


GARBAGE = {
    "nothing": b"",
    "garbage": b"\x00\xff" * 500,
    "no object": b"[1, 2]",
    "deep": b"[" * 100_000,
    "other version": b'{"format": 77}',
    "huge numbers": b'{"format": 1, "images": 1e999, "cohort": 1, "methods": {}, "closer": {}, "agreement": {}}',
    "not a number": b'{"format": 1, "images": NaN, "cohort": 1, "methods": {}, "closer": {}, "agreement": {}}',
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_damaged_derived_data_are_found_dropped_and_made_again(sound, copy, data):
    right, kept = answers(sound), copy / "index" / "background.json"
    kept.write_bytes(data)
    assert [damage.kind for damage in check(copy).damages] == ["derived"]
    assert answers(copy) == right
    assert check(copy).sound
    kept.write_bytes(data)
    assert check(copy, repair=True).left == ()
    assert not kept.exists()
    assert answers(copy) == right


@pytest.mark.parametrize("change", ["mean", "spread", "centre", "fingerprint"])
def test_derived_data_that_were_changed(sound, copy, change):
    kept = copy / "index" / "background.json"
    model = json.loads(kept.read_text(encoding="utf-8"))
    model["methods"]["sift"][change] = {"mean": 12.5, "spread": 1.5, "centre": [1.0], "fingerprint": "x"}[change]
    kept.write_text(json.dumps(model), encoding="utf-8")
    assert [damage.kind for damage in check(copy).damages] == ["derived"]
    assert answers(copy) == answers(sound)


def fast(folder):
    with imagefinder.open(folder, create=False, settings=QUICK) as collection:
        answer = collection.search(picture(1), method="sift", k=COUNT, mode="fast")
        assert answer.mode == "fast"
        return [(hit.id, hit.score) for hit in answer.hits]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


INDEX_DAMAGE = {
    "no manifest to be read": lambda index: (index / "manifest.json").write_bytes(b"\xff"),
    "a deep manifest": lambda index: (index / "manifest.json").write_bytes(b"[" * 100_000),
    "a manifest of other shape": lambda index: (index / "manifest.json").write_bytes(b"[1]"),
    "a changed segment": lambda index: flip(next(index.glob("segment-*"))),
    "a lost segment": lambda index: next(index.glob("segment-*")).unlink(),
    "a changed model": lambda index: flip(next(index.glob("model-*"))),
    "a cut model": lambda index: os.truncate(next(index.glob("model-*")), 200),
    "a file in its place": lambda index: (shutil.move(index, index.with_name("away")), index.write_bytes(b"x")),
}


@pytest.mark.parametrize("damage", INDEX_DAMAGE.values(), ids=INDEX_DAMAGE.keys())
def test_a_damaged_index_is_found_and_rebuilt_without_wrong_answers(copy, damage):
    right = fast(copy)
    damage(copy / "index" / "shortlist-sift")
    assert {damage.kind for damage in check(copy).damages} == {"derived"}
    shutil.copytree(copy, copy.with_name("searched"))
    assert fast(copy.with_name("searched")) == right
    assert check(copy, repair=True).left == ()
    assert check(copy).sound
    assert fast(copy) == right


def test_the_repair_keeps_an_intact_index(copy):
    fast(copy)
    before = {path.name: path.stat().st_ino for path in (copy / "index" / "shortlist-sift").iterdir()}
    (copy / "index" / "shortlist-unknown").mkdir()
    assert [damage.kind for damage in check(copy).damages] == ["derived"]
    assert check(copy, repair=True).left == ()
    assert before == {path.name: path.stat().st_ino for path in (copy / "index" / "shortlist-sift").iterdir()}
    assert not (copy / "index" / "shortlist-unknown").exists()


@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 100_000, b'{"computed_at": "", "state": {}, "report": {}}'])
def test_a_damaged_report_of_duplicates(copy, data):
    (copy / "index" / "duplicates.json").write_bytes(data)
    assert [damage.kind for damage in check(copy).damages] == ["derived"]
    assert check(copy, repair=True).left == ()
    assert not (copy / "index" / "duplicates.json").exists()


def test_without_the_log_an_earlier_state_is_left(sound, copy):
    """A copy of collection.sqlite alone while others write; the guide recommends backup instead."""
    with imagefinder.open(copy, create=False, settings=SETTINGS) as collection:
        collection.put("one more", picture(COUNT))
        (copy.parent / "bad").mkdir()
        shutil.copy(copy / FILE_NAME, copy.parent / "bad" / FILE_NAME)
    assert check(copy.parent / "bad").images == COUNT
    assert check(copy).images == COUNT + 1


def test_a_clock_that_jumps(sound, copy, monkeypatch):
    """Times are informational; nothing waits for, or is ordered by, the time of day."""
    right = answers(copy)
    for now in (-1e9, 0.0, 4e9, 1e12):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert answers(copy) == right
        with imagefinder.open(copy, create=False, settings=SETTINGS) as collection:
            collection.store.touch("picture 0", uri=right[1][0].uri, stamp=right[1][0].stamp)
        assert check(copy).sound


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from imagefinder.__main__ import main
sys.exit(main())
"""


def call(*arguments, limit=None, user=None):
    start = ["-m", "imagefinder"] if limit is None else ["-c", LIMITED, str(limit)]
    done = subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        user=user,
        env={**os.environ, "IMAGEFINDER_SIFT_MAX_KEYPOINTS": "40"},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_a_full_disk(copy, tmp_path):
    """Files cannot grow beyond their current size."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(10, 40):
        (pictures / f"{number}.png").write_bytes(picture(number))
    before = answers(copy)
    done = call("-c", copy, "add", pictures, limit=(copy / FILE_NAME).stat().st_size)
    assert done.returncode == 5
    assert done.stderr.startswith("error: ")
    assert check(copy).sound
    with imagefinder.open(copy, create=False, settings=SETTINGS) as collection:
        assert {record.id for record in before[1]} <= {record.id for record in collection.images(limit=1000)}
    done = call("-c", copy, "backup", tmp_path / "b", limit=65536)
    assert (done.returncode, (tmp_path / "b").exists()) == (5, False)
    assert not list(tmp_path.glob(".b*"))
    assert call("-c", copy, "add", pictures).returncode == 0
    assert check(copy).images == COUNT + 30


def heed_permissions():
    """Runs between fork and exec: the new program may read everything, but write only where modes allow it.

    So it need not become another user, who might not be able to read this checkout.
    """
    drop_from_bounding_set, dac_override = 24, 1
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(drop_from_bounding_set, dac_override, 0, 0, 0):
        raise OSError("cannot give up CAP_DAC_OVERRIDE")


@pytest.mark.skipif(os.geteuid() == 0 and sys.platform != "linux", reason="root writes everywhere")
def test_a_folder_without_the_permission_to_write(copy):
    code = (
        "import sys, imagefinder\n"
        "try:\n    print(imagefinder.open(sys.argv[1], create=False).info().images)\n"
        "except imagefinder.ImagefinderError as error:\n    print(error.code, error.hint)\n"
    )
    paths = [copy, *copy.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = subprocess.run(
        [sys.executable, "-c", code, copy],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=heed_permissions,
    )
    for path in paths:
        path.chmod(0o700)
    assert (done.stderr, done.returncode) == ("", 0)
    assert "write permission" in done.stdout


def test_check_tells_by_its_exit_code(copy, tmp_path):
    done = call("check", "--json", "-c", copy)
    assert (done.returncode, json.loads(done.stdout)["images"]) == (0, COUNT)
    data = bytearray((copy / FILE_NAME).read_bytes())
    data[:100] = b"x" * 100
    (copy / FILE_NAME).write_bytes(data)
    assert call("search", __file__, "-c", copy).returncode == 5
    done = call("check", "-c", copy)
    assert (done.returncode, "check --repair" in done.stderr) == (1, True)
    done = call("check", "--repair", "--json", "-c", copy)
    assert done.returncode == 0
    assert json.loads(done.stdout)["images"] == COUNT
    assert call("check", "-c", copy).returncode == 0
    assert call("check", "-c", tmp_path / "nowhere").returncode == 5
    (copy / FILE_NAME).write_bytes(b"too little to save anything")
    assert call("check", "--repair", "-c", copy).returncode == 5


def test_a_backup_beside_a_writer_is_one_state_and_is_restored_by_opening_it(copy, tmp_path):
    with closing(imagefinder.open(copy, create=False, settings=SETTINGS)) as collection:
        stages = []

        def write(done, total):
            if len(stages) < 5:
                stages.append(done)
                collection.remove(f"picture {len(stages)}")

        folder = collection.backup(tmp_path / "deep" / "backup", progress=write)
        assert collection.info().images == COUNT - len(stages) < COUNT
    assert check(folder).images == COUNT
    with (
        closing(imagefinder.open(folder, create=False, settings=SETTINGS)) as restored,
        pytest.raises(ImagefinderError, match="already exists"),
    ):
        restored.backup(folder)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["backup"]


def test_a_damaged_collection_is_not_backed_up(copy, tmp_path):
    data = bytearray((copy / FILE_NAME).read_bytes())
    at = data.index(b"\xff\xd8\xff") + 200  # in a thumbnail
    data[at] ^= 1
    (copy / FILE_NAME).write_bytes(data)
    with closing(imagefinder.open(copy, create=False, settings=SETTINGS)) as collection:
        with pytest.raises(StoreError, match="damaged"):
            collection.backup(tmp_path / "b")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["copy"]
        assert collection.check(repair=True).left == ()
        collection.backup(tmp_path / "b")
