"""The keys of skeleton and specification files, from the readers' own lists. A key not described fails the build."""

from __future__ import annotations

from chiralize.body.skeleton.catalog import SPEC_KEYS
from chiralize.body.skeleton.pairing import PAIR_KEYS
from chiralize.body.skeleton.schema import JOINT_KEYS, SKELETON_KEYS, TEXT_KEYS
from chiralize.body.tensors.conversion import ACTIVATIONS
from chiralize.body.tensors.fields import READERS
from chiralize.body.tensors.hidden import PAIRINGS
from chiralize.body.tensors.reading import ENTRY_KEYS, SHORT_FORMS

BODY = {
    "chiralize": ("1", "the version of the format; may be left out"),
    "name": ("text", "the name in messages; else that of the file"),
    "skeleton": ("name, file or map", "a skeleton to start from"),
    "joints": ("list of names", "the joints, in the order of the tensors"),
    "pairs": ("list of [left, right], or `infer`", "who is whose partner; `[]` says that there are none"),
    "center": ("list of joints", "joints without a partner, to have them checked"),
    "dims": ("list of names", "the coordinates of a joint; x, y, z where nothing is said"),
    "negate": ("list of dims", "the coordinates that the mirror negates"),
    "signs": ("map of joints, or a list", "signs of single joints, as robots have them"),
    "lateral": ("x, y or z", "the axis of the body that points sideways"),
    "edges": ("list of [joint, joint]", "bones, for drawings and checks"),
    "aliases": ("list of names", "other names of this skeleton"),
    "source": ("text", "where the order of the joints comes from"),
    "note": ("text", "a remark"),
}
SPELLINGS = {
    "flip_pairs": "as `pairs`",
    "symmetries": "as `pairs`",
    "symmetric_pairs": "as `pairs`",
    "keypoint_pairs": "as `pairs`",
    "keypoint_flip_pairs": "as `pairs`",
    "keypoint_flip_map": "as `pairs`, by name",
    "swap": "the partner of each, by name",
    "flip_idx": "the index of each one's partner",
    "permutation": "the same, with `reflection`",
    "reflection": "a sign for each joint",
    "left": "the left joints, beside `right`",
    "right": "their partners, in order",
}
TENSOR = {
    "layout": ("text", "a word for each axis: `b t j d`, `b (j d)`"),
    "skeleton": ("name, file or map", "another skeleton for this tensor"),
    "joints": ("list of names", "some of the joints, or another order"),
    "dims": ("list of names", "the coordinates of this tensor"),
    "negate": ("list of dims", "those that the mirror negates"),
    "signs": ("list or map", "signs over the coordinates"),
    "kind": ("`rotation`, `quaternion`, `axial`, ...", "what a joint has in place of coordinates"),
    "order": ("`matrix`, `6d_by_column`, `wxyz`, ...", "of the numbers of that kind"),
    "fields": ("list of fields", "blocks along one axis, as a robot's observation has them"),
    "free": ("true", "the mirror leaves the tensor alone"),
    "invariant": ("true", "scores that must not change"),
    "unclaimed": ("true", "an output of which nothing is claimed"),
    "classes": ("map with `swap`, `names`, `threshold`", "scores that change places, along `classes` of a layout"),
    "like": ("`input 1` or a name", "it transforms as another tensor does"),
    "state": ("true", "a hidden state, whose mirror is found out"),
    "feeds": ("`input 0` or a name", "of an output: the next call reads it there"),
    "mirror": (
        "a word of the layout, a list, or a map to cells",
        "axes of pictures and maps that are reversed; also `~w`",
    ),
    "reflect": ("map of dim and number", "where the mirror stands, for pixels"),
    "missing": ("`none` or `zero`", "how a missing joint is stored"),
    "name": ("text", "for messages, and for `like` and `feeds`"),
}
FIELDS = {
    "vector": ("name", "x y z of an arrow, or `dims` of them: the sideways entry is negated"),
    "axial": ("name", "x y z of a rotation: the two others are negated"),
    "scalar": ("number of entries, or their names", "entries that stay"),
    "unclaimed": ("number of entries, or their names", "of an output: nothing is claimed of them"),
    "signs": ("list of 1 and -1, or by names", "entries with signs of their own"),
    "joints": (
        "name",
        "the skeleton's joints and dims; `of`, `dims` for some, `kind: scalar` without signs, `reflect`",
    ),
    "box": ("`xyxy`, `cxcywh`, ...", "the box around a body: its edges along x change places; `reflect` in pixels"),
    "bodies": ("list of names", "things that swap: each as its `kind` or `each` says, partners told or by `swap`"),
    "feet": ("list of names", "as `bodies`"),
    "legs": ("list of names", "as `bodies`"),
    "hands": ("list of names", "as `bodies`"),
    "links": ("list of names", "as `bodies`"),
    "sites": ("list of names", "as `bodies`"),
    "sensors": ("list of names", "as `bodies`"),
    "items": ("list of names", "as `bodies`"),
    "wrench": ("`force_first` or `torque_first`", "a force and a torque"),
    "twist": ("`linear_first` or `angular_first`", "a velocity and an angular velocity"),
    "inertia": ("`mujoco`", "ten numbers of a body, as MuJoCo's cinert has them"),
    "quaternion": ("`wxyz` or `xyzw`", "an orientation"),
    "rotation": ("`matrix`, `6d_by_column` or `6d_by_row`", "an orientation"),
    "euler": ("`rpy`, `ypr`, `rp`, ...", "turns in this order"),
    "command": ("list of names", "what the robot is told: `vx`, `vy`, `yaw_rate`, ..."),
    "phase": (
        "`sin_cos`, `cos_sin`, `sin` or `cos`",
        "a clock; `shift: half` where the mirrored gait is half a period ahead",
    ),
    "grid": ("list of sizes", "values on a grid, `axes` names its axes: the sideways one is reversed"),
    "history": ("number of frames", "frames of what stands under `of`"),
}
WHOLE = {
    "inputs": ("list of tensors", "one entry for each argument, in their order; found out where left out"),
    "outputs": ("list of tensors", "one entry for each answer"),
    "hidden": ("map with `pairing` and `negated`", f"pairing: {', '.join(f'`{pairing}`' for pairing in PAIRINGS)}"),
    "activation": (
        ", ".join(f"`{name}`" for name in ACTIVATIONS),
        "whether signs in hidden spaces get odd activations",
    ),
}


