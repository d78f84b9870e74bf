"""Decoding in worker processes, with decoders that crash, hang or use too much memory."""

import gc
import io
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import evil_decoder
import numpy as np
import pytest
from evil_decoder import CRASH, program
from PIL import Image

from imagefinder.core.errors import (
    DamagedImageError,
    DecoderCrashedError,
    DecodeTimeoutError,
    EmptyImageError,
    ImageTooLargeError,
    NotAnImageError,
    SettingsError,
)
from imagefinder.images.decoding import pool as pool_module
from imagefinder.images.decoding.decode import decode
from imagefinder.images.decoding.pool import DecoderPool
from imagefinder.testing.extractors import textured_image

LIMITS = {"max_bytes": 10_000_000, "max_pixels": 5_000_000}


def image(seed=1, width=64, height=48, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(textured_image(seed, height, width)).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def pool():
    pool = DecoderPool(workers=2, seconds=60, memory=1 << 30)
    yield pool
    pool.close()


@pytest.fixture
def evil(monkeypatch):
    """A function that runs Python code in a worker, in place of a decoder."""
    monkeypatch.setattr(pool_module, "_CODE", program(pool_module._CODE))
    pools = []

    def run(code, *, seconds=60.0, memory=1 << 30):
        if not pools:
            pools.append(DecoderPool(workers=1, seconds=seconds, memory=memory))
        return pools[0].decode(b"EVIL" + code.encode(), **LIMITS)

    run.pools = pools
    yield run
    for pool in pools:
        pool.close()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def pids(pool):
    return {worker._process.pid for worker in pool._all}


# -- the same as in this process ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "GIF", "JPEG2000"])
def test_gives_what_decoding_here_gives(pool, kind):
    data = image(3, 1300, 1100, kind)
    there, here = pool.decode(data, **LIMITS), decode(data, **LIMITS)
    assert there.format == here.format
    np.testing.assert_array_equal(there.rgb, here.rgb)
    assert there.rgb.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", EmptyImageError),
        (b"GIF89a" + bytes(20), EmptyImageError),
        (b"not an image", NotAnImageError),
        (image()[:60], DamagedImageError),
        (bytes(10_000_001), ImageTooLargeError),
        (image(1, 2500, 2001), ImageTooLargeError),
    ],
)
def test_refuses_what_decoding_here_refuses(pool, data, kind):
    with pytest.raises(kind) as here:
        decode(data, **LIMITS)
    with pytest.raises(kind) as there:
        pool.decode(data, **LIMITS)
    assert (there.value.message, there.value.hint) == (here.value.message, here.value.hint)
    assert vars(there.value) == vars(here.value)


def test_pixels_stay_when_more_pictures_come(pool):
    first = pool.decode(image(1), **LIMITS).rgb
    before = first.copy()
    second = pool.decode(image(2), **LIMITS).rgb
    np.testing.assert_array_equal(first, before)
    assert not np.array_equal(first, second)


def test_many_threads_each_get_their_own_image(pool):
    images = [image(seed, 40 + seed, 30) for seed in range(12)]
    with ThreadPoolExecutor(6) as threads:
        got = list(threads.map(lambda data: pool.decode(data, **LIMITS).rgb, images * 4))
    for rgb, data in zip(got, images * 4, strict=True):
        np.testing.assert_array_equal(rgb, decode(data, **LIMITS).rgb)
    assert len(pids(pool)) == 2


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have other settings")
def test_memory_is_kept_for_the_next_image(pool):
    data = image(width=800, height=600, kind="JPEG")

    def faults(images):
        for _ in range(images):
            pool.decode(data, **LIMITS)
        (pid,) = pids(pool)
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[7])

    before = faults(5)
    assert faults(20) - before < 20 * 100, "pages; an image takes about 1,500"


def test_holds_no_files_open(pool):
    pool.decode(image(), **LIMITS)
    files = Path("/proc/self/fd")
    if not files.exists():
        pytest.skip("needs /proc")
    before = len(list(files.iterdir()))
    for _ in range(20):
        pool.decode(image(), **LIMITS)
        with pytest.raises(NotAnImageError):
            pool.decode(b"not an image", **LIMITS)
    assert len(list(files.iterdir())) == before


# -- misbehaving decoders ------------------------------------------------------------------------------------


