"""Why no sizes were found, and what to type instead: only what can work, with sizes read from the weights."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence

from torch import nn

from chiralize.body.skeleton.kinds import offered
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.conversion import ConversionSpec
from chiralize.body.tensors.fields.quantities import ROTATIONS
from chiralize.body.tensors.guess import SCORES, fitting
from chiralize.body.tensors.one_tensor import fields_width
from chiralize.errors import AmbiguousLayoutError, ChiralizeError, UsageError
from chiralize.errors.words import when
from chiralize.problem.data.misfit import how_to_store
from chiralize.problem.preparation import cause_within
from chiralize.problem.readings.arguments import Argument, arguments_of, arrangements, names_by_position
from chiralize.problem.readings.channels import channels_moved
from chiralize.problem.readings.offered import shape_of_one
from chiralize.problem.readings.remark import sizes_text
from chiralize.problem.readings.search import Refused, Search
from chiralize.problem.readings.suggestion import Suggestion, suggestion_for
from chiralize.problem.readings.trial import Shape, Shapes
from chiralize.problem.readings.weights import first_layer, first_width

_NOTHING = "no example inputs are given, and none could be derived"
_MOST_NAMED = 3
_TOO_WIDE = ("shapes cannot be multiplied", "same reduction dim")  # says less than what the layer reads
_OF_NO_SIZE = re.compile("supported|not implemented|has no attribute|unexpected keyword|is not defined")
_OF_AN_INPUT = "input"
_WITH_SIDES = "outputs: [{classes: {swap: [[LEFT, RIGHT], ...], names: [...]}}]"
_CHECK = "check the skeleton"
_ORDERS = (
    '"(j d)" is joint by joint, all coordinates of the first and then of the next; '
    '"(d j)" is coordinate by coordinate, x of all joints and then y'
)
_NUMBER = re.compile(r"\d+")
_OF_ROTATIONS = ROTATIONS.keys() - {3}
"""How many numbers turn a joint; three are coordinates more often."""


def refusal_of(search: Search, where: str, option: str, command: str = "") -> ChiralizeError:
    """The error for a search that came to nothing.

    command: as the user typed it, for the one that would have worked; "" where there is none.
    """
    if not search.arrangements:
        arguments = arguments_of(search.module) or []
        suggestion = suggestion_for(search)
        return _undescribed(arguments, search.spec, where, option, suggestion, command)
    met = search.obstacles
    if met.contradiction is not None:
        contradiction, one, other = met.contradiction
        facts = f"{_NOTHING}: two numbers of frames fit, {contradiction.reasons[0]}, {contradiction.reasons[1]}"
        return UsageError(where, facts, f"say which: {_command(one, option)}, or {_command(other, option)}")
    if met.open_inputs:
        return _open(search, where, option)
    if met.alike:
        sizes = ", ".join(map(sizes_text, met.alike[0]))
        facts = f"{_NOTHING}: with {sizes} it runs, and treats all joints alike, so that any mirror would pass"
        remedy = f"give {_command(met.alike[0], option)} if that is meant; else describe the inputs (layout, fields)"
        return UsageError(where, facts, remedy)
    if met.ambiguous is not None:
        return _ambiguous(search, met.ambiguous, command)
    if met.refused:
        refused = met.refused[0]
        answers = ", ".join(map(str, refused.answers))
        sizes = ", ".join(map(sizes_text, refused.shapes))
        facts = f"{_NOTHING}: with {sizes} it runs and answers {answers}: {refused.error.where}: {refused.error.facts}"
        remedy = _naming_skeletons(refused, search.spec.skeleton)
        if command and _has_no_body(refused, search):
            scores = (
                f"if it answers class scores, which the mirror leaves alone:\n    {command} --invariant\n"
                f"    if some of these classes, or scores of a face, have a side: {_WITH_SIDES} in a file"
            )
            remedy = f"{scores}\n    else {remedy.removesuffix(SCORES)}"
        elif _has_rotations(refused, search.spec.skeleton) and "kind: " not in remedy:
            remedy = f"rotations of joints are `kind: rotation` in a file (docs/how-to/rotations.md); else {remedy}"
        return UsageError(where, facts, remedy)
    moved = channels_moved(search)
    if moved is not None:
        facts, remedy = moved
        return UsageError(where, f"{_NOTHING}: {facts}", remedy)
    return _runs_as_named(search, where) or _none_runs(search, where, option, command)


def refusal_of_class(
    target: object, spec: ConversionSpec, entry: str, where: str, option: str
) -> ChiralizeError | None:
    """The error for a class of networks whose arguments nothing describes; None where they are, or may be.

    target: a class or function. Its signature says this before a network is built. A function does not say it, nor a
    class that gives its networks another forward.
    """
    if not isinstance(target, type) or not issubclass(target, nn.Module) or _replaces(target, entry):
        return None
    if arrangements(target, spec, entry):
        return None
    return _undescribed(arguments_of(target, entry) or [], spec, where, option, None, "")


def _replaces(target: type[nn.Module], entry: str) -> bool:
    """Whether a class may set this method anew where it is initialised."""
    codes = (getattr(vars(one).get("__init__"), "__code__", None) for one in target.__mro__ if one is not nn.Module)
    return any(entry in code.co_names for code in codes if code is not None)


def _has_no_body(refused: Refused, search: Search) -> bool:
    """Whether no answer can be coordinates of joints, the user described none, and all inputs have a reading."""
    skeleton = search.spec.skeleton
    if refused.error.where.startswith(_OF_AN_INPUT):
        return False
    if search.spec.outputs is not None or search.spec.invariant or len(skeleton.dims) < 2:
        return False
    if set(refused.answers) & set(refused.shapes):  # a next pose, as it is read
        return False
    joints = [len(skeleton.joints) in shape[1:] or _layouts(shape, skeleton) for shape in refused.answers]
    return not any(joints) and not _has_rotations(refused, skeleton)


def _has_rotations(refused: Refused, skeleton: Skeleton) -> bool:
    """Whether some answer has the numbers of a rotation for every joint, or for all but the root."""
    joints = len(skeleton.joints), len(skeleton.joints) - 1
    turned = {count * numbers for count in joints for numbers in _OF_ROTATIONS}
    return any(shape[-1] in turned for shape in refused.answers if shape)


def _naming_skeletons(refused: Refused, given: Skeleton) -> str:
    """The remedy, with the shipped skeletons that have the size of an input without a reading."""
    remedy, where = refused.error.remedy, refused.error.where.split()
    if where[:1] != [_OF_AN_INPUT] or not where[-1].isdigit() or not remedy.startswith(_CHECK + ","):
        return remedy
    similar = _of_width(refused.shapes[int(where[-1])][-1], given)
    return remedy.replace(_CHECK, f"{_CHECK} ({similar})", 1) if similar else remedy


def _command(shapes: Shapes, option: str) -> str:
    """The options that say these sizes; in Python the argument."""
    if not option.startswith("--"):
        return f"{option}={_zeros(shapes)}"
    return " ".join(f"{option} {sizes_text(shape)}" for shape in shapes)


def _zeros(shapes: Shapes) -> str:
    return "(" + ", ".join(f"torch.zeros({sizes_text(shape)})" for shape in shapes) + ",)"


def _undescribed(
    arguments: Sequence[Argument],
    spec: ConversionSpec,
    where: str,
    option: str,
    suggestion: Suggestion | None,
    command: str,
) -> UsageError:
    """Several arguments, of which nothing is said.

    suggestion: what they could be, None where that is not known.  command: as the user typed it, or "".
    """
    if not arguments:
        return UsageError(where, f"{_NOTHING}: the network takes no arguments", "name the method that does, --entry")
    wanted = [argument.name for argument in arguments if argument.is_required]
    listed = ", ".join(wanted)
    if spec.inputs is not None:
        beside = [f"{argument.name}={argument.number}" for argument in arguments if argument.number]
        facts = f"{_NOTHING}: {len(spec.inputs)} inputs are described, the network's arguments are: {listed}"
        facts += when(beside, f" (and, with numbers as defaults, {', '.join(beside)})")
        remedy = "describe one tensor for each; where they lie in tables and lists, call it from Python with examples"
        return UsageError(where, facts, remedy)
    facts = f"{_NOTHING}: the network takes {len(wanted)} arguments ({listed}), and nothing says what they are"
    if suggestion is not None:
        shown = _as_options(suggestion, option, command)
        return UsageError(
            where, facts, f"say what each is; by names and sizes they could be (look it over):\n    {shown}"
        )
    layouts = " ".join("--input-layout ..." for _ in wanted)
    if not option.startswith("--"):
        return UsageError(where, facts, f"pass {option}, or input_layouts: one each ('b j d', 'free', 'state')")
    remedy = f"say what each is ('b j d', free, state): {layouts}, or `inputs:` in the file; or give {option} for each"
    return UsageError(where, facts, remedy)


def _as_options(suggestion: Suggestion, option: str, command: str) -> str:
    """Likely descriptions of tensors, as options of the command; in Python as arguments."""
    if not option.startswith("--"):
        named = {"input_layouts": suggestion.inputs, "output_layouts": suggestion.outputs}
        texts = [f"{name}={list(words)}" for name, words in named.items() if words]
        return ", ".join([*texts, _command(suggestion.shapes, option)] if suggestion.shapes else texts)
    words = [f"--input-layout {shlex.quote(word)}" for word in suggestion.inputs]
    words += [f"--output-layout {shlex.quote(word)}" for word in suggestion.outputs]
    return " ".join([*([command] if command else []), *words, _command(suggestion.shapes, option)]).rstrip()


def _open(search: Search, where: str, option: str) -> UsageError:
    """Inputs without a body that fit in several sizes."""
    arranged = search.arrangements[0]
    names = names_by_position(arranged, arguments_of(search.module))
    texts: list[str] = []
    for index, shapes in search.obstacles.open_inputs.items():
        name = names.get(index, f"input {index}")
        texts.append(f"{name} fits as {' and '.join(map(sizes_text, shapes[:_MOST_NAMED]))}")
    sizes = search.obstacles.nearest.shapes if search.obstacles.nearest is not None else ()
    facts = f"{_NOTHING}: the size of an input without a body is open: {'; '.join(texts)}"
    return UsageError(where, facts, f"give the sizes, for example {_command(sizes, option)}")


def _ambiguous(search: Search, refused: Refused, command: str) -> AmbiguousLayoutError:
    """Sizes that fit in several layouts, which neither sizes nor the network's answers tell apart.

    command: as the user typed it, or "".
    """
    error, skeleton = refused.error, search.spec.skeleton
    inputs = [_layouts(shape, skeleton) for shape in refused.shapes]
    orders = {way.inputs for way in search.obstacles.left}
    if len(orders) == 1:  # its order is known from the calibration inputs, and is the same in both ways
        inputs = [[entry.layout or "free"] * 2 for entry in search.obstacles.left[0].inputs or ()]
    outputs = [_layouts(shape, skeleton) for shape in refused.answers]
    ways = [_options(inputs, outputs, number) for number in range(2)]
    taken = ", ".join(map(sizes_text, refused.shapes))
    unused, first = _unused(search, refused)
    facts = f"{error.facts} (no example inputs are given{unused}; with {taken} it runs, and its answers fit no order "
    facts += "clearly: those of untrained weights do not, nor those of another skeleton)"
    differ = when(
        len(orders) == 1, " in the order of the outputs alone (the inputs' is that of the calibration inputs)"
    )
    orders_in_words = f"\n    they differ{differ}: {_ORDERS}"
    if not command:
        return AmbiguousLayoutError(error.where, facts, f"{first}say which: {ways[0]}, or {ways[1]}{orders_in_words}")
    commands = f"{first}say which:\n    {command} {ways[0]}\n    {command} {ways[1]}"
    return AmbiguousLayoutError(error.where, facts, commands + orders_in_words)


def _unused(search: Search, refused: Refused) -> tuple[str, str]:
    """A clause on the user's samples that fit no reading, and how to store them; "" where there are none."""
    shape, samples = refused.shapes[0], search.offered
    if len(refused.shapes) != 1 or len(samples) != 1 or samples[0] == shape[1:]:
        return "", ""
    (sizes,), (array,) = map(sizes_text, samples), search.samples.values()
    others = [pair for pair in zip(samples[0], shape[1:], strict=False) if pair[0] != pair[1]]
    if len(samples[0]) == len(shape) - 1 and len(others) == 1:
        how = f"give them in sizes that it takes: it does not run with {others[0][0]} where it does with {others[0][1]}"
    else:
        how = how_to_store(tuple(array.shape), shape, [str(size) for size in shape[1:]])
    return f", and the user's own, samples of {sizes}, fit no reading", f"if these are its inputs, {how}; else "


