"""Findings of the didactic phantom, each with a cause that one can see, and what is easily taken for one.

Cardiomegaly has no function here: it widens ``Build.heart`` before anything is drawn, as collapse lifts a dome.
Severities run from 0 (absent) to 1.1.
"""

from __future__ import annotations

import numpy as np

from dpcxr_core.data.simulation.draws import Draws
from dpcxr_core.data.simulation.phantom_anatomy import Build, Lungs
from dpcxr_core.data.simulation.plane import Plane, bump, fourth

Array = np.ndarray

HEART_GROWTH = 0.16
"""Reach that cardiomegaly of severity 1 adds to the heart, against 0.021 of spread among healthy hearts."""


def effusion(plane: Plane, build: Build, air: Lungs, severity: Array, image: Draws) -> Array:
    """Fluid over the diaphragm: a level that climbs the chest wall as a meniscus; lying down, also a veil."""
    where = image.uniform(0, 1)
    side = np.where(where < 0.35, -1, np.where(where < 0.7, 1, 0)).astype(np.float32)
    there = np.where(side == 0, 1, side == np.sign(plane.x)).astype(np.float32)
    outward = np.clip((np.abs(plane.x) - 0.2) / (build.cage - 0.2), 0, 1.2)
    level = air.dome + 0.03 - severity * (0.18 + 0.72 * outward * outward * outward)
    present = np.minimum(1, 8 * severity) * there
    fluid = plane.inside(plane.y - level, 0.09) * (1 - 0.35 * build.supine)
    veil = build.supine * np.clip((plane.y + 0.3) * 0.6, 0, 0.35) * severity
    return present * np.maximum(fluid, veil)


def consolidation(plane: Plane, air: Lungs, severity: Array, image: Draws) -> Array:
    """One to three patchy clouds of filled air spaces, 0 to about 1."""
    texture = np.clip(0.85 + 0.5 * image.field(9, plane.x.shape[-1]), 0, 1.6)
    clouds = np.zeros_like(texture)
    for share in (1.0, 0.45, 0.2):
        x, y = image.side() * image.uniform(0.26, 0.58), image.uniform(-0.40, 0.30)
        width, height = image.uniform(0.18, 0.32), image.uniform(0.18, 0.32)
        cloud = bump(((plane.x - x) / width) ** 2 + ((plane.y - y) / height) ** 2)
        clouds = np.maximum(clouds, image.chance(share) * cloud)
    return np.minimum(1, 1.25 * severity * clouds * texture) * air.hull


def plates(plane: Plane, build: Build, air: Lungs, severity: Array, side: Array, image: Draws) -> Array:
    """One to three plate-like bands of collapsed lung, low on the given ``side`` (-1 or 1)."""
    bands = np.zeros_like(plane.x)
    for share in (1.0, 0.7, 0.4):
        x, y = side * image.uniform(0.30, 0.50), build.base - image.uniform(0.08, 0.42)
        along, across = plane.along(x, y, image.normal(0, 0.3))
        band = plane.line(across, image.uniform(0.035, 0.060)) * bump(fourth(along / image.uniform(0.22, 0.34)))
        bands = np.maximum(bands, image.chance(share) * band)
    return np.minimum(1, 1.3 * severity) * bands * air.air


def lookalikes(plane: Plane, air: Lungs, image: Draws) -> Array:
    """Haze, nodules and thin scars that no label counts."""
    look = 0.022 * image.field(5, plane.x.shape[-1]) + 0.018 * image.field(11, plane.x.shape[-1]) * air.air
    for share in (0.22, 0.12):
        radius, x, y = image.uniform(0.02, 0.07), image.uniform(-0.65, 0.65), image.uniform(-0.5, 0.4)
        nodule = bump(((plane.x - x) / radius) ** 2 + ((plane.y - y) / radius) ** 2)
        along, across = plane.along(image.uniform(-0.6, 0.6), image.uniform(-0.5, 0.3), image.uniform(-1.5, 1.5))
        scar = plane.line(across, 0.012) * bump(fourth(along / image.uniform(0.08, 0.2)))
        look = look + air.air * (0.09 * image.chance(share) * nodule + 0.07 * image.chance(share) * scar)
    return look


def devices(plane: Plane, build: Build, share: float, image: Draws) -> Array:
    """Tubes, lines, leads and pacemakers; ``share`` is the chance of a line in a supine patient."""
    present = share * (0.12 + 0.88 * build.supine)
    x, y = plane.x, plane.y
    tube = image.chance(0.5 * present) * plane.line(x - build.midline + 0.01, 0.012)
    metal = 0.16 * tube * plane.inside(image.uniform(-0.45, -0.25) - y, 0.05)
    side = image.side()
    path = side * (0.10 + 0.55 * np.maximum(-y - 0.35, 0)) + 0.03 * np.sin(5 * y + image.uniform(0, 6))
    catheter = image.chance(0.7 * present) * plane.line(x - path, 0.011) * plane.inside(-0.02 - y, 0.05)
    metal = metal + 0.15 * catheter * plane.inside(y + 0.85, 0.1)
    for _ in range(2):
        offset, bend, phase = image.uniform(-0.7, 0.7), image.uniform(0.05, 0.3), image.uniform(0, 6)
        worn, ends = image.chance(present), image.uniform(-0.7, 0.5)
        lead = plane.line(x - offset - bend * np.sin(2.2 * y + phase), 0.010) * plane.inside(ends - y, 0.05)
        at_end = offset + bend * np.sin(2.2 * ends + phase)
        disc = plane.inside(0.035 - np.sqrt((x - at_end) ** 2 + (y - ends) ** 2), 0.01)
        metal = metal + worn * (0.13 * lead + 0.22 * disc)
    box_x, box_y = side * image.uniform(0.42, 0.60), image.uniform(-0.52, -0.38)
    box = plane.inside(1 - fourth((x - box_x) / 0.10) - fourth((y - box_y) / 0.08), 0.2)
    return metal + 0.45 * image.chance(0.06 * share) * box