def _in_step(table: dict[str, object], *names: str) -> None:
    """Raise where the table has another set of keys than the code."""
    if set(table) != set(names):
        raise ValueError(f"the table and the reader differ in {sorted(set(table) ^ set(names))}")


def _table(rows: dict[str, tuple[str, str]]) -> str:
    lines = [f"| `{key}` | {value} | {meaning} |" for key, (value, meaning) in rows.items()]
    return "\n".join(["| key | value | meaning |", "|---|---|---|", *lines])


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def page() -> str:
    """The whole page. Raises ValueError where a key of the readers is not described."""
    plain = [key for key in SKELETON_KEYS if key not in (*JOINT_KEYS[1:], *PAIR_KEYS)]
    _in_step(dict(BODY), *plain, "pairs")
    _in_step(dict(SPELLINGS), *(key for key in PAIR_KEYS if key != "pairs"))
    _in_step(dict(TENSOR), *ENTRY_KEYS)
    _in_step(dict(FIELDS), *READERS)
    _in_step(dict(WHOLE), *SPEC_KEYS)
    assert set(TEXT_KEYS) <= set(BODY)
    spellings = "\n".join(f"| `{key}` | {meaning} |" for key, meaning in SPELLINGS.items())
    parts = [
        "# Keys of a skeleton file",
        "Made from the readers' own lists. [Skeletons](../../skeletons.md) has an example of each.",
        f"## The body\n\n{_table(BODY)}",
        "`mirrors` names several, each with `pairs`, `signs`, `negate`, `lateral`: [groups](../../groups.md).",
        f"`joints` may also be called {_listed(JOINT_KEYS[1:])}.",
        f"## Pairs as other tools write them\n\n| key | meaning |\n|---|---|\n{spellings}",
        f"## The tensors\n\n{_table(WHOLE)}",
        f"## One tensor\n\n{_table(TENSOR)}",
        f"An entry may also be a layout alone, or one of the words {_listed(SHORT_FORMS)}.",
        f"## One field\n\n{_table(FIELDS)}",
    ]
    return "\n\n".join(parts) + "\n"
