"""Writers that put images until they are stopped, and remember what was acknowledged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise

from small_images import register, small_image

from imagefinder.core.contracts import Store
from imagefinder.core.errors import StoreError


class Writers:
    """Threads with a store each.

    Attributes:
        acknowledged: Id -> seed of every image whose put returned.
        errors: Errors of puts that did not succeed; the writer then puts the same image again.
    """

    def __init__(self, open_store: Callable[[], Store], count: int = 2) -> None:
        self.acknowledged: dict[str, int] = {}
        self.errors: list[StoreError] = []
        self.times: list[float] = []
        self._open = open_store
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(count)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def longest_gap(self, since: float) -> float:
        """The longest time without an acknowledged image since a moment (``time.monotonic``), until now."""
        times = [since, *(one for one in sorted(self.times) if one > since), time.monotonic()]
        return max(later - earlier for earlier, later in pairwise(times))

    def wait_for_next(self, since: float, seconds: float) -> None:
        """Wait until an image was acknowledged after a moment."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.times and self.times[-1] > since:
                return
            time.sleep(0.02)
        raise AssertionError(f"no image was acknowledged for {seconds:g} s; last error: {self.errors[-1:]}")

    def _write(self, writer: int) -> None:
        number = 0
        with closing(register(self._open())) as store:
            while not self._stop.is_set():
                image_id, seed = f"{writer}-{number % 4000:05}", number
                try:
                    store.put([small_image(image_id, seed)])
                except StoreError as error:
                    self.errors.append(error)
                    continue
                self.acknowledged[image_id] = seed
                self.times.append(time.monotonic())
                number += 1


def lost(acknowledged: dict[str, int], store: Store) -> list[str]:
    """The ids of acknowledged images that a store lacks, or has with other content."""
    ids, missing = list(acknowledged), []
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        records = store.records(some)
        features = store.select("sift", some)
        number = {image_id: at for at, image_id in enumerate(features.ids)}
        for image_id in some:
            expected = small_image(image_id, acknowledged[image_id])
            present = image_id in records and image_id in number
            if not present or records[image_id].metadata != expected.image.metadata:
                missing.append(image_id)
                continue
            found = features.features.image(number[image_id])
            if found.descriptors.tobytes() != expected.features["sift"].descriptors.tobytes():
                missing.append(image_id)
    return missing