def _layouts(shape: Shape, skeleton: Skeleton) -> list[str]:
    return [str(pose.layout) for pose in fitting(shape, skeleton, False, "tensor")]


def _options(inputs: Sequence[Sequence[str]], outputs: Sequence[Sequence[str]], number: int) -> str:
    """The layouts of one way to read all tensors, as options: of each the first, or the second where it has two."""
    texts: list[str] = []
    for option, tensors in (("--input-layout", inputs), ("--output-layout", outputs)):
        if any(len(layouts) > 1 for layouts in tensors):
            for layouts in tensors:
                text = layouts[min(number, len(layouts) - 1)] if layouts else "free"
                texts.append(f'{option} "{text}"')
    return " ".join(texts)


def _none_runs(search: Search, where: str, option: str, command: str) -> UsageError:
    """No reading runs: what the first layer reads, and the skeletons that it could be."""
    within = next(filter(cause_within, search.trial.failures.values()), None)
    if within is not None:
        return UsageError(where, f"{_NOTHING}: the network fails: {within}", cause_within(within))
    skeleton = search.spec.skeleton
    joints, dims = len(skeleton.joints), len(skeleton.dims)
    reads = first_layer(search.module)
    facts = (
        f"{_NOTHING}: the network runs in none of {search.obstacles.tried} sizes that are readings of {skeleton.name} "
        f"({joints} joints, {dims} dims)"
        + when(search.obstacles.is_cut_off, f"; others were not tried, these took {search.limit.seconds:g} s")
    )
    if reads:
        facts += f"; {reads}"
    facts += _failing(search.trial.failures.values(), reads)
    width = first_width(search.module)
    table = next((argument for argument in arguments_of(search.module) or () if argument.is_table), None)
    remedy = f"give {option}" if option.startswith("--") else f"pass {option}"
    key = next((arranged.keys[0] for arranged in search.arrangements if arranged.keys), "")
    if (table is not None or key) and option.startswith("--"):
        name = next(argument.name for argument in arguments_of(search.module) or () if argument.is_required)
        remedy = f"`{name}` is a table: give {option} {key or 'KEY'}=SIZES"
    similar = _of_width(width, skeleton) if dims > 1 else ""
    if table is not None and dims < 2:
        named = ", ".join(map(str, getattr(search.module, "obs_groups", ()))) or "policy"
        remedy = f"`{table.name}` is a table: name every input as its entry there, `inputs: [{{name: {named}, ...}}]`"
    elif search.spec.inputs and all(entry.kind == "free" for entry in search.spec.inputs):
        remedy += " for every input"  # there is nothing else to say of what T leaves alone
    elif width is not None and width in _widths_of_fields(search.spec):
        remedy += " for every input; one that is handed on from call to call is `state: true`, its output too"
    elif dims < 2 and width is not None and width != joints:
        facts += _described(search.spec, width)
        remedy = f"describe the {width} numbers of the observation, `inputs: [{{fields: [...]}}]` in a file"
        remedy += _as_history(search.spec, width)
    elif table is None and (filtered := _along_frames(search, width)):
        check = f"check the skeleton ({similar})" if similar else "describe the inputs: `inputs:`, or --input-layout"
        one, other = (_over_frames(filtered, order, option, command) for order in ("(j d)", "(d j)"))
        ways = f"\n    {one}\n    {other}\n    else" if command else f" {one}, or {other}; else"
        remedy = f"if those {width} numbers are frames, say how the others lie:{ways} {check}"
    elif similar and width not in {joints * count for count in range(1, dims + 2)}:
        remedy = f"check the skeleton ({similar}), or {remedy} for every input"
    else:
        remedy += " for every input, and describe them: `inputs:` in the file, or --input-layout"
    return UsageError(where, facts, remedy)


