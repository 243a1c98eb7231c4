"""Photographs are cut as toolboxes cut them: joints land where the arithmetic of the box says, and files are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from examples.pixels.crops import MARGIN, Cut, app, chosen, cut, from_coco, from_folder, from_mpii


def photograph(path: Path, spot: tuple[int, int], size: tuple[int, int] = (200, 120)) -> Path:
    """Black, with a white square about a pixel (column, row)."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    column, row = spot
    pixels[row - 6 : row + 7, column - 6 : column + 7] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def center_of(picture: Any) -> tuple[float, float]:
    """Column and row of the middle of what is white."""
    weights = picture.sum(0).numpy()
    rows, columns = np.indices(weights.shape)
    return float((weights * columns).sum() / weights.sum()), float((weights * rows).sum() / weights.sum())


@pytest.mark.parametrize("size", [(48.0, 40.0), (40.0, 90.0), (300.0, 100.0)])
def test_a_spot_lands_where_the_box_says(tmp_path: Path, size: tuple[float, float]) -> None:
    """Also where several pixels become one, and the box is wider, or higher, than the picture is to be."""
    path = photograph(tmp_path / "a.png", (95, 50))
    height, width = 64, 48
    picture = cut(Cut(path, (90.0, 60.0), size), height, width)
    assert picture.shape == (3, height, width) and 0 <= picture.min() and picture.max() <= 1
    across = max(size[0], size[1] * width / height) * MARGIN
    wanted = (width - 1) / 2 + 5 * width / across, (height - 1) / 2 - 10 * width / across
    assert center_of(picture) == pytest.approx(wanted, abs=0.15)


def test_mirrored_boxes_give_mirrored_pictures(tmp_path: Path) -> None:
    path = photograph(tmp_path / "a.png", (95, 50))
    other = tmp_path / "b.png"
    with Image.open(path) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(other)
    pictures = [cut(Cut(file, (x, 60.0), (48.0, 40.0)), 32, 24) for file, x in ((path, 90.0), (other, 199.0 - 90.0))]
    assert np.allclose(pictures[0].flip(-1), pictures[1], atol=1e-5)


def test_files_are_read(tmp_path: Path) -> None:
    photograph(tmp_path / "images" / "000001.png", (95, 50))
    photograph(tmp_path / "images" / "below" / "2.png", (20, 20))
    people = [
        {"image_id": 1, "bbox": [70, 40, 41, 61], "num_keypoints": 5, "iscrowd": 0},
        {"image_id": 1, "bbox": [0, 0, 9, 9], "num_keypoints": 0, "iscrowd": 0},
        {"image_id": 1, "bbox": [0, 0, 9, 9], "num_keypoints": 3, "iscrowd": 1},
    ]
    table = {"images": [{"id": 1, "file_name": "000001.png"}], "annotations": people}
    (tmp_path / "coco.json").write_text(json.dumps(table))
    (tmp_path / "mpii.json").write_text(json.dumps([{"image": "000001.png", "center": [91.0, 71.0], "scale": 0.25}]))
    images = tmp_path / "images"
    (one,) = from_coco(tmp_path / "coco.json", images)
    assert one.middle == (90.0, 70.0) and one.size == (41.0, 61.0)
    (other,) = from_mpii(tmp_path / "mpii.json", images)
    assert other.middle == (90.0, 70.0) and other.size == (50.0, 50.0)
    assert [each.path.name for each in from_folder(images)] == ["000001.png", "2.png"]
    assert len(chosen([one] * 10, 3)) == 3
    out = tmp_path / "pictures.npy"
    for options in (["--coco", str(tmp_path / "coco.json")], []):
        arguments = [*options, "--images", str(images), "--size", "32x24", "-o", str(out)]
        outcome = CliRunner().invoke(app, arguments)
        assert outcome.exit_code == 0, outcome.output
        pictures = np.load(out, mmap_mode="r")
        assert pictures.shape == (1 if options else 2, 3, 32, 24) and pictures.dtype == np.float32
        assert pictures.min() == pytest.approx(-0.485 / 0.229, abs=1e-3)
    assert CliRunner().invoke(app, ["--images", str(images), "--size", "32", "-o", str(out)]).exit_code == 2
