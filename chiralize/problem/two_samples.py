"""A network made ready on examples that are not the user's: on two samples where one would fix its batch.

`torch.export` may take a batch of 1 for a constant: the program of an example of one sample refuses two.
Examples that were derived, or drawn for given sizes, are the tool's own choice, so that two samples may be tried.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import torch
from torch.export import ExportedProgram

from chiralize.body.tensors import ConversionSpec
from chiralize.errors import ChiralizeError, ModelRunError
from chiralize.graph.copies import is_large
from chiralize.graph.fixed_sizes import fixed_sizes, input_values
from chiralize.graph.open_sizes import agrees
from chiralize.graph.other_sizes import is_open
from chiralize.graph.running import Arguments, Call, Runner, results
from chiralize.graph.silence import quiet
from chiralize.problem.axes import batch_axes
from chiralize.problem.network import Network
from chiralize.problem.partial import prepare
from chiralize.problem.preparation import TWO_MAY
from chiralize.problem.progress import Progress, silent

TWO_AND_MORE = "exported, it takes two samples and more, not one"
NOT_ONE = (
    f"{TWO_AND_MORE}: torch.export makes of its class a program for one sample or "
    "one for more; example inputs of one sample ({option}) give the other"
)


def prepared_openly(
    model: torch.nn.Module | ExportedProgram,
    spec: ConversionSpec,
    call: Call,
    entry: str = "forward",
    progress: Progress = silent,
    option: str = "--input-shape",
) -> Network:
    """The network made ready on a call of one sample, or on two of it where the program of one takes no other batch.

    Networks that keep a state stay as they are: their answers come one by one.  option: how the user gives sizes.
    Raises as `prepare`.
    """
    network = prepare(model, spec, *call, entry, progress)
    if not (_fixes_one(network) or _squeezes(network, call)):
        return network
    # The larger program counts only if it leaves the batch open. It may still refuse one sample, which is said.
    with suppress(ChiralizeError):
        larger = prepare(model, spec, *_doubled(network, call), entry, progress)
        if larger.captured is not None and larger.program is not None and is_open(larger.program):
            if agrees(larger.program.module(), network.module, call):
                return larger
            return larger.with_notes(NOT_ONE.format(option=option))
    return replace(network, notes=tuple(note.replace(TWO_MAY, "") for note in network.notes))


def _fixes_one(network: Network) -> bool:
    """Whether the program of a class takes one sample alone.

    False where two samples cannot be tried: the user gave the program, a trace, a claimed part, or a state.
    """
    program, captured = network.program, network.captured
    if (
        program is None
        or captured is None
        or network.origin.from_program
        or network.origin.traced
        or not network.has_rows
    ):
        return False
    if network.rows != 1 or network.handover.partial is not None or network.origin.unheld or captured.mutations:
        return False
    tensors = network.resolved.input_tensors
    if any(tensor.kind == "state" for tensor in tensors):  # whose batch may be another axis than the first
        return False
    sizes = zip(tensors, map(fixed_sizes, input_values(program)), strict=False)
    return any(tensor.has_rows and fixed and fixed[0] == 1 for tensor, fixed in sizes)


def refuse_squeezed(network: Network, name: str) -> None:
    """Raise ModelRunError for examples of one sample where answers to several have more axes."""
    if _squeezes(network, network.example):
        facts = (
            "its answers to one sample have fewer axes than those to two (squeeze() drops the batch, squeeze(-1) not)"
        )
        raise ModelRunError(name, facts, "give example inputs of two samples: --input-shape 2,...")


def _squeezes(network: Network, call: Call) -> bool:
    """Whether answers to one sample have fewer axes than those to two, as of a network that ends in squeeze()."""
    if (
        network.rows != 1
        or not network.has_rows
        or network.origin.from_program
        or network.origin.unheld
        or network.carried
    ):
        return False
    if is_large(network.module) or None in (*network.resolved.inputs, *network.resolved.outputs):
        return False
    with suppress(Exception), quiet(), Runner(network.module) as runner:  # it need not take two samples
        # squeeze() of (1, 17, 1) is (17,), of (2, 17, 1) it is (2, 17).
        one, two = (results(runner.run([each]).steps[0])[0] for each in (call, _doubled(network, call)))
        return any(single.ndim < double.ndim for single, double in zip(one, two, strict=True))
    return False


def _doubled(network: Network, call: Call) -> Call:
    """The call with every sample twice: along the first axis that may be the batch, where sizes of 1 do not tell."""
    arguments = Arguments.of(*call)
    tensors = list(arguments.tensors)
    for index, axes in enumerate(batch_axes(network.resolved)):
        for axis in axes[:1]:
            if tensors[index].shape[axis] == 1:
                tensors[index] = torch.cat([tensors[index]] * 2, axis)
    args, kwargs = arguments.filled(tensors)
    return tuple(args), dict(kwargs)
