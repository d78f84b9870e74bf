"""BEiT with random weights from a fixed seed, installed from a bundle, as without internet access."""

from __future__ import annotations

import hashlib
import json
import runpy
import zipfile
from dataclasses import asdict
from pathlib import Path

from safetensors.numpy import save

from imagefinder.models.catalogue import MODELS

SEEDED = Path(__file__).parents[1] / "golden" / "seeded.py"


def write_bundle(path: Path) -> None:
    """Write a bundle of the weights (350 MB)."""
    weights = save(runpy.run_path(str(SEEDED))["beit"]())
    model, member = MODELS["beit"], "beit/model.safetensors"
    entry = {
        "name": model.name,
        "file": member,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "size": len(weights),
        "licence": model.licence,
        "homepage": model.homepage,
        "source": asdict(model.source),
    }
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr(
            "manifest.json", json.dumps({"kind": "imagefinder models", "format": 1, "models": [entry]})
        )
        bundle.writestr(member, weights)
