"""Augmentations of public robot repositories beside ours, on the same observations and actions.

    python -m benchmarks.robots.augmentation --anymal anymal.py --indices sym_envs.py -o augmentation.csv

anymal: of IsaacLab, `source/isaaclab_tasks/isaaclab_tasks/manager_based/locomotion/velocity/mdp/symmetry/anymal.py`: a
function for rsl_rl with four views (left/right, front/back, both), for 48 observations or 235 with a height scan.
indices: of UBCMOCCA/SymmetricRL, `symmetry/sym_envs.py`: lists of indices, by which a sample is negated and swapped.
Both are run as they are; neither is part of this repository. A row says how far two mirrors are apart, or how far the
hand-written one, done twice, is from doing nothing: of such a one no simulator needs to be asked.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from chiralize.clients.rsl_rl import augmentation

LEGS = ("LF", "LH", "RF", "RH")
JOINTS = [f"{leg}_{part}" for part in ("HAA", "HFE", "KFE") for leg in LEGS]
SIDES = {"L": "R", "R": "L", "F": "H", "H": "F"}
GRID = (11, 17)  # rows from right to left, columns from back to front
VIEWS = ("as given", "left/right", "front/back", "both")
ROWS = 512
COLUMNS = ("repository", "what", "entries", "lines", "largest_difference", "entries_that_differ")
Row = tuple[str, str, int, int, float, int]


def anymal(letter: int, negated: Sequence[str], lateral: str, commands: Sequence[int]) -> dict[str, Any]:
    """The specification of 48 observations. letter: of a leg's name, which the mirror exchanges."""
    skeleton = body(letter, negated)
    fields = [{"vector": "velocity"}, {"axial": "angular velocity"}, {"vector": "gravity"}]
    fields += [{"signs": list(commands), "name": "command"}]
    fields += [{"joints": name} for name in ("position", "joint velocity", "last action")]
    entries = {"inputs": [{"name": "policy", "fields": fields}], "outputs": [{"fields": [{"joints": "action"}]}]}
    return {**skeleton, "lateral": lateral, **entries}


def body(letter: int, negated: Sequence[str]) -> dict[str, Any]:
    """ANYmal's joints: partners by a letter of the leg's name, and the parts whose joints are negated."""
    pairs: list[list[str]] = []
    for joint in JOINTS:
        partner = exchanged(joint, letter)
        if [partner, joint] not in pairs:
            pairs.append([joint, partner])
    signs = {joint: [-1] for joint in JOINTS if joint.endswith(tuple(negated))}
    return {"name": "anymal", "joints": JOINTS, "pairs": pairs, "dims": ["q"], "negate": [], "signs": signs}


def exchanged(joint: str, letter: int) -> str:
    """The partner of a joint."""
    return joint[:letter] + SIDES[joint[letter]] + joint[letter + 1 :]


def with_scan(spec: Mapping[str, Any], axis: int) -> dict[str, Any]:
    """The specification of 235 observations: 48, and a height scan that the mirror flips along an axis of its grid.

    Every number is a joint here, with its partner and its sign.
    """
    known = augmentation(dict(spec)).mirrors[0].observations(torch.arange(1.0, 49.0)[None])[0]
    partners = [int(number) - 1 for number in known.abs()]
    signs = [int(sign) for sign in known.sign()]
    cells = torch.arange(GRID[0] * GRID[1]).reshape(GRID)
    partners += [48 + int(cell) for cell in cells.flip(axis).flatten()]
    signs += [1] * cells.numel()
    names = [f"n{number}" for number in range(len(partners))]
    pairs = [[names[i], names[j]] for i, j in enumerate(partners) if i < j]
    negated = {name: [-1] for name, sign in zip(names, signs, strict=True) if sign < 0}
    whole = {"name": "anymal-235", "joints": names, "pairs": pairs, "dims": ["q"], "negate": [], "signs": negated}
    actions = {"skeleton": {key: spec[key] for key in ("joints", "pairs", "dims", "negate", "signs")}}
    layout = {"layout": "b (j d)"}
    return {**whole, "inputs": [{"name": "policy", **layout}], "outputs": [{**actions, **layout}]}


