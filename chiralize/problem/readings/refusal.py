"""Why no sizes were found, and what to type instead: only what can work, with sizes read from the weights.

`derive` raises what `refusal_of` makes of a search without a reading.  Each of the search's obstacles has its own
facts and remedy.  They are asked in a fixed order: what is nearest to a reading comes first, and that no sizes ran at
all (`none_runs`) last.  `refusal_of_class` says before a network is built what can be known by then.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from torch import nn

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.conversion import ConversionSpec
from chiralize.body.tensors.fields.quantities import ROTATIONS
from chiralize.body.tensors.guess import SCORES
from chiralize.errors import AmbiguousLayoutError, ChiralizeError, UnpairedJointError, UsageError
from chiralize.errors.words import when
from chiralize.problem.data.misfit import how_to_store
from chiralize.problem.readings.arguments import Argument, arguments_of, arrangements, names_by_position
from chiralize.problem.readings.channels import channels_moved
from chiralize.problem.readings.none_runs import none_runs, runs_as_named
from chiralize.problem.readings.reading import Refused
from chiralize.problem.readings.remark import sizes_text
from chiralize.problem.readings.search import Search
from chiralize.problem.readings.suggestion import Suggestion, suggestion_for
from chiralize.problem.readings.words import MOST_NAMED, NOTHING, command_for, layouts_of, skeletons_of_width

_OF_AN_INPUT = "input"
"""How the place of an error about an input begins: `input 0`."""
_WITH_SIDES = "outputs: [{classes: {swap: [[LEFT, RIGHT], ...], names: [...]}}]"
_CHECK = "check the skeleton"
_ORDERS = (
    '"(j d)" is joint by joint, all coordinates of the first and then of the next; '
    '"(d j)" is coordinate by coordinate, x of all joints and then y'
)
_OF_ROTATIONS = ROTATIONS.keys() - {3}
"""How many numbers turn a joint; three are coordinates more often."""


def refusal_of(search: Search, where: str, option: str, command: str = "") -> ChiralizeError:
    """The error for a search that came to nothing.

    where: the network, as messages name it.  option: how the user gives sizes.
    command: as the user typed it, for the one that would have worked; "" where there is none.
    """
    # There was no way to call the network: several arguments, and nobody said what they are.
    if not search.arrangements:
        arguments = arguments_of(search.module) or []
        suggestion = suggestion_for(search)
        return _undescribed(arguments, search.spec, where, option, suggestion, command)
    met = search.obstacles
    # These three stopped at sizes that are a reading: the user only has to choose.
    if met.contradiction is not None:
        contradiction, one, other = met.contradiction
        facts = f"{NOTHING}: two numbers of frames fit, {contradiction.reasons[0]}, {contradiction.reasons[1]}"
        return UsageError(where, facts, f"say which: {command_for(one, option)}, or {command_for(other, option)}")
    if met.open_inputs:
        return _open(search, where, option)
    if met.alike:
        sizes = ", ".join(map(sizes_text, met.alike[0]))
        facts = f"{NOTHING}: with {sizes} it runs, and treats all joints alike, so that any mirror would pass"
        remedy = f"give {command_for(met.alike[0], option)} if that is meant; else describe the inputs (layout, fields)"
        return UsageError(where, facts, remedy)
    if met.ambiguous is not None:
        return _ambiguous(search, met.ambiguous, command)
    # It runs, and a tensor has no reading. The first sizes are the likeliest, so that theirs is the error to show.
    if met.refused:
        return _without_meaning(search, met.refused[0], where, command)
    # Nothing ran. The user's own arrays may show why: they are tried with channels moved, then by their names.
    moved = channels_moved(search)
    if moved is not None:
        facts, remedy = moved
        return UsageError(where, f"{NOTHING}: {facts}", remedy)
    return runs_as_named(search, where) or none_runs(search, where, option, command)


def _without_meaning(search: Search, refused: Refused, where: str, command: str) -> ChiralizeError:
    """The error for sizes at which it runs, and some tensor has no reading.  command: as of `refusal_of`."""
    if isinstance(refused.error, UnpairedJointError):  # names do not change with sizes
        return refused.error
    answers = ", ".join(map(str, refused.answers))
    sizes = ", ".join(map(sizes_text, refused.shapes))
    facts = f"{NOTHING}: with {sizes} it runs and answers {answers}: {refused.error.where}: {refused.error.facts}"
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


def refusal_of_class(
    target: object, spec: ConversionSpec, entry: str, where: str, option: str
) -> ChiralizeError | None:
    """The error for a class of networks whose arguments nothing describes; None where they are, or may be.

    target: a class or function. Its signature says this before a network is built. A function does not say it, nor a
    class that gives its networks another forward.
    where, option: as of `refusal_of`.
    """
    if not isinstance(target, type) or not issubclass(target, nn.Module) or _replaces(target, entry):
        return None
    if arrangements(target, spec, entry):
        return None
    return _undescribed(arguments_of(target, entry) or [], spec, where, option, None, "")


def _replaces(target: type[nn.Module], entry: str) -> bool:
    """Whether a class may set this method anew where it is initialised: its `__init__` names it, as an attribute."""
    codes = (getattr(vars(one).get("__init__"), "__code__", None) for one in target.__mro__ if one is not nn.Module)
    return any(entry in code.co_names for code in codes if code is not None)


def _has_no_body(refused: Refused, search: Search) -> bool:
    """Whether no answer can be coordinates of joints, the user described none, and all inputs have a reading."""
    skeleton = search.spec.skeleton
    if refused.error.where.startswith(_OF_AN_INPUT):
        return False
    if search.spec.outputs is not None or search.spec.invariant or len(skeleton.dims) < 2:
        return False
    # An answer in the sizes of an input is taken for a pose of the same kind, whether or not these have a layout.
    if set(refused.answers) & set(refused.shapes):  # a next pose, as it is read
        return False
    joints = [len(skeleton.joints) in shape[1:] or layouts_of(shape, skeleton) for shape in refused.answers]
    return not any(joints) and not _has_rotations(refused, skeleton)


def _has_rotations(refused: Refused, skeleton: Skeleton) -> bool:
    """Whether some answer has the numbers of a rotation for every joint, or for all but the root."""
    joints = len(skeleton.joints), len(skeleton.joints) - 1
    turned = {count * numbers for count in joints for numbers in _OF_ROTATIONS}
    return any(shape[-1] in turned for shape in refused.answers if shape)


def _naming_skeletons(refused: Refused, given: Skeleton) -> str:
    """The remedy, with the shipped skeletons that have the size of an input without a reading."""
    remedy, where = refused.error.remedy, refused.error.where.split()  # "input 0" gives the input to look at
    if where[:1] != [_OF_AN_INPUT] or not where[-1].isdigit() or not remedy.startswith(_CHECK + ","):
        return remedy
    similar = skeletons_of_width(refused.shapes[int(where[-1])][-1], given)
    return remedy.replace(_CHECK, f"{_CHECK} ({similar})", 1) if similar else remedy


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
        return UsageError(where, f"{NOTHING}: the network takes no arguments", "name the method that does, --entry")
    wanted = [argument.name for argument in arguments if argument.is_required]
    listed = ", ".join(wanted)
    # Inputs are described, and their number is not that of the arguments.
    if spec.inputs is not None:
        beside = [f"{argument.name}={argument.number}" for argument in arguments if argument.number]
        facts = f"{NOTHING}: {len(spec.inputs)} inputs are described, the network's arguments are: {listed}"
        facts += when(beside, f" (and, with numbers as defaults, {', '.join(beside)})")
        remedy = "describe one tensor for each; where they lie in tables and lists, call it from Python with examples"
        return UsageError(where, facts, remedy)
    facts = f"{NOTHING}: the network takes {len(wanted)} arguments ({listed}), and nothing says what they are"
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
        return ", ".join([*texts, command_for(suggestion.shapes, option)] if suggestion.shapes else texts)
    words = [f"--input-layout {shlex.quote(word)}" for word in suggestion.inputs]
    words += [f"--output-layout {shlex.quote(word)}" for word in suggestion.outputs]
    return " ".join([*([command] if command else []), *words, command_for(suggestion.shapes, option)]).rstrip()


def _open(search: Search, where: str, option: str) -> UsageError:
    """Inputs without a body that fit in several sizes."""
    arranged = search.arrangements[0]
    names = names_by_position(arranged, arguments_of(search.module))
    texts: list[str] = []
    for index, shapes in search.obstacles.open_inputs.items():
        name = names.get(index, f"input {index}")
        texts.append(f"{name} fits as {' and '.join(map(sizes_text, shapes[:MOST_NAMED]))}")
    sizes = search.obstacles.nearest.shapes if search.obstacles.nearest is not None else ()
    facts = f"{NOTHING}: the size of an input without a body is open: {'; '.join(texts)}"
    return UsageError(where, facts, f"give the sizes, for example {command_for(sizes, option)}")


def _ambiguous(search: Search, refused: Refused, command: str) -> AmbiguousLayoutError:
    """Sizes that fit in several layouts, which neither sizes nor the network's answers tell apart.

    command: as the user typed it, or "".
    """
    error, skeleton = refused.error, search.spec.skeleton
    inputs = [layouts_of(shape, skeleton) for shape in refused.shapes]
    # `left` holds the ways to read all tensors that the user's samples speak for; several may share the inputs' order.
    orders = {way.inputs for way in search.obstacles.left}
    if len(orders) == 1:  # its order is known from the calibration inputs, and is the same in both ways
        inputs = [[entry.layout or "free"] * 2 for entry in search.obstacles.left[0].inputs or ()]
    outputs = [layouts_of(shape, skeleton) for shape in refused.answers]
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
    # Of several inputs or arrays nobody knows which belongs to which.
    if len(refused.shapes) != 1 or len(samples) != 1 or samples[0] == shape[1:]:
        return "", ""
    (sizes,), (array,) = map(sizes_text, samples), search.samples.values()
    others = [pair for pair in zip(samples[0], shape[1:], strict=False) if pair[0] != pair[1]]
    if len(samples[0]) == len(shape) - 1 and len(others) == 1:
        # One axis alone has another length. Storing the array otherwise does not change that.
        how = f"give them in sizes that it takes: it does not run with {others[0][0]} where it does with {others[0][1]}"
    else:
        how = how_to_store(tuple(array.shape), shape, [str(size) for size in shape[1:]])
    return f", and the user's own, samples of {sizes}, fit no reading", f"if these are its inputs, {how}; else "


def _options(inputs: Sequence[Sequence[str]], outputs: Sequence[Sequence[str]], number: int) -> str:
    """The layouts of one way to read all tensors, as options: of each the first, or the second where it has two.

    inputs, outputs: of every tensor the layouts that fit.  number: 0 or 1.
    Of tensors that are all clear there is no option; where one is not, every tensor has one, since they go by position.
    """
    texts: list[str] = []
    for option, tensors in (("--input-layout", inputs), ("--output-layout", outputs)):
        if any(len(layouts) > 1 for layouts in tensors):
            for layouts in tensors:
                text = layouts[min(number, len(layouts) - 1)] if layouts else "free"
                texts.append(f'{option} "{text}"')
    return " ".join(texts)