def test_a_decoder_that_breaks_its_process(evil):
    with pytest.raises(DecoderCrashedError, match="SIGSEGV") as caught:
        evil("import ctypes; ctypes.string_at(0)")
    assert caught.value.code == "decoder_crashed"
    assert not caught.value.retryable
    assert caught.value.hint
    # The next image is decoded as usual.
    assert evil.pools[0].decode(image(), **LIMITS).width == 64


def test_a_decoder_that_ends_its_process(evil):
    with pytest.raises(DecoderCrashedError, match="status 7"):
        evil("import os; os._exit(7)")


def test_a_decoder_that_aborts(evil):
    with pytest.raises(DecoderCrashedError, match="SIGABRT"):
        evil("import os; os.abort()")


@pytest.mark.parametrize(
    "loop", ["while True: pass", "import time; time.sleep(1000)", "import re; re.match('(a*)*b', 'a' * 99)"]
)
def test_a_decoder_that_never_ends(evil, loop):
    evil("pass", seconds=1.0)
    (pid,) = pids(evil.pools[0])
    with pytest.raises(DecodeTimeoutError, match="1 s") as caught:
        evil(loop)
    assert caught.value.code == "decode_timeout"
    assert not caught.value.retryable
    assert not alive(pid)
    assert evil.pools[0].decode(image(), **LIMITS).width == 64


def test_a_decoder_that_takes_all_memory(evil):
    with pytest.raises(ImageTooLargeError, match="268,435,456 bytes") as caught:
        evil("kept = [bytearray(1 << 24) for _ in range(10_000)]", memory=256 << 20)
    assert (caught.value.limit, caught.value.unit) == (256 << 20, "bytes of memory")
    # Not ru_maxrss, which includes the memory of the parent.
    peak = "import re; kb = int(re.search(r'VmHWM:\\s+([0-9]+)', open('/proc/self/status').read())[1])"
    evil(f"{peak}; assert kb < (256 << 10) + 100_000")


def test_a_decoder_that_raises_what_it_should_not(evil):
    with pytest.raises(DecoderCrashedError, match="ZeroDivisionError: division by zero"):
        evil("1 / 0")
    with pytest.raises(DecoderCrashedError, match="StopIteration: enough"):
        evil("raise StopIteration('enough')")
    assert len(pids(evil.pools[0])) == 1


def test_a_decoder_that_writes_to_the_terminal(evil, capfd):
    evil("import os; os.write(1, b'remark'); os.write(2, b'remark')")
    assert capfd.readouterr() == ("", "")


def test_a_decoder_that_leaves_a_core(evil):
    evil("import resource; assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)")