def loaded(path: Path) -> Any:
    """A file of Python as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of_anymal(path: Path) -> Iterator[Row]:
    """ANYmal's four views, without a height scan and with one."""
    from tensordict import TensorDict  # type: ignore[import-not-found]

    by_hand = loaded(path).compute_symmetric_states
    lines = len(path.read_text().splitlines())
    specs = anymal(0, ("HAA",), "y", (1, -1, -1)), anymal(1, ("HFE", "KFE"), "x", (-1, 1, -1))
    scanned = with_scan(specs[0], 0), with_scan(specs[1], 1)
    for terms, (first, second), size in (((), specs, 48), (("height_scan",), scanned, 235)):
        environment = SimpleNamespace(observation_manager=SimpleNamespace(active_terms={"policy": terms}))
        environment.unwrapped = environment
        obs = TensorDict({"policy": torch.randn(ROWS, size)}, batch_size=[ROWS])
        actions = torch.randn(ROWS, len(JOINTS))
        theirs = by_hand(env=environment, obs=obs, actions=actions)
        ours = augmentation(first, second)(env=environment, obs=obs, actions=actions)
        pairs = [("observations", theirs[0]["policy"], ours[0]["policy"]), ("actions", theirs[1], ours[1])]
        for what, expected, answer in pairs:
            for view, left, right in zip(VIEWS, expected.split(ROWS), answer.split(ROWS), strict=True):
                yield ("IsaacLab", f"ANYmal {size}, {what}, {view}", left.shape[1], lines, *apart(left, right))


def of_indices(path: Path) -> Iterator[Row]:
    """Mirrors of SymmetricRL, each done twice."""
    lists: dict[str, Mapping[str, list[int]]] = {}

    def register_symmetric_envs(name: str, mirror_inds: Mapping[str, list[int]], **_: Any) -> None:
        """Take the indices of an environment, which is not made."""
        lists[name.rpartition(":")[2]] = mirror_inds

    text = re.sub(r"(?m)^from \..*$", "", path.read_text())
    scope = {"register_symmetric_envs": register_symmetric_envs, "register": lambda **_: None}
    exec(compile(text, path, "exec"), scope)
    lines = len(path.read_text().splitlines())
    for name, indices in lists.items():
        for what, short in (("observations", "obs"), ("actions", "act")):
            mirror, size = by_indices(indices, short)
            x = torch.randn(ROWS, size)
            row = (f"{name}, {what}, twice against nothing", size, lines)
            yield ("SymmetricRL", *row, *apart(mirror(mirror(x)), x))


def by_indices(indices: Mapping[str, list[int]], short: str) -> tuple[Callable[[Tensor], Tensor], int]:
    """Negated, then swapped, as the repository does it; and of how many entries."""
    names = ("com", "neg", "left", "right", "sideneg")
    common, negated, left, right, beside = (list(indices.get(f"{name}_{short}_inds", [])) for name in names)

    def mirror(x: Tensor) -> Tensor:
        """The mirror image of samples."""
        image = x.clone()
        image[:, negated + beside] *= -1
        image[:, left + right] = image[:, right + left]
        return image

    return mirror, 1 + max(common + negated + left + right)


def apart(left: Tensor, right: Tensor) -> tuple[float, int]:
    """The largest difference, and how many entries have one."""
    difference = (left - right).abs().amax(0)
    return round(float(difference.max()), 6), int((difference > 0).sum())


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anymal", type=Path)
    parser.add_argument("--indices", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    rows: list[Row] = []
    if options.anymal is not None:
        rows += of_anymal(options.anymal)
    if options.indices is not None:
        rows += of_indices(options.indices)
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
