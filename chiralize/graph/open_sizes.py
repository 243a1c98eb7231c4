"""Exporting a network with open axes, so that its program takes other sizes than those of the examples.

torch.export opens an axis only as far as it learns nothing against it, and one trace sees one size. So a program is
never believed: it is compared with the module on the examples and on others, and the widest one that agrees is
returned. The attempts, for an example of one sample and an open batch:

    exported on 2 samples, batch open      must agree on 1
    exported on 1 sample, batch open       must agree on 1 and on 2
    exported on 1 sample, batch closed     must agree on 1

Where none of them does, a program of the examples' sizes alone has to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice, product
from operator import attrgetter
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from chiralize.errors import CaptureError, ModelRunError
from chiralize.graph.export import export
from chiralize.graph.guards import guards_of, put_back, without_guards_against_one
from chiralize.graph.open_axes import axes_by_leaf, lengthened, shortened, with_chosen, without_single
from chiralize.graph.other_sizes import is_open_along
from chiralize.graph.running import Call, Runner
from chiralize.graph.silence import quiet
from chiralize.graph.tensors import tensors_in

_ROOM = 3
"""Entries by which axes grow that the examples may not need."""
_MOST_CHOICES = 32
"""Ways to say which axes count samples that are tried by running."""
_GUARD = "Guard failed"
"""How messages of a program's guards begin."""


def opened(
    module: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    axes: Any,
    room: int | None = None,
    tell: Callable[[str], None] = lambda what: None,
    wide: Any = None,
) -> ExportedProgram:
    """The module as a program whose sizes are as open as they can be.

    It is exported on longer examples first: an axis of one entry (or one that becomes an axis of one entry inside)
    would be taken for a fixed one. Of a tensor with several such axes (a state: layers, samples) those stay closed
    along which the module does not take more. Where that program refuses the examples, or one exported on the examples
    refuses longer ones, axes of one entry are closed: a program must not promise sizes that it does not take. Where the
    module itself refuses them, there is no use in exporting it on them. Where a guard of the first program refuses the
    examples, and does more than to forbid one entry, an export on them would take the same way up to this guard and
    record its opposite, which refuses longer examples: it is not made.
    axes: from `axes_of`, the open axes in place of every tensor.  room: entries by which every open axis grows in the
    longer examples; None lets those of one entry grow by one.  tell: called with what is done next.
    wide: more open axes than these (frames), which are opened where the module takes longer examples of them all, and
    the program gives its results on both.
    Raises CaptureError where export refuses, or where no program gives the module's results on the examples.
    """
    given: Call = (tuple(args), dict(kwargs))
    axes, wide = _with_one_batch(module, given, axes, wide)
    if wide is not None and wide != axes:
        program = _opened_wide(module, given, wide, tell)
        if program is not None:
            return program
    attempts = _attempts(module, given, axes, room)
    count = len(attempts)
    while attempts:
        example, free, other = attempts.pop(0)
        tell(f"program {count - len(attempts)} of at most {count}")
        with suppress(CaptureError):
            program = export(module, *_fresh(example), free)
            tell("comparing the program with the network")
            if _agrees_in_the_end(program, module, given, other):
                # The program agrees on the examples. A guard against one entry may go if it also agrees with one
                # entry along every open axis; if not, it stays. Either way the program is taken.
                if other is given:
                    _agrees_unguarded(program, module, given, shortened(given, axes))
                break
            # The second attempt would end at the same guard from the other side: only the closed one is left.
            if _guards_against(program.module(), other):
                attempts = attempts[-1:]
    else:
        program = export(module, *_fresh(given))
        if not agrees(program.module(), module, given):
            raise CaptureError(
                type(module).__name__,
                "what torch.export makes of it gives other results on the examples",
                "take the same way when exported, choose with tensor operations (torch.where), or use --method average",
            )
    program.example_inputs = given
    return program


def _attempts(module: torch.nn.Module, given: Call, axes: Any, room: int | None) -> list[tuple[Call, Any, Call]]:
    """The ways to export that are tried, the most open first; the last one closes axes of one entry.

    Returns (examples to export on, open axes, inputs on which program and module must agree too). Of a batch of one, x
    of (1, 6), these are x twice as long with an open batch, x with an open batch, and x with a batch of 1; the last one
    alone where the module refuses two, and the second one alone where no axis has to grow.
    """
    longer = lengthened(given, axes, room)
    if longer is None:  # no axis has to grow: the examples are long enough as they are
        return [(given, axes, given)]
    closed = [(given, without_single(given, axes), given)]
    if not _takes(module, longer):
        return closed
    return [(longer, axes, given), (given, axes, longer), *closed]


