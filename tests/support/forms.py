"""Synthetic forms: documents of one layout with other content."""

import cv2
import numpy as np


def form(seed, names=20, height=1000):
    """An A4 page with twenty fields: ``(height, W, 3)`` uint8; the first ``names`` fields depend on the seed."""
    page = np.full((1000, 720, 3), 255, np.uint8)
    cv2.putText(page, "APPLICATION FORM", (60, 70), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (0, 0, 0), 3)
    for row in range(20):
        generator = np.random.default_rng(seed if row < names else 99)
        top = 100 + 43 * row
        cv2.rectangle(page, (60, top), (660, top + 36), (0, 0, 0), 1)
        text = "".join(chr(letter) for letter in generator.integers(97, 122, 14))
        cv2.putText(page, text, (240, top + 26), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 1)
        cv2.putText(page, f"field {row}", (70, top + 26), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1)
    return cv2.resize(page, (round(0.72 * height), height), interpolation=cv2.INTER_AREA)
