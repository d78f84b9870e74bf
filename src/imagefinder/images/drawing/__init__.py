"""An explanation as a picture, drawn by Pillow: matches, one picture laid on the other, what contributed."""

from __future__ import annotations

from imagefinder.core.features import RgbImage
from imagefinder.core.results import Explanation
from imagefinder.images.drawing import heat, matches, overlay, page


def draw(query: RgbImage, candidate: RgbImage, explanation: Explanation) -> bytes:
    """What the explanation has to show, on one page, with the verdict on top.

    Pictures side by side with their matches; below, one laid on the other, where there is a transform; a heat map,
    where there is heat.

    Args:
        query: ``(height, width, 3)`` uint8.
        candidate: Likewise; may be a thumbnail, it is scaled to the size the explanation speaks of.
        explanation: What to draw.

    Returns:
        An encoded PNG.
    """
    rows = []
    if explanation.matches or explanation.evidence or not explanation.query_heat:
        rows.append(matches.row(query, candidate, explanation))
    if explanation.evidence:
        laid = overlay.row(query, candidate, explanation, explanation.evidence)
        rows += [laid] if laid else []
    if explanation.query_heat:
        rows.append(heat.row(query, candidate, explanation))
    return page.sheet(explanation, rows)