def _with_one_batch(module: torch.nn.Module, given: Call, axes: Any, wide: Any) -> tuple[Any, Any]:
    """The open axes, and the wider ones, without those of one entry along which the module does not take more.

    A state of one layer and one sample does not say which of its axes the samples are: one after the other is tried.
    Unchanged where there is no such tensor, where the module takes more along them all, or along none.
    """
    leaves, structure = pytree.tree_flatten(given)
    open_axes = axes_by_leaf(structure, axes)
    # By leaf of the call, its open axes of one entry, where it has several.
    choices = dict[int, list[int]]()
    for index, (leaf, of_leaf) in enumerate(zip(leaves, open_axes, strict=True)):
        of_one_entry = [axis for axis in of_leaf or () if leaf.shape[axis] == 1]
        if len(of_one_entry) > 1:
            choices[index] = of_one_entry
    if not choices or _takes(module, lengthened(given, axes, None) or given):
        return axes, wide
    for chosen in _one_of_each(choices):
        narrow = with_chosen(structure, axes, choices, chosen)
        if _takes_rows(module, given, lengthened(given, narrow, None) or given, list(choices)):
            return narrow, with_chosen(structure, wide, choices, chosen) if wide is not None else None
    return axes, wide


def _one_of_each(choices: Mapping[int, Sequence[int]]) -> Iterator[Mapping[int, int]]:
    """One axis for every tensor: first the same for all of them, then any others."""
    for axis in sorted(set[int]().union(*choices.values())):
        if all(axis in of_tensor for of_tensor in choices.values()):
            # States of one network (h and c of an LSTM) have their samples along one axis.
            yield dict.fromkeys(choices, axis)
    for axes in islice(product(*choices.values()), _MOST_CHOICES):
        if len(set(axes)) > 1:
            yield dict(zip(choices, axes, strict=True))


def _takes_rows(module: torch.nn.Module, given: Call, longer: Call, candidates: Sequence[int]) -> bool:
    """Whether the module takes longer examples, and hands back states of the longer sizes, which its next call needs.

    candidates: leaves of the call that may be states; as many are as answers have their sizes, if not more.
    """
    answers = _answers(module, given, longer)
    if answers is None:
        return False
    # Shapes of the answers to the examples, and to the longer ones.
    few, many = (list(map(attrgetter("shape"), tensors)) for tensors in answers)
    before, after = map(pytree.tree_leaves, (given, longer))
    given_shapes = [before[index].shape for index in candidates]
    for index, shape in zip(candidates, given_shapes, strict=True):
        states = min(few.count(shape), given_shapes.count(shape))  # an answer may have their sizes by chance
        # Grown along another axis than the samples, a state comes back with other sizes.
        if many.count(after[index].shape) < states:
            return False
    return True


def _opened_wide(
    module: torch.nn.Module, given: Call, axes: Any, tell: Callable[[str], None]
) -> ExportedProgram | None:
    """The program with all of these axes open; None where it, or the module, does not take longer examples.

    It is exported on as many frames as the examples have, since an exporter to ONNX may fix them yet. Where a result
    has one frame, the program would take no more: then it is not made.
    """
    longer = lengthened(given, axes, _ROOM)
    if longer is None or _has_fixed_frames(module, given, longer):
        return None
    tell("program with open frames")
    with suppress(CaptureError):
        # Axes of one entry grow to two here; frames keep their number.
        program = export(module, *_fresh(lengthened(given, axes, None) or given), axes)
        tell("comparing the program with the network")
        if _leaves_open(program, given, axes) and _agrees_in_the_end(program, module, given, longer):
            _agrees_unguarded(program, module, given, longer, shortened(given, axes))
            program.example_inputs = given
            return program
    return None


def _has_fixed_frames(module: torch.nn.Module, given: Call, longer: Call) -> bool:
    """Whether the module refuses longer examples, or has results of one frame that have more for these."""
    answers = _answers(module, given, longer)
    if answers is None:
        return True
    for one, other in zip(*answers, strict=False):
        if any(size == 1 < more for size, more in zip(one.shape[1:], other.shape[1:], strict=False)):
            return True
    return False


