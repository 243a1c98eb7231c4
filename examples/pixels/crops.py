"""People cut out of photographs as keypoint networks see them, for `--calibration`: COCO, MPII, or a folder.

    python -m examples.pixels.crops --coco person_keypoints_val2017.json --images val2017 -o pictures.npy
    python -m examples.pixels.crops --mpii valid.json --images images -o pictures.npy
    python -m examples.pixels.crops --images photographs -o pictures.npy

Boxes are made 1.25 times as large and as high for their width as the pictures are to be, as the toolboxes of the field
do; MPII is read as these toolboxes share it (a list with `center` and `scale`, 200 pixels each). A folder alone gives
whole photographs. Colours are those of ImageNet's mean and spread; other networks want `--mean` and `--spread`. Labels
are not read beyond the boxes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.lib.format import open_memmap
from PIL import Image
from torch import Tensor
from torch.nn import functional

MARGIN = 1.25
_MEAN, _SPREAD = "0.485,0.456,0.406", "0.229,0.224,0.225"
_MPII_UNIT = 200.0
_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Cut:
    """What of a photograph is taken: a box about a middle, in pixels; a box of no size is all of it."""

    path: Path
    middle: tuple[float, float] = (0.0, 0.0)
    size: tuple[float, float] = (0.0, 0.0)

    def widened(self, height: int, width: int) -> Cut:
        """The box as high for its width as a picture of this size, with a margin round it."""
        across, down = self.size
        across = max(across, down * width / height)
        return Cut(self.path, self.middle, (across * MARGIN, across * MARGIN * height / width))


def from_coco(annotations: Path, images: Path) -> Iterator[Cut]:
    """Everybody of a COCO file of keypoints who has labelled joints, in its order. Crowds are left out."""
    table = json.loads(annotations.read_text(encoding="utf-8"))
    names = {image["id"]: image["file_name"] for image in table["images"]}
    for person in table["annotations"]:
        if person.get("iscrowd") or not person.get("num_keypoints"):
            continue
        left, top, across, down = map(float, person["bbox"])
        middle = (left + (across - 1) / 2, top + (down - 1) / 2)
        yield Cut(images / names[person["image_id"]], middle, (across, down))


def from_mpii(annotations: Path, images: Path) -> Iterator[Cut]:
    """Everybody of a list of MPII as toolboxes share it, whose pixels count from 1."""
    for person in json.loads(annotations.read_text(encoding="utf-8")):
        across = float(person["scale"]) * _MPII_UNIT
        x, y = map(float, person["center"])
        yield Cut(images / person["image"], (x - 1, y - 1), (across, across))


def from_folder(images: Path) -> Iterator[Cut]:
    """All photographs of a folder and those below it, by name."""
    for path in sorted(images.rglob("*")):
        if path.suffix.lower() in _ENDINGS:
            yield Cut(path)


def cut(source: Cut, height: int, width: int) -> Tensor:
    """A picture "3 height width" of numbers from 0 to 1; black beyond the photograph."""
    with Image.open(source.path) as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 255
    rows, columns = pixels.shape[1:]
    if not all(source.size):
        source = Cut(source.path, ((columns - 1) / 2, (rows - 1) / 2), (columns / MARGIN, rows / MARGIN))
    box = source.widened(height, width)
    scale = box.size[0] / width
    if scale > 2:  # several pixels in one: take their mean beforehand, or stripes appear
        factor = int(scale)
        pixels = functional.avg_pool2d(pixels[None], factor, ceil_mode=True, count_include_pad=False)[0]
        middle = tuple((place - (factor - 1) / 2) / factor for place in box.middle)
        box, scale = Cut(box.path, (middle[0], middle[1]), (box.size[0] / factor, box.size[1] / factor)), scale / factor
    rows, columns = pixels.shape[1:]
    across = box.middle[0] + (torch.arange(width) - (width - 1) / 2) * scale
    down = box.middle[1] + (torch.arange(height) - (height - 1) / 2) * scale
    x = 2 * across / max(columns - 1, 1) - 1
    y = 2 * down / max(rows - 1, 1) - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]
    return functional.grid_sample(pixels[None], grid, align_corners=True)[0]


def write(
    cuts: Sequence[Cut], path: Path, size: tuple[int, int], mean: Sequence[float], spread: Sequence[float]
) -> None:
    """All pictures as one `.npy` of float32, "sample 3 height width", one after the other."""
    out = open_memmap(path, mode="w+", dtype=np.float32, shape=(len(cuts), 3, *size))
    middle, unit = (torch.tensor(values).reshape(3, 1, 1) for values in (mean, spread))
    for number, source in enumerate(cuts):
        out[number] = ((cut(source, *size) - middle) / unit).numpy()
    out.flush()


def chosen(cuts: Sequence[Cut], count: int) -> list[Cut]:
    """So many, evenly spread over all."""
    if len(cuts) <= count:
        return list(cuts)
    return [cuts[index] for index in np.linspace(0, len(cuts) - 1, count).round().astype(int)]


def _numbers(text: str, count: int) -> list[float]:
    numbers = [float(part) for part in text.replace("x", ",").split(",")]
    if len(numbers) != count:
        raise typer.BadParameter(f"{text!r}: {count} numbers are wanted")
    return numbers


@app.command(help="Cut people out of photographs, into one .npy for --calibration.")
def main(
    images: Annotated[Path, typer.Option(help="Folder of the photographs.", exists=True, file_okay=False)],
    coco: Annotated[Path | None, typer.Option(help="COCO's keypoints, as person_keypoints_val2017.json.")] = None,
    mpii: Annotated[Path | None, typer.Option(help="MPII as toolboxes share it, as valid.json.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The .npy that is written.")] = Path("pictures.npy"),
    size: Annotated[str, typer.Option(help="Height and width of the pictures.")] = "256x192",
    count: Annotated[int, typer.Option(help="How many, evenly spread over all.")] = 1000,
    mean: Annotated[str, typer.Option(help="Of red, green and blue.")] = _MEAN,
    spread: Annotated[str, typer.Option(help="What they are divided by.")] = _SPREAD,
) -> None:
    if coco is not None and mpii is not None:
        raise typer.BadParameter("give --coco or --mpii")
    source: Any = from_folder(images)
    if coco is not None:
        source = from_coco(coco, images)
    if mpii is not None:
        source = from_mpii(mpii, images)
    cuts = chosen(list(source), count)
    if not cuts:
        raise typer.BadParameter(f"{images}: nobody is in it")
    height, width = map(int, _numbers(size, 2))
    write(cuts, out, (height, width), _numbers(mean, 3), _numbers(spread, 3))
    typer.echo(f"{out}: {len(cuts)} pictures of {height} x {width}")


if __name__ == "__main__":
    app()
