"""Tests for the contract of extractors; subclass ``ExtractorSuite`` in your own tests."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from imagefinder.core.contracts import Extractor
from imagefinder.core.features import Features, GlobalFeatures, LocalFeatures, RgbImage
from imagefinder.core.fingerprint import Fingerprint


def failures(extractor: Extractor) -> Iterator[tuple[str, str]]:
    """Run every test of ``ExtractorSuite`` without pytest's command: (requirement, failure) for each.

    The second text is empty for a test that passed.
    """
    suite = ExtractorSuite()
    for name in sorted(name for name in dir(suite) if name.startswith("test_")):
        test = getattr(suite, name)
        marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
        title = (test.__doc__ or name).splitlines()[0]
        failure = ""
        for values in marks[0].args[1] if marks else [None]:
            try:
                test(extractor, values) if marks else test(extractor)
            except Exception as error:
                where = f"{values}: " if marks else ""
                failure = failure or f"{where}{type(error).__name__}: {str(error).strip() or 'differs'}"
        yield title, failure


def textured_image(seed: int, height: int = 120, width: int = 160) -> RgbImage:
    """A seeded image with corners and blobs of several sizes."""
    generator = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), dtype=np.float64)
    for cells in (4, 8, 16, 32):
        small = generator.uniform(0, 64, size=(cells, cells, 3))
        rows, columns = np.arange(height) * cells // height, np.arange(width) * cells // width
        image += small[rows][:, columns]
    return image.astype(np.uint8)


class ExtractorSuite:
    """Provide the fixture ``extractor``; every test then runs on your extractor."""

    tolerance = 1e-4
    """Maximum difference of features between batches, relative to their largest value."""

    @pytest.fixture
    def extractor(self) -> Extractor:
        """The extractor under test."""
        raise NotImplementedError("provide a fixture named extractor")

    def test_features_have_the_declared_spec(self, extractor: Extractor) -> None:
        """One entry per image, with the declared spec, all values finite."""
        features = extractor.extract([textured_image(1), textured_image(2)])
        assert len(features) == 2
        assert features.spec() == extractor.spec
        assert np.isfinite(_values(features)).all()

    def test_empty_batch(self, extractor: Extractor) -> None:
        """An empty batch gives empty features of the same spec."""
        features = extractor.extract([])
        assert len(features) == 0
        assert features.spec() == extractor.spec

    def test_features_do_not_depend_on_the_batch(self, extractor: Extractor) -> None:
        """The features of an image do not depend on the other images of its batch."""
        images = [textured_image(1), textured_image(2, 90, 200), textured_image(3, 200, 90)]
        batch = extractor.extract(images)
        for index, image in enumerate(images):
            alone, together = _values(extractor.extract([image])), _values(batch.image(index))
            assert alone.shape == together.shape
            limit = self.tolerance * max(1e-12, float(np.abs(alone).max(initial=0)))
            assert np.abs(alone.astype(np.float64) - together).max(initial=0) <= limit

    def test_extraction_is_repeatable(self, extractor: Extractor) -> None:
        """Extraction gives the same features again, also from several threads at once."""
        image = textured_image(4)
        first = _values(extractor.extract([image]))
        with ThreadPoolExecutor(4) as pool:
            for features in pool.map(extractor.extract, [[image]] * 8):
                np.testing.assert_array_equal(_values(features), first)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (3, 2), (16, 16), (2, 3000)])
    def test_odd_shapes(self, extractor: Extractor, shape: tuple[int, int]) -> None:
        """Tiny and very elongated images give features."""
        features = extractor.extract([textured_image(5, *shape)])
        assert len(features) == 1
        assert np.isfinite(_values(features)).all()

    def test_blank_image(self, extractor: Extractor) -> None:
        """An image of a single colour gives features, possibly without any descriptors."""
        features = extractor.extract([np.full((64, 64, 3), 255, dtype=np.uint8)])
        assert len(features) == 1
        assert np.isfinite(_values(features)).all()

    def test_keypoints_lie_within_the_image(self, extractor: Extractor) -> None:
        """Keypoints are in pixels of the input image."""
        image = textured_image(6, 150, 260)
        features = extractor.extract([image])
        if isinstance(features, LocalFeatures):
            x, y, size, _angle = features.keypoints.T
            assert (x >= -0.5).all()
            assert (x <= 259.5).all()
            assert (y >= -0.5).all()
            assert (y <= 149.5).all()
            assert (size > 0).all()

    def test_the_image_is_not_modified(self, extractor: Extractor) -> None:
        """Nothing is written into the caller's array, which may be read-only."""
        image = textured_image(7)
        image.flags.writeable = False
        extractor.extract([image])

    def test_fingerprint_is_stable(self, extractor: Extractor) -> None:
        """The fingerprint of an extractor does not change, and survives serialisation."""
        fingerprint = extractor.fingerprint()
        assert fingerprint == extractor.fingerprint()
        assert Fingerprint.from_json(fingerprint.to_json()) == fingerprint


def _values(features: Features) -> np.ndarray[tuple[int, ...], np.dtype[np.float32 | np.uint8 | np.int8]]:
    return features.vectors if isinstance(features, GlobalFeatures) else features.descriptors