def _leaves_open(program: ExportedProgram, given: Call, axes: Any) -> bool:
    """Whether all of these axes of the inputs are open in the program."""
    leaves, structure = pytree.tree_flatten(given)
    by_tensor = list[tuple[int, ...]]()
    for leaf, open_axes in zip(leaves, axes_by_leaf(structure, axes), strict=True):
        if isinstance(leaf, torch.Tensor):
            by_tensor.append(tuple(open_axes or ()))
    return is_open_along(program, by_tensor)


def _agrees_in_the_end(program: ExportedProgram, module: torch.nn.Module, given: Call, other: Call) -> bool:
    """Whether the program does on both calls what the module does, if need be without guards against one entry."""
    return agrees(program.module(), module, given, other) or _agrees_unguarded(program, module, given, other)


def _agrees_unguarded(program: ExportedProgram, module: torch.nn.Module, *calls: Call) -> bool:
    """Whether the program without its guards against one entry does what the module does; else they stay in it."""
    guards = guards_of(program)
    if not without_guards_against_one(program):
        return False
    if agrees(program.module(), module, *calls):
        return True
    put_back(program, guards)
    return False


def _fresh(example: Call) -> Call:
    """Other tensors of the same values: torch.export marks those it is given, and keeps to the marks."""
    return pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.detach().clone(), (*example,))


def taken_by(program: ExportedProgram) -> Callable[[Call], bool]:
    """Whether the program, with all its checks of sizes, runs on a call."""

    @cache
    def ready() -> torch.nn.Module:
        """The program as a module, made where a call is asked about."""
        return program.module()

    def takes(call: Call) -> bool:
        """Run it; whatever it says, it does not take the call."""
        args, kwargs = _fresh(call)
        with quiet(), torch.no_grad(), suppress(Exception):
            ready()(*args, **kwargs)
            return True
        return False

    return takes


def _takes(module: torch.nn.Module, call: Call) -> bool:
    """Whether the module itself runs on a call."""
    return _answers(module, call) is not None


def _answers(module: torch.nn.Module, *calls: Call) -> list[list[torch.Tensor]] | None:
    """The module's answers to every call by itself; None where it does not take one of them."""
    try:
        with quiet(), Runner(module) as runner:
            return [tensors_in(runner.run([_fresh(call)]).steps) for call in calls]
    except Exception:  # noqa: BLE001 - whatever it says, it does not take the call
        return None


def _guards_against(graph: torch.nn.Module, call: Call) -> bool:
    """Whether a guard of a program refuses a call. Its guards are looked at before anything is computed."""
    try:
        with quiet(), Runner(graph, itself=True) as runner:
            runner.run([_fresh(call)])
    except ModelRunError as error:
        return isinstance(error.__cause__, AssertionError) and str(error.__cause__).startswith(_GUARD)
    except Exception:  # noqa: BLE001 - it refuses the call for another reason
        return False
    return False


def agrees(graph: torch.nn.Module, module: torch.nn.Module, *examples: Call) -> bool:
    """Whether the graph of a program gives the module's results on all examples, in values and shapes.

    A trace at other sizes may have left a branch out without a guard (`squeeze` of what may be one sample).
    """
    different = list({id(example): example for example in examples}.values())
    try:
        with quiet(), Runner(graph, itself=True) as first, Runner(module) as second:
            return all(_agree(first, second, example) for example in different)
    except Exception:  # noqa: BLE001 - whatever it says, it does not take the examples
        return False


def _agree(graph: Runner, module: Runner, example: Call) -> bool:
    """Whether both give as many results on one example, all of them near."""
    ours = tensors_in(graph.run([_fresh(example)]).steps)
    theirs = tensors_in(module.run([_fresh(example)]).steps)
    return len(ours) == len(theirs) and all(map(_near, ours, theirs))


def _near(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether values are equal up to half of the digits: kernels of a graph may differ from those of the module."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not (one.is_floating_point() or one.is_complex()) or not one.numel():
        return one.equal(other)
    # Half of the digits of the largest value. Infinite values are compared by `allclose` as they are.
    scale = torch.nan_to_num(one.abs(), posinf=0.0).max()
    bound = float(scale) * torch.finfo(one.dtype).eps ** 0.5
    return torch.allclose(one, other, rtol=0, atol=bound, equal_nan=True)
