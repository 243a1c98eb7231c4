"""Is the mirror that is read off a robot's file the mirror of the robot? The table of docs/robots.md:

    python -m benchmarks.robots.imports --robots DIR [--write docs/robots.md]

DIR holds checkouts of the repositories below as OWNER+NAME (their XML and URDF are enough, meshes are not needed);
gymnasium's robots come from its package. Every robot is read, stepped from random states and from their images, and
asked whether it would notice: each sign turned round alone, and each pair left unexchanged alone, has to part the
states.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path

import numpy as np

from chiralize.body.robots.agreement import Agreement, agreement
from chiralize.body.robots.asymmetry import differences, short_summary
from chiralize.body.robots.checking import with_images
from chiralize.body.robots.describing import Entry, RobotWishes, entries_of, image_of, mirror_of
from chiralize.body.robots.mirroring import RobotMirror
from chiralize.body.robots.opening import open_model
from chiralize.body.robots.stepping import deviations
from chiralize.errors import ChiralizeError

RESULTS = Path(__file__).with_name("imports.csv")
GYMNASIUM = "gymnasium 1.4.0"
UNITREE, UNITREE_RL = "unitreerobotics/unitree_mujoco c598f103a", "unitreerobotics/unitree_rl_gym 276801e46"
LEGGED, ALOHA = "leggedrobotics/legged_gym 8fa29acc6", "huggingface/gym-aloha fa65a75a8"
XBOT, CONTROL = "roboterax/humanoid-gym ae46e201c", "google-deepmind/dm_control 985d09401"
G1 = "resources/robots/g1_description"
ROBOTS: tuple[tuple[str, str, str, str], ...] = (
    ("Ant", "quadruped", GYMNASIUM, "ant.xml"),
    ("Humanoid", "humanoid", GYMNASIUM, "humanoid.xml"),
    ("HumanoidStandup", "humanoid", GYMNASIUM, "humanoidstandup.xml"),
    ("Swimmer", "snake", GYMNASIUM, "swimmer.xml"),
    ("Reacher", "planar arm", GYMNASIUM, "reacher.xml"),
    ("InvertedPendulum", "cart", GYMNASIUM, "inverted_pendulum.xml"),
    ("InvertedDoublePendulum", "cart", GYMNASIUM, "inverted_double_pendulum.xml"),
    ("Walker2d", "planar biped", GYMNASIUM, "walker2d_v5.xml"),
    ("HalfCheetah", "planar", GYMNASIUM, "half_cheetah.xml"),
    ("Hopper", "planar", GYMNASIUM, "hopper.xml"),
    ("Pusher", "single arm", GYMNASIUM, "pusher_v5.xml"),
    ("Go2", "quadruped", UNITREE, "unitree_robots/go2/go2.xml"),
    ("B2", "quadruped", UNITREE, "unitree_robots/b2/b2.xml"),
    ("A2", "quadruped", UNITREE, "unitree_robots/a2/a2.xml"),
    ("B2-W", "wheeled quadruped", UNITREE, "unitree_robots/b2w/b2w.xml"),
    ("G1, 29 joints", "humanoid", UNITREE, "unitree_robots/g1/g1_29dof.xml"),
    ("H1", "humanoid", UNITREE, "unitree_robots/h1/h1.xml"),
    ("H1-2", "humanoid", UNITREE, "unitree_robots/h1_2/h1_2_handless.xml"),
    ("R1", "humanoid", UNITREE, "unitree_robots/r1/R1_C++.xml"),
    ("Go2", "quadruped", UNITREE_RL, "resources/robots/go2/urdf/go2.urdf"),
    ("G1, 12 joints", "biped", UNITREE_RL, f"{G1}/g1_12dof.xml"),
    ("G1, 29 joints", "humanoid", UNITREE_RL, f"{G1}/g1_29dof.urdf"),
    ("G1 with hands", "humanoid", UNITREE_RL, f"{G1}/g1_29dof_with_hand.urdf"),
    ("G1, two arms", "bimanual", UNITREE_RL, f"{G1}/g1_dual_arm.xml"),
    ("H1, 10 joints", "biped", UNITREE_RL, "resources/robots/h1/urdf/h1.urdf"),
    ("H1-2 with hands", "humanoid", UNITREE_RL, "resources/robots/h1_2/h1_2.urdf"),
    ("XBot-L", "biped", XBOT, "resources/robots/XBot/urdf/XBot-L.urdf"),
    ("Cassie", "biped", LEGGED, "resources/robots/cassie/urdf/cassie.urdf"),
    ("ANYmal C", "quadruped", LEGGED, "resources/robots/anymal_c/urdf/anymal_c.urdf"),
    ("A1", "quadruped", LEGGED, "resources/robots/a1/urdf/a1.urdf"),
    ("ALOHA", "bimanual", ALOHA, "gym_aloha/assets/bimanual_viperx_transfer_cube.xml"),
    ("dog", "quadruped, tendons", CONTROL, "dm_control/suite/dog.xml"),
    ("rodent", "quadruped, tendons", CONTROL, "dm_control/locomotion/walkers/assets/rodent.xml"),
    ("CMU humanoid", "humanoid", CONTROL, "dm_control/suite/humanoid_CMU.xml"),
    ("fish", "swimmer", CONTROL, "dm_control/suite/fish.xml"),
)
PARTNERS = {
    "Walker2d": {"thigh_joint": "thigh_left_joint", "leg_joint": "leg_left_joint", "foot_joint": "foot_left_joint"}
}
"""Given after the file without them was refused."""


@dataclass(frozen=True)
class Row:
    """One robot. signs: turned round and noticed, of all; swaps: the same of pairs left unexchanged."""

    robot: str
    kind: str
    source: str
    file: str
    lateral: str = ""
    joints: int = 0
    pairs: int = 0
    negated: int = 0
    as_it_is_1: float = 0.0
    as_it_is_20: float = 0.0
    condition: str = ""
    last_1: float = 0.0
    last_20: float = 0.0
    signs: str = ""
    swaps: str = ""
    lopsided: str = ""
    refused: str = ""


def measured(name: str, kind: str, source: str, file: str, path: Path) -> Iterator[Row]:
    """The row of a robot, or that of its refusal; with the partners that were asked for, a second one."""
    opened = open_model(path)
    try:
        mirror = mirror_of(opened)
    except ChiralizeError as error:
        yield Row(name, kind, source, file, refused=f"{error.code} {error.facts}")
        if name not in PARTNERS:
            return
        mirror = mirror_of(opened, RobotWishes(partners=PARTNERS[name]))
        name = f"{name}, with --pair"
    result = agreement(opened, mirror)
    entries = entries_of(mirror.robot, range(len(mirror.robot.joints)))
    images = [image_of(mirror, entry) for entry in entries]
    first, last = result.rungs[0], result.rungs[-1]
    yield Row(
        name,
        kind,
        source,
        file,
        lateral=mirror.lateral,
        joints=len(entries),
        pairs=sum(partner[0] != entry.joint for entry, (partner, _) in zip(entries, images, strict=True)) // 2,
        negated=sum(sign < 0 for _, sign in images),
        as_it_is_1=first.one,
        as_it_is_20=first.many,
        condition=last.label,
        last_1=last.one,
        last_20=last.many,
        signs=noticed(mirror, result, entries, turned=True),
        swaps=noticed(mirror, result, entries, turned=False),
        lopsided=short_summary(differences(mirror)),
    )


def noticed(mirror: RobotMirror, result: Agreement, entries: Sequence[Entry], turned: bool) -> str:
    """How many planted faults part the states by 1e-3, of all: signs turned round, or pairs left unexchanged."""
    position = {(entry.joint, entry.component): number for number, entry in enumerate(entries)}
    felt = planted = 0
    for number, entry in enumerate(entries):
        partner, sign = image_of(mirror, entry)
        image = position[partner]
        if image < number or (image == number and not turned):
            continue
        if turned:
            faults = {number: (image, -sign), image: (number, -sign)}
        else:
            faults = {number: (number, sign), image: (image, sign)}
        wrong = with_images(mirror, entries, faults)
        planted += 1
        felt += bool(np.nanmax(deviations(result.model, wrong, result.states[:3])) > 1e-3)
    return f"{felt}/{planted}"


def rows(robots: Path) -> Iterator[Row]:
    """A row of every robot; files that are not there are an error."""
    gymnasium = Path(import_module("gymnasium").__file__ or "").parent / "envs" / "mujoco" / "assets"
    for name, kind, source, file in ROBOTS:
        repository = source.split()[0]
        folder = gymnasium if source == GYMNASIUM else robots / repository.replace("/", "+")
        yield from measured(name, kind, source, file, folder / file)


def table(results: Path = RESULTS) -> str:
    """The table of the page."""
    lines = [
        "| robot | kind | file | lateral | joints, pairs, negated | as it is, 1 and 20 steps | made equal |"
        " faults noticed | asymmetric |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    with results.open(newline="") as file:
        for row in csv.DictReader(file):
            repository, suffix = row["source"].split()[0], Path(row["file"]).suffix[1:]
            where = f"{repository.rpartition('/')[2]}, {'MJCF' if suffix == 'xml' else 'URDF'}"
            start = f"| {row['robot']} | {row['kind']} | {where} |"
            if row["refused"]:
                lines.append(f"{start} | | | | | refused: {_short(row['refused'])} |")
                continue
            one, many = _power(row["as_it_is_1"]), _power(row["as_it_is_20"])
            equal = ""
            if not row["condition"].startswith("as it is"):
                words = row["condition"].removeprefix("made equal").strip(", ")
                equal = f"{_power(row['last_1'])}, {_power(row['last_20'])}" + (f" ({words})" if words else "")
            counts = f"{row['joints']}, {row['pairs']}, {row['negated']}"
            faults = f"{row['signs']} signs, {row['swaps']} pairs"
            lopsided = row["lopsided"] or "nothing"
            lines.append(f"{start} {row['lateral']} | {counts} | {one}, {many} | {equal} | {faults} | {lopsided} |")
    return "\n".join(lines)


def _power(number: str) -> str:
    return f"{float(number):.0e}".replace("e-0", "e-").replace("e+0", "e").replace("0e0", "0")


def _short(message: str) -> str:
    """The first sentence of a refusal."""
    return message.split(" ", 1)[1].split(";")[0].split(": it moves")[0]


def write_table(page: Path, text: str) -> None:
    """Puts the table between the marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition("<!-- imports -->\n")
    after = rest.partition("<!-- /imports -->")[2]
    page.write_text(f"{before}<!-- imports -->\n{text}\n<!-- /imports -->{after}", encoding="utf-8")


def main() -> None:
    """Measures, writes the file of results, and the page's table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--robots", type=Path, help="folder of checkouts; without it the table is of the file")
    parser.add_argument("--write", type=Path, help="page whose table is replaced")
    options = parser.parse_args()
    if options.robots is not None:
        with RESULTS.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
            writer.writeheader()
            for row in rows(options.robots):
                print(row.robot, row.lateral, row.condition, row.last_20, row.refused[:60], flush=True)
                writer.writerow(vars(row))
    if options.write is not None:
        write_table(options.write, table())


if __name__ == "__main__":
    main()
