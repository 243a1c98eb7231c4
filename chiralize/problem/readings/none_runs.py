"""Why a network runs in none of the sizes that were tried: what it reads, and what could be described for that.

`refusal_of` comes here last, when no sizes at all ran.  The width of the first layer is the clue.  Of a Linear(45, ...)
under a skeleton of 17 joints: 45 = 15 x 3, so that a skeleton of 15 joints may be meant; 45 could be frames of a filter
over time; of a robot they are numbers of an observation that nobody described.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from chiralize.body.tensors.conversion import ConversionSpec
from chiralize.body.tensors.one_tensor import fields_width
from chiralize.errors import UsageError
from chiralize.errors.words import when
from chiralize.problem.preparation import cause_within
from chiralize.problem.readings.arguments import Argument, arguments_of
from chiralize.problem.readings.offered import shape_of_one
from chiralize.problem.readings.remark import sizes_text
from chiralize.problem.readings.search import Search
from chiralize.problem.readings.trial import Shapes
from chiralize.problem.readings.weights import first_layer, first_width
from chiralize.problem.readings.words import MOST_NAMED, NOTHING, command_for, layouts_of, skeletons_of_width

_TOO_WIDE = ("shapes cannot be multiplied", "same reduction dim")  # says less than what the layer reads
_OF_NO_SIZE = re.compile("supported|not implemented|has no attribute|unexpected keyword|is not defined")
_NUMBER = re.compile(r"\d+")


def none_runs(search: Search, where: str, option: str, command: str) -> UsageError:
    """The error where no sizes ran: what the first layer reads, and the skeletons that it could be.

    where, option, command: as of `refusal_of`.
    """
    # A failure for another reason than sizes (devices, precisions) comes first: no sizes would help.
    within = next(filter(cause_within, search.trial.failures.values()), None)
    if within is not None:
        return UsageError(where, f"{NOTHING}: the network fails: {within}", cause_within(within))
    skeleton = search.spec.skeleton
    joints, dims = len(skeleton.joints), len(skeleton.dims)
    reads = first_layer(search.module)
    facts = (
        f"{NOTHING}: the network runs in none of {search.obstacles.tried} sizes that are readings of {skeleton.name} "
        f"({joints} joints, {dims} dims)"
        + when(search.obstacles.is_cut_off, f"; others were not tried, these took {search.limit.seconds:g} s")
    )
    if reads:
        facts += f"; {reads}"
    facts += _failing(search.trial.failures.values(), reads)
    beside, remedy = _what_to_describe(search, option, command)
    return UsageError(where, facts + beside, remedy)


def _what_to_describe(search: Search, option: str, command: str) -> tuple[str, str]:
    """A clause for the facts, "" in most cases, and the remedy: the most special one that applies.

    By the width of the first layer. Below two coordinates the body is a robot, whose inputs are observations and no
    poses; above, the width may be that of another skeleton, or frames.
    """
    skeleton, width = search.spec.skeleton, first_width(search.module)
    joints, dims = len(skeleton.joints), len(skeleton.dims)
    table, give = _table_of(search), _how_to_give(search, option)
    if table is not None and dims < 2:
        named = ", ".join(map(str, getattr(search.module, "obs_groups", ()))) or "policy"
        entries = f"`inputs: [{{name: {named}, ...}}]`"
        return "", f"`{table.name}` is a table: name every input as its entry there, {entries}"
    if search.spec.inputs and all(entry.kind == "free" for entry in search.spec.inputs):
        return "", f"{give} for every input"  # there is nothing else to say of what T leaves alone
    if width is not None and width in _widths_of_fields(search.spec):
        # The first layer reads the described observation, so that something beside it is what does not fit.
        return "", f"{give} for every input; one that is handed on from call to call is `state: true`, its output too"
    if dims < 2 and width is not None and width != joints:
        remedy = f"describe the {width} numbers of the observation, `inputs: [{{fields: [...]}}]` in a file"
        return _described(search.spec, width), remedy + _as_history(search.spec, width)
    similar = skeletons_of_width(width, skeleton) if dims > 1 else ""
    # Asked this late since it runs the network again.
    if table is None and (filtered := _along_frames(search, width)):
        check = f"check the skeleton ({similar})" if similar else "describe the inputs: `inputs:`, or --input-layout"
        one, other = (_over_frames(filtered, order, option, command) for order in ("(j d)", "(d j)"))
        ways = f"\n    {one}\n    {other}\n    else" if command else f" {one}, or {other}; else"
        return "", f"if those {width} numbers are frames, say how the others lie:{ways} {check}"
    # A width of the given skeleton's own sizes speaks for that skeleton, and against another one.
    if similar and width not in {joints * count for count in range(1, dims + 2)}:
        return "", f"check the skeleton ({similar}), or {give} for every input"
    return "", f"{give} for every input, and describe them: `inputs:` in the file, or --input-layout"


def _table_of(search: Search) -> Argument | None:
    """The argument that is written down as a dictionary; None where none is."""
    return next((argument for argument in arguments_of(search.module) or () if argument.is_table), None)


def _how_to_give(search: Search, option: str) -> str:
    """How sizes are given: `give --input-shape`; of the entry of a table with its name, in Python as an argument."""
    if not option.startswith("--"):
        return f"pass {option}"
    key = next((arranged.keys[0] for arranged in search.arrangements if arranged.keys), "")
    if _table_of(search) is None and not key:
        return f"give {option}"
    arguments = arguments_of(search.module) or ()
    # A table may have a default, None, and forward may take any number of arguments.
    names = [argument.name for argument in arguments if argument.is_required or argument.is_table] or ["args"]
    return f"`{names[0]}` is a table: give {option} {key or 'KEY'}=SIZES"


def runs_as_named(search: Search, where: str) -> UsageError | None:
    """The error for a network that runs on the user's arrays, which have the names of its arguments, where the skeleton
    does not say what some of them are; None elsewhere.

    All arrays have to have such names, and all arguments without a default an array.
    """
    arguments = arguments_of(search.module) or []
    names = [argument.name for argument in arguments if argument.name in search.samples]
    wanted = {argument.name for argument in arguments if argument.is_required}
    if not names or search.spec.inputs is not None or not wanted <= set(names) or len(names) < len(search.samples):
        return None
    # Every array goes to the argument of its name. The search has filled the first argument alone.
    shapes = tuple(shape_of_one(search.samples[name]) for name in names)
    if not search.trial.answers(shapes, lambda tensors: ((), dict(zip(names, tensors, strict=True)))):
        return None
    skeleton = search.spec.skeleton
    sizes = ", ".join(f"{name} {sizes_text(shape)}" for name, shape in zip(names, shapes, strict=True))
    read = {name: layouts_of(shape, skeleton) for name, shape in zip(names, shapes, strict=True)}
    strange = [name for name in names if not read[name]]
    if not strange:  # all look like poses, so that something else is wrong
        return None
    entries = ", ".join(f"{{name: {name}, {_entry_of(read[name])}}}" for name in names)
    facts = f"{NOTHING}: with the sizes of the calibration inputs ({sizes}) it runs, and nothing says what "
    facts += f"{' and '.join(strange)} {'are' if len(strange) > 1 else 'is'} of {skeleton.name}"
    remedy = (
        f"describe {' and '.join(strange)} in a file: `inputs: [{entries}]`, with the blocks of its numbers as fields"
    )
    return UsageError(where, facts, remedy)


def _entry_of(layouts: Sequence[str]) -> str:
    """How an input is described in a file: by the first layout that fits, else by fields that the user fills in."""
    return f'layout: "{layouts[0]}"' if layouts else "fields: [...]"


def _along_frames(search: Search, width: int | None) -> Shapes | None:
    """Sizes with frames last under which the network runs and answers as many frames; None where there are none.

    A filter over time reads frames where others read joints. Its own weights cannot tell one from the other.
    width: that its first layer reads.  Tried as 1,51,width of 17 joints in three coordinates, then as 1,34,width.
    """
    arranged, skeleton = search.arrangements[0], search.spec.skeleton
    if width is None or len(arranged.entries) != 1:
        return None
    for dims in dict.fromkeys((len(skeleton.dims), 2)):
        shapes = ((1, dims * len(skeleton.joints), width),)
        answers = search.trial.answers(shapes, arranged)
        if answers and all(answer == shapes[0] for answer in answers):
            return shapes
    return None


def _over_frames(shapes: Shapes, order: str, option: str, command: str) -> str:
    """The options for a filter over time, joints and coordinates in this order; with the command where there is one."""
    layout = f"b {order} t"
    if not option.startswith("--"):
        return f"{command_for(shapes, option)}, input_layouts=[{layout!r}], output_layouts=[{layout!r}]"
    words = f'{command_for(shapes, option)} --input-layout "{layout}" --output-layout "{layout}"'
    return f"{command} {words}".strip()


def _always(failures: Collection[str]) -> str:
    """The first of many failures, where they are the same but for their numbers; else ""."""
    kinds = {_NUMBER.sub("0", text) for text in failures}
    if len(kinds) == 1 and len(failures) > MOST_NAMED:
        return next(iter(failures))
    return ""


def _failing(failures: Collection[str], reads: str) -> str:
    """Why it fails, as a clause: always, or for a reason that is none of sizes, or first where nobody knows what it
    reads.
    """
    always = _always(failures)
    if always and not any(words in always for words in _TOO_WIDE):
        return f"; it fails every time: {always}"
    others = [text for text in failures if _OF_NO_SIZE.search(text)]
    if others:
        return f"; where sizes fit, it fails: {others[0]}"
    return f"; {next(iter(failures))}" if failures and not reads else ""


def _width_of_fields(spec: ConversionSpec) -> int | None:
    """How many numbers the fields of the one input are; None where it has none, or where there are several inputs."""
    widths = _widths_of_fields(spec)
    return widths[0] if len(spec.inputs or ()) == len(widths) == 1 else None


def _widths_of_fields(spec: ConversionSpec) -> list[int]:
    """The same of every input that has fields."""
    widths: list[int] = []
    for entry in spec.inputs or ():
        if entry.fields:
            widths.append(fields_width(entry.fields, entry.override.skeleton or spec.skeleton))
    return widths


def _described(spec: ConversionSpec, width: int) -> str:
    """How many numbers are described, where the network reads another number of them; else ""."""
    described = _width_of_fields(spec)
    if described is None or described == width:
        return ""
    return f"; {_file_of(spec)} describes {described} numbers, not {width}"


def _file_of(spec: ConversionSpec) -> str:
    """The file that holds the fields of the first input."""
    assert spec.inputs and spec.inputs[0].fields
    return spec.inputs[0].fields[0].where.rpartition(":")[0]


def _as_history(spec: ConversionSpec, width: int) -> str:
    """The description to write for a network that reads several frames of the described one; "" for another network."""
    described = _width_of_fields(spec)
    if described is None or width == described or width % described:  # 96 of 48 are two frames, 100 are none
        return ""
    frames, file = width // described, _file_of(spec)
    return (
        f"; {width} = {frames} x {described}: if it reads {frames} frames of the observation in {file}, "
        f"write `fields: [{{history: {frames}, of: [...]}}]` with the blocks of that file"
    )
