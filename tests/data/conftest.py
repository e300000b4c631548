from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


@pytest.fixture
def make_official(tmp_path: Path) -> Callable[..., Path]:
    """A folder in the official ChestX-ray14 layout: 20 patients with two images each, the last five test."""

    def make(header: str = HEADER, csv_name: str = "Data_Entry_2017_v2020.csv", age: str = "{:d}") -> Path:
        source = tmp_path / "official"
        pictures = source / "images_001" / "images"
        pictures.mkdir(parents=True)
        labels = ["No Finding", "Effusion|Pneumonia", "Pneumothorax", "Cardiomegaly|Atelectasis"]
        lines, lists = [header], {"train_val_list.txt": [], "test_list.txt": []}
        rng = np.random.default_rng(0)
        for row in range(40):
            patient = row // 2 + 1
            name = f"{patient:08d}_{row % 2:03d}.png"
            who = f"{patient},{age.format(30 + patient)},{'MF'[patient % 2]},{('PA', 'AP')[row % 2]}"
            lines.append(f"{name},{labels[row % 4]},{row % 2},{who},2500,2048,0.168,0.168")
            lists["test_list.txt" if patient > 15 else "train_val_list.txt"].append(name)
            Image.fromarray(rng.integers(0, 256, (40, 32), dtype=np.uint8)).save(pictures / name)
        (source / csv_name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        for name, images in lists.items():
            (source / name).write_text("\n".join(images), encoding="utf-8")
        return source

    return make
