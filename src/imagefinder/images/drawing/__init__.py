"""Draw an explanation as a PNG with Pillow: matches, an overlay of both images, and heat maps."""

from __future__ import annotations

from imagefinder.core.features import RgbImage
from imagefinder.core.results import Explanation
from imagefinder.images.drawing import heat, matches, overlay, page


def draw(query: RgbImage, candidate: RgbImage, explanation: Explanation) -> bytes:
    """Draw an explanation on one page, with the decision at the top.

    The page shows both images side by side with their matches; below, an overlay of both if the explanation
    contains a transform, and heat maps if it contains any.

    Args:
        query: ``(height, width, 3)`` uint8.
        candidate: ``(height, width, 3)`` uint8: the image or its thumbnail, which is scaled up.
        explanation: The explanation to draw.

    Returns:
        An encoded PNG.
    """
    rows = []
    if explanation.matches or explanation.evidence or not explanation.query_heat:
        rows.append(matches.row(query, candidate, explanation))
    if explanation.evidence:
        overlaid = overlay.row(query, candidate, explanation, explanation.evidence)
        rows += [overlaid] if overlaid else []
    if explanation.query_heat:
        rows.append(heat.row(query, candidate, explanation))
    return page.sheet(explanation, rows)