def _runs_as_named(search: Search, where: str) -> UsageError | None:
    """The error for a network that runs on the user's arrays, which have the names of its arguments, where the skeleton
    does not say what some of them are; None elsewhere.
    """
    arguments = arguments_of(search.module) or []
    names = [argument.name for argument in arguments if argument.name in search.samples]
    wanted = {argument.name for argument in arguments if argument.is_required}
    if not names or search.spec.inputs is not None or not wanted <= set(names) or len(names) < len(search.samples):
        return None
    shapes = tuple(shape_of_one(search.samples[name]) for name in names)
    if not search.trial.answers(shapes, lambda tensors: ((), dict(zip(names, tensors, strict=True)))):
        return None
    skeleton = search.spec.skeleton
    sizes = ", ".join(f"{name} {sizes_text(shape)}" for name, shape in zip(names, shapes, strict=True))
    read = {name: _layouts(shape, skeleton) for name, shape in zip(names, shapes, strict=True)}
    strange = [name for name in names if not read[name]]
    if not strange:
        return None
    entries = ", ".join(f"{{name: {name}, {_entry_of(read[name])}}}" for name in names)
    facts = f"{_NOTHING}: with the sizes of the calibration inputs ({sizes}) it runs, and nothing says what "
    facts += f"{' and '.join(strange)} {'are' if len(strange) > 1 else 'is'} of {skeleton.name}"
    remedy = (
        f"describe {' and '.join(strange)} in a file: `inputs: [{entries}]`, with the blocks of its numbers as fields"
    )
    return UsageError(where, facts, remedy)