def test_ctrl_c_is_not_for_workers(evil):
    evil("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    evil("import os; assert os.getsid(0) == os.getpid()")


def test_a_worker_that_answers_other_pixels(evil):
    with pytest.raises(DecoderCrashedError, match="wrong number of pixels"):
        evil("from imagefinder.images.decoding import worker; worker._write = lambda target, part: None")


def test_a_worker_is_replaced_in_time(evil, monkeypatch):
    monkeypatch.setattr(pool_module, "_IMAGES_PER_WORKER", 3)
    seen = []
    for _ in range(7):
        evil("pass")
        seen += [pid for pid in pids(evil.pools[0]) if pid not in seen]
    assert len(seen) >= 2
    assert sum(map(alive, seen)) == 1


# -- lives of the processes ---------------------------------------------------------------------------------


def test_nothing_runs_before_the_first_image(pool):
    assert pids(pool) == set()
    pool.start()
    assert len(pids(pool)) == 1
    pool.start()
    pool.decode(image(), **LIMITS)
    assert len(pids(pool)) == 1


def test_a_worker_killed_while_idle_costs_nothing(pool):
    pool.decode(image(), **LIMITS)
    for _ in range(3):
        (pid,) = pids(pool)
        os.kill(pid, signal.SIGKILL)
        assert pool.decode(image(), **LIMITS).width == 64


def test_a_worker_killed_from_outside_is_not_the_pictures_fault(evil):
    evil("pass")
    (pid,) = pids(evil.pools[0])
    mark = f"/tmp/imagefinder-test-{os.getpid()}"
    os.close(os.open(mark, os.O_CREAT))
    # It kills itself the first time, as the kernel does when memory runs out, and works the second time.
    evil(f"import os\nif os.path.exists({mark!r}):\n os.unlink({mark!r})\n os.kill(os.getpid(), 9)")
    assert not alive(pid)
    with pytest.raises(DecoderCrashedError, match="killed by another program"):
        evil("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")


def test_close_ends_the_workers(pool):
    pool.decode(image(), **LIMITS)
    (pid,) = pids(pool)
    pool.close()
    pool.close()
    assert not alive(pid)


def test_a_forgotten_pool_ends_its_workers():
    pool = DecoderPool(workers=1, seconds=60, memory=1 << 30)
    pool.decode(image(), **LIMITS)
    (pid,) = pids(pool)
    del pool
    gc.collect()
    assert not alive(pid)


CHILD = """
import os, sys, time
from imagefinder.images.decoding.pool import DecoderPool
pool = DecoderPool(workers=1, seconds=5, memory=1 << 30)
pool.decode(sys.stdin.buffer.read(), max_bytes=1 << 20, max_pixels=1 << 20)
print(*[w._process.pid for w in pool._all], flush=True)
{end}
"""


@pytest.mark.parametrize("end", ["sys.exit()", "os._exit(1)", "os.kill(os.getpid(), 9)"])
def test_workers_end_with_their_process(end):
    code = CHILD.format(end=end)
    done = subprocess.run(
        [sys.executable, "-c", code], input=image(), capture_output=True, timeout=100, check=False
    )
    assert done.stderr == b""
    pid = int(done.stdout)
    wait_until(lambda: not alive(pid) or zombie(pid))


def test_a_worker_without_its_process_ends_in_the_middle_of_a_image():
    end = """
import threading
from imagefinder.images.decoding import pool as pool_module
from evil_decoder import LOOP, program
pool_module._CODE = program(pool_module._CODE)
pool = DecoderPool(workers=1, seconds=1, memory=1 << 30)
threading.Thread(target=pool.decode, args=(LOOP,), kwargs={"max_bytes": 100, "max_pixels": 100}).start()
while not any(w.images for w in pool._all): time.sleep(0.01)
print(*[w._process.pid for w in pool._all], flush=True)
os.kill(os.getpid(), 9)
"""
    code = f"import sys; sys.path.append({str(Path(evil_decoder.__file__).parent)!r})\n" + CHILD.format(end=end)
    done = subprocess.run(
        [sys.executable, "-c", code], input=image(), capture_output=True, timeout=100, check=False
    )
    pid = int(done.stdout.split()[-1])
    wait_until(lambda: not alive(pid) or zombie(pid))


def test_crashes_between_the_pictures_of_others(evil):
    evil("pass")
    pool = DecoderPool(workers=2, seconds=60, memory=1 << 30)
    evil.pools.append(pool)

    def decode_one(number):
        if number % 4:
            return pool.decode(image(number, 40 + number, 30), **LIMITS).width == 40 + number
        with pytest.raises(DecoderCrashedError, match="SIGSEGV"):
            pool.decode(CRASH, **LIMITS)
        return True

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(decode_one, range(32)))
    assert len(pids(pool)) <= 2


def zombie(pid):
    """Whether an ended process has not been reaped, as may happen in a container without an init process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_after_a_fork_both_go_on(pool):
    pool.decode(image(), **LIMITS)
    mine = pids(pool)
    child = os.fork()
    if child == 0:
        try:
            fine = pool.decode(image(2), **LIMITS).width == 64 and not pids(pool) & mine
            pool.close()
        except BaseException:
            fine = False
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert pool.decode(image(), **LIMITS).width == 64
    assert pids(pool) == mine


def test_a_worker_that_cannot_start(pool, monkeypatch):
    monkeypatch.setattr(pool_module, "_CODE", "raise SystemExit(3)")
    with pytest.raises(SettingsError, match="exit status 3") as caught:
        pool.decode(image(), **LIMITS)
    assert "isolate" in caught.value.hint
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(SettingsError, match="No such file"):
        pool.decode(image(), **LIMITS)


def test_waiting_for_a_place_is_not_counted(evil):
    evil("pass", seconds=3.0)
    started = threading.Barrier(4)

    def decode_one(_):
        started.wait()
        return evil("import time; time.sleep(0.9)").width

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(decode_one, range(4))) == [1] * 4
