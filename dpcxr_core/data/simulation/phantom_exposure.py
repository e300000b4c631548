"""From path lengths to grey values: the detector, the technician and the scanner of a simulated hospital."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dpcxr_core.data.simulation.draws import Draws
from dpcxr_core.data.simulation.plane import Plane

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """How a simulated hospital takes and prints its radiographs.

    Attributes:
        contrast: Steepness of the display curve; 1 is ordinary.
        brightness: Shift of the display curve, in path lengths; positive prints lighter.
        gamma: Exponent on the printed grey; above 1 darkens the middle.
        exposure_spread: Standard deviation of log contrast among images; brightness and gamma vary in proportion.
        noise_std: Standard deviation of the detector's noise in a mid-grey pixel, as a share of white.
        pose_spread: Multiplies the spread of position, turn and distance; 1 is ordinary.
        collimated: Share of images with dark borders.
        marked: Share of images with a side marker.
        captioned: Share of images with burnt-in writing.
        device_share: Chance of each kind of line or lead in a supine patient.
    """

    contrast: float = 1.0
    brightness: float = 0.0
    gamma: float = 1.0
    exposure_spread: float = 0.1
    noise_std: float = 0.012
    pose_spread: float = 1.0
    collimated: float = 0.2
    marked: float = 0.6
    captioned: float = 0.1
    device_share: float = 0.5


def exposed(length: Array, plane: Plane, supine: Array, acquisition: Acquisition, image: Draws, noise: Array) -> Array:
    """Grey values in [0, 1] of the path lengths ``length``, before anything is written over them.

    Args:
        length: ``(n, size, size)`` float32 path lengths.
        plane: The unmoved plane of the detector.
        supine: ``(n, 1, 1)``; scatter in an AP exposure lifts the dark parts.
        acquisition: The hospital's way.
        image: Draws of the image.
        noise: ``(n, size, size)`` standard normal.
    """
    spread = acquisition.exposure_spread
    contrast = 4.7 * acquisition.contrast * np.exp(image.normal(0, spread)) * (1 - 0.18 * supine)
    brightness = acquisition.brightness + image.normal(0, 0.65 * spread) + 0.01 * supine
    tilt = image.normal(0, 0.03) * plane.x + image.normal(0, 0.04) * plane.y
    grey = 0.5 + 0.5 * np.tanh(0.5 * contrast * (length + tilt + brightness - 0.47))
    gamma = acquisition.gamma * np.exp(image.normal(0, 0.6 * spread))
    grey = np.exp(gamma * np.log(np.maximum(grey, 1e-3)))
    level = acquisition.noise_std * np.exp(image.normal(0, 0.25))
    return np.clip(grey + level * noise * (1.3 - 0.6 * grey), 0, 1)


def overprinted(grey: Array, plane: Plane, acquisition: Acquisition, image: Draws) -> Array:
    """``grey`` with side marker, writing and collimated borders."""
    x, y = plane.x[:, :1, :], plane.y[:, :, :1]  # a row and a column: the detector is not turned
    side = image.side()
    mark_x, mark_y = side * image.uniform(0.74, 0.92), image.uniform(-0.92, -0.55)
    dx, dy = x - mark_x, y - mark_y
    left, right_bow = dx < -0.015, (dx > 0.015) & (dy < 0)
    letter_l = left | (dy > 0.03)
    letter_r = left | right_bow | (np.abs(dy + 0.04) < 0.015) | (np.abs(dy) < 0.015)
    letter_r = letter_r | ((dy > 0) & (np.abs(dx - 0.5 * dy) < 0.012))
    ink = np.where(np.where(side > 0, letter_l, letter_r), np.float32(1), np.float32(0.15))
    box = plane.inside(0.035 - np.abs(dx)) * plane.inside(0.055 - np.abs(dy))
    grey = np.maximum(grey, 0.95 * image.chance(acquisition.marked) * box * ink)
    text_x, text_y = image.uniform(-0.95, 0.55), image.side() * image.uniform(0.85, 0.94)
    glyphs = 0.55 + 0.45 * np.sin(90 * x + image.uniform(0, 6)) * np.sin(55 * x)
    words = plane.inside(0.2 - np.abs(x - text_x - 0.2)) * plane.inside(0.025 - np.abs(y - text_y)) * glyphs
    grey = np.maximum(grey, 0.9 * image.chance(acquisition.captioned) * words)
    within = np.full_like(grey, 1)
    cut, dark = image.chance(acquisition.collimated), image.uniform(0.0, 0.05)
    for axis, other in ((x, y), (y, x)):
        lean = image.normal(0, 0.015) * other
        for sign in (-1, 1):
            border = 2 - cut * (0.98 + np.maximum(image.uniform(-0.12, 0.20), 0))
            within = np.minimum(within, border - sign * axis + lean)
    return dark + (grey - dark) * plane.inside(within)