def _entry_of(layouts: Sequence[str]) -> str:
    """How an input is described in a file: by the first layout that fits, else by its fields."""
    return f'layout: "{layouts[0]}"' if layouts else "fields: [...]"


def _along_frames(search: Search, width: int | None) -> Shapes | None:
    """Sizes with frames last under which the network runs and answers as many frames; None where there are none.

    A filter over time reads frames where others read joints. Its own weights cannot tell one from the other.
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
        return f"{_command(shapes, option)}, input_layouts=[{layout!r}], output_layouts=[{layout!r}]"
    words = f'{_command(shapes, option)} --input-layout "{layout}" --output-layout "{layout}"'
    return f"{command} {words}".strip()


def _always(failures: Collection[str]) -> str:
    """The first of many failures, where they are the same but for their numbers; else ""."""
    kinds = {_NUMBER.sub("0", text) for text in failures}
    if len(kinds) == 1 and len(failures) > _MOST_NAMED:
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
    """How many numbers the fields of the one input are; None where it has none."""
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
    if described is None or width == described or width % described:
        return ""
    frames, file = width // described, _file_of(spec)
    return (
        f"; {width} = {frames} x {described}: if it reads {frames} frames of the observation in {file}, "
        f"write `fields: [{{history: {frames}, of: [...]}}]` with the blocks of that file"
    )


def _of_width(width: int | None, given: Skeleton) -> str:
    """Shipped skeletons whose joints times 2 or 3 make a width: `45 = 15 x 3: humaneva-15, jhmdb-15`.

    Those that could be meant instead of the given one, as `offered` says.
    """
    texts: list[str] = []
    for count in (2, 3):
        if width is None or width % count:
            continue
        names = offered(width // count, instead_of=given, most=_MOST_NAMED, dims=count)
        if names:
            texts.append(f"{width} = {width // count} x {count}: {names}")
    return "; ".join(texts)
