"""From the picture files that a table lists to stored images; imports little, as every process does it anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dpcxr_core.data.pictures.files import read_picture
from dpcxr_core.data.pictures.picture import Picture, UnreadableImageError

OpenPicture = Callable[[Path, str], Picture]


def open_file(source: Path, path: str) -> Picture:
    """The picture in the file ``path`` of ``source``."""
    return read_picture(source / path)


@dataclass(frozen=True)
class ListedPicture:
    """A picture as its table lists it.

    Attributes:
        path: Relative to the source.
        refused: Why it must not be opened, if so; ``path`` is then not looked at.
    """

    path: str
    refused: str = ""


@dataclass(frozen=True)
class PictureReading:
    """How the pictures of a data set become stored images; called with some of them, as ``in_processes`` does.

    Attributes:
        source: Folder of the official files.
        open_picture: Source and path -> picture.
        render: Picture and size -> ``(size, size)`` uint8.
        size: Height and width of a stored image in pixels.
    """

    source: Path
    open_picture: OpenPicture
    render: Callable[[Picture, int], np.ndarray]
    size: int

    def __call__(self, pictures: Sequence[ListedPicture]) -> list[np.ndarray | str]:
        """``(size, size)`` uint8, or the reason why there is none, for each of ``pictures``."""
        return [picture.refused or self._image_or_reason(picture.path) for picture in pictures]

    def _image_or_reason(self, path: str) -> np.ndarray | str:
        try:
            return self.render(self.open_picture(self.source, path), self.size)
        except UnreadableImageError as error:
            return str(error)
