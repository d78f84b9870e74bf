import io

import numpy as np
import pytest
from PIL import Image
from runtimes import runtime

from imagefinder.collection import Collection
from imagefinder.core.features import FeatureSpec, LocalFeatures, concatenate
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.method import Method
from imagefinder.core.serialization import to_json
from imagefinder.core.settings import Settings
from imagefinder.extractors.network import token_keypoints
from imagefinder.matching.mutual_nn import MutualNNMatcher
from imagefinder.stores.memory import MemoryStore
from imagefinder.testing.extractors import textured_image
from imagefinder.verification.tokens import TokenVerifier
from imagefinder.wiring import load_method


class Squares:
    """Extracts tokens: the mean colours of the cells of a grid."""

    spec = FeatureSpec("local", 3, "float32")

    def fingerprint(self):
        return Fingerprint("squares", 1, {})

    def extract(self, images):
        return concatenate(self.spec, [self.one(image) for image in images])

    @staticmethod
    def one(image):
        height, width = image.shape[:2]
        cells = np.asarray(Image.fromarray(image).resize((8, 8), Image.Resampling.BOX), dtype=np.float32) - 128
        descriptors = np.concatenate([np.full((1, 3), 1, np.float32), cells.reshape(-1, 3)])
        return LocalFeatures(descriptors, token_keypoints(height, width, 65), np.array([0, 65]))


SQUARES = Method("squares", "", "matches", Squares(), MutualNNMatcher(), TokenVerifier())


def wide(seed):
    return textured_image(seed, 240, 320)


@pytest.fixture(scope="module")
def collection():
    settings = Settings(store="memory")

    methods = {name: lambda name=name: load_method(name, settings) for name in ("efficientnet-lite0", "sift")}
    with Collection(MemoryStore(), runtime(settings, {**methods, "squares": lambda: SQUARES})) as collection:
        for seed in range(4):
            buffer = io.BytesIO()
            Image.fromarray(wide(seed)).save(buffer, "PNG")
            collection.put(f"{seed}", buffer.getvalue())
        yield collection


def test_inliers_and_outliers_are_all_matches(collection):
    collection.calibrate()
    crop = wide(2)[40:200, 60:300]
    explanation = collection.explain(crop, "2", method="sift")
    assert len(explanation.inliers) == explanation.evidence.inliers
    assert len(explanation.inliers) + len(explanation.outliers) == explanation.matches
    assert explanation.query_cell == explanation.candidate_cell == (0, 0)
    assert explanation.null_model == collection.calibration().null_model != "prior"
    other = collection.explain(crop, "1", method="sift")
    assert (other.evidence, other.inliers) == (None, ())
    assert len(other.outliers) == other.matches > 0


def test_tokens_are_explained_with_their_cells(collection):
    explanation = collection.explain(wide(1), "1", method="squares")
    assert explanation.matches == len(explanation.inliers) + len(explanation.outliers) > 10
    assert explanation.query_cell == explanation.candidate_cell == (40, 30)
    assert to_json(explanation)["query_cell"] == [40, 30]
    assert collection.draw(explanation, wide(1)).startswith(b"\x89PNG")


def test_heat_maps_for_a_chosen_network_or_without_geometry(collection):
    assert collection.explain(wide(1), "1", method="efficientnet-lite0").heat_of == "efficientnet-lite0"
    assert collection.explain(wide(1), "1").heat_of == ""
    other = collection.explain(wide(1), "2")
    assert (other.evidence, other.heat_of) == (None, "efficientnet-lite0")
    assert collection.draw(other, wide(1)).startswith(b"\x89PNG")


def test_heat_maps_of_a_box_are_in_pixels_of_the_whole_image(collection):
    box = (100.0, 60.0, 128.0, 128.0)
    explanation = collection.explain(wide(1), "2", method="efficientnet-lite0", boxes=[box])
    assert explanation.query_seen == pytest.approx((108, 68, 112, 112))
    assert explanation.query_size == (320, 240)
    assert np.sum(explanation.query_heat) == pytest.approx(explanation.score, abs=1e-4)


def test_several_boxes_have_no_heat_maps(collection):
    boxes = [(0.0, 0.0, 100.0, 100.0), (150.0, 100.0, 100.0, 100.0)]
    explanation = collection.explain(wide(1), "2", method="efficientnet-lite0", boxes=boxes)
    assert (explanation.heat_of, explanation.query_heat, explanation.candidate_heat) == ("", (), ())
    assert collection.draw(explanation, wide(1)).startswith(b"\x89PNG")
