"""Creates tests/fixtures/collections/format-N with the installed version of imagefinder.

The collection has two images, a failure and a removal.

    python tests/support/make_collection.py tests/fixtures/collections

Run once for each format, with the last version that writes it; the fixture is then never changed.
"""

import io
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image

import imagefinder
from imagefinder.core.records import Failure

SIDE = 96


def picture(seed):
    """An encoded image with enough detail for a few dozen keypoints."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def make(folder):
    settings = imagefinder.Settings(sift_max_keypoints=40)
    with closing(imagefinder.open(folder, settings=settings)) as collection:
        chosen = collection.method("sift")
        collection.store.register(chosen.extractor.fingerprint(), chosen.extractor.spec)
        for seed, image_id in enumerate(["first.png", "ordner/zweites bild \u00e4.png"], start=1):
            collection.put(image_id, picture(seed), metadata={"seed": seed}, uri=f"file:///pictures/{seed}.png")
        collection.put("removed.png", picture(9), uri="file:///pictures/removed.png")
        collection.remove("removed.png")
        collection.store.record_failures([Failure("bad.jpg", "file:///bad.jpg", "not_an_image", "no picture")])
        return collection.info().format_version


if __name__ == "__main__":
    place = Path(sys.argv[1]) / "new"
    written = make(place)
    place.rename(place.with_name(f"format-{written}"))
