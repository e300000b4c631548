"""Generated grey scenes for pretraining on what is not a radiograph, each with attributes that one can see.

Shapes with textures and shading cover one another, as leaves on the ground do. The attributes say what is there,
several at once, so that a network that names them has to find edges, corners, textures and sizes.

Source:
    The "dead leaves" model of images (Lee, Mumford and Huang 2001, "Occlusion Models for Natural Images"); use for
    pretraining after Baradad et al. (2021), "Learning to See by Looking at Noise", arXiv:2106.05963. The attributes
    are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dpcxr_core.config import UserError
from dpcxr_core.data.simulation.draws import Draws
from dpcxr_core.data.simulation.plane import Plane, square_plane

Array = np.ndarray

SHAPES = ("triangle", "square", "disc", "ring")
TEXTURES = ("stripes", "checks", "speckle")
ATTRIBUTES = (
    *(f"has_{kind}" for kind in SHAPES),
    *(f"has_{kind}" for kind in TEXTURES),
    "large_shapes",
    "crowded",
    "bright_background",
    "upright",
)

_N_LAYERS = 7
_N_CORE_LAYERS = 4  # on top; the layers under them are only there in a crowded scene
_N_DRAWS = 400
_PIXELS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Scenes:
    """Generated scenes and what is in them.

    Attributes:
        images: ``(n, size, size)`` uint8.
        attributes: ``(n, len(names))`` float32, 1 where the attribute holds, else 0.
        names: What each column of ``attributes`` says.
    """

    images: Array
    attributes: Array
    names: tuple[str, ...] = ATTRIBUTES


def generate_scenes(n: int, size: int, seed: int) -> Scenes:
    """``n`` generated scenes of ``size`` pixels a side, with their attributes.

    Promise:
        The same seed and size give the same scenes, and more scenes begin with the same ones. Each attribute
        holds in about half of them: shapes in 8 of 15 (at least one kind is there), the others in 1 of 2.

    Args:
        n: Scenes, 0 or more.
        size: Pixels a side, at least 16.
        seed: Seeds everything; 0 or more.

    Raises:
        UserError: A number is under its limit.
    """
    for name, value, least in (("n", n, 0), ("size", size, 16), ("seed", seed, 0)):
        if value < least:
            raise UserError(f"{name} must be at least {least}; got {value}")
    described, grain = (np.random.default_rng([seed, stream]) for stream in (0, 1))
    images = np.empty((n, size, size), np.uint8)
    attributes = np.empty((n, len(ATTRIBUTES)), np.float32)
    at_once = max(1, _PIXELS_AT_ONCE // size**2)
    for start in range(0, n, at_once):
        rows = slice(start, min(start + at_once, n))
        n_rows = rows.stop - start
        draws = Draws(described.random((n_rows, _N_DRAWS), np.float32))
        noise = grain.standard_normal((n_rows, size, size), np.float32)
        attributes[rows] = _attributes(draws)
        grey = _painted(attributes[rows], draws, size) + 0.02 * noise
        images[rows] = (255 * np.clip(grey, 0, 1) + 0.5).astype(np.uint8)
    return Scenes(images=images, attributes=attributes)


def _attributes(draws: Draws) -> Array:
    """``(n, len(ATTRIBUTES))`` which attributes the scenes are to have."""
    code = np.floor(draws.uniform(1, 2 ** len(SHAPES)))[:, :, 0].astype(int)
    shapes = (code >> np.arange(len(SHAPES))) & 1
    others = [draws.chance(0.5)[:, :, 0] for _ in range(len(ATTRIBUTES) - len(SHAPES))]
    return np.concatenate([shapes, *others], axis=1).astype(np.float32)


def _painted(attributes: Array, draws: Draws, size: int) -> Array:
    """``(n, size, size)`` grey in about [0, 1]: a background, then shape over shape."""
    plane = square_plane(size)
    shapes, textures = attributes[:, : len(SHAPES)], attributes[:, len(SHAPES) : len(SHAPES) + len(TEXTURES)]
    textures_or_none = np.concatenate([textures, 1 - textures.max(axis=1, keepdims=True)], axis=1)
    large, crowded, bright, upright = (column[:, None, None] for column in attributes[:, -4:].T)
    speckle = draws.field(17, size)
    light = draws.normal(0, 0.07) * plane.x + draws.normal(0, 0.07) * plane.y
    ground = bright * draws.uniform(0.60, 0.80) + (1 - bright) * draws.uniform(0.15, 0.35)
    grey = ground + light + 0.03 * speckle
    shift = np.floor(draws.uniform(0, 12))[:, :, 0].astype(int)  # which texture the top shape has
    for layer in range(_N_LAYERS):
        from_top = _N_LAYERS - 1 - layer
        shape = _allowed(shapes, from_top)
        texture = _allowed(textures_or_none, from_top + shift)
        there = np.where(from_top < _N_CORE_LAYERS, 1, crowded)
        angle = draws.normal(0, 0.2) + upright * np.float32(np.pi / 2)
        centre_x, centre_y = draws.uniform(-0.75, 0.75), draws.uniform(-0.75, 0.75)
        along, across = plane.along(centre_x, centre_y, angle)
        radius = draws.uniform(0.22, 0.30) + large * draws.uniform(0.16, 0.22)
        cover = there * _cover(plane, shape, along, across, radius)
        shade = draws.uniform(0.2, 0.8) + draws.normal(0, 0.03) / radius * across
        surface = shade + _texture(texture, along, across, speckle, draws)
        grey = grey + cover * (surface - grey)
    return grey


def _allowed(present: Array, turn: int | Array) -> Array:
    """``(n, 1, 1)`` kind whose turn it is among those present in each scene, so that each gets a layer near the top."""
    order = np.argsort(1 - present, axis=1, kind="stable")
    count = present.sum(axis=1).astype(int)
    return np.take_along_axis(order, np.reshape(turn % count[:, None], (-1, 1)), axis=1)[:, :, None]


def _cover(plane: Plane, shape: Array, along: Array, across: Array, radius: Array) -> Array:
    """1 within the shapes, 0 outside; all are half as long again as wide."""
    u, v = along / 1.25, across * 1.2
    far = np.sqrt(u * u + v * v)
    tall = np.abs(v)
    # the factors give shapes of one radius about one area
    triangle = 0.65 * radius - np.maximum(u, 0.866 * tall - 0.5 * u)
    square = 0.85 * radius - np.maximum(np.abs(u), tall)
    ring = 0.22 * radius - np.abs(far - 0.85 * radius)
    angular = np.where(shape == SHAPES.index("triangle"), triangle, square)
    rounded = np.where(shape == SHAPES.index("ring"), ring, radius - far)
    return plane.inside(np.where(shape >= SHAPES.index("disc"), rounded, angular))


def _texture(texture: Array, along: Array, across: Array, speckle: Array, draws: Draws) -> Array:
    """What the surface of a shape adds to its shade; nothing where ``texture`` is beyond ``TEXTURES``."""
    waves = draws.uniform(22, 32)
    strength = draws.uniform(0.22, 0.32)
    striped, checked, speckled = ((texture == k).astype(np.float32) for k in range(len(TEXTURES)))
    crossed = striped + 1.5 * checked * np.sin(waves * along)
    return strength * (crossed * np.sin(waves * across) + 0.9 * speckled * speckle)
