"""``imagefinder info``: contents and size of a collection."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagefinder.cli import output
from imagefinder.cli.session import CollectionOption, JsonOption, open_collection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagefinder.core.records import CalibrationInfo, Failure, StoreInfo

HELP = """\
  imagefinder info
  imagefinder info --failures
  imagefinder -c shop.collection info --json"""


def info(
    context: typer.Context,
    failures: Annotated[bool, typer.Option("--failures", help="List the images that failed, and why.")] = False,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print image counts, methods and failures."""
    with open_collection(context, collection) as opened:
        state, failed = opened.info(), opened.failures() if failures else []
        calibration = opened.calibration()
    if as_json:
        answer = {**_document(state), "calibration": asdict(calibration)}
        if failures:
            answer["failed"] = [asdict(failure) for failure in failed]
        output.document(answer)
    else:
        _print(state, calibration, failed)


_CALIBRATION = {
    "current": "calibrated with {}",
    "outdated": "calibrated when it had {}; the next add or search calibrates it again",
    "running": "is being calibrated",
    "none": "not calibrated yet: answers are cautious; the next add or search calibrates it",
}


def _document(state: StoreInfo) -> dict[str, Any]:
    return {
        "location": state.location,
        "format_version": state.format_version,
        "images": state.images,
        "failures": state.failures,
        "bytes_on_disk": state.bytes_on_disk,
        "methods": {
            name: {
                "images": method.images,
                "bytes": method.bytes,
                "features": asdict(method.spec),
                "fingerprint": method.fingerprint.digest,
                "weights": method.fingerprint.weights,
                "parameters": dict(method.fingerprint.parameters),
            }
            for name, method in state.methods.items()
        },
    }


def _print(state: StoreInfo, calibration: CalibrationInfo, failed: Sequence[Failure]) -> None:
    output.line(f"{output.plural(state.images, 'image')} in {state.location}", style="bold")
    output.line(f"{output.size(state.bytes_on_disk)} on disk, format {state.format_version}")
    if calibration.images:
        calibrated = output.plural(calibration.calibrated_images, "image")
        output.line(_CALIBRATION[calibration.state].format(calibrated))
    else:
        output.line("it is calibrated when it has images")
    if state.methods:
        output.line()
        output.table(
            ("method", ">images", "features", ">size", ">per image", "fingerprint"),
            [
                (
                    name,
                    str(method.images),
                    f"{method.spec.kind}, {method.spec.dim} x {method.spec.dtype}",
                    output.size(method.bytes),
                    output.size(method.bytes / method.images) if method.images else "",
                    method.fingerprint.digest,
                )
                for name, method in sorted(state.methods.items())
            ],
        )
    if failed:
        output.line()
        output.table(
            ("failed image", "error", ">attempts", "message"),
            [(failure.id, failure.code, str(failure.attempts), failure.message) for failure in failed],
            prose=("message",),
        )
    elif state.failures:
        output.line()
        output.line(
            f"{output.plural(state.failures, 'image')} failed; list them with: imagefinder info --failures"
        )
