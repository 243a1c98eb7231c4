"""What the user asked to have changed in a network before hidden units are paired.

`match` and `project` prepare a problem by it: symmetric normalisers always, tanh where the specification asks for it
(it is odd, so that units may carry signs, as in the paper), constants as weights with `--symmetrize-constants`.
"""

from __future__ import annotations

from dataclasses import replace

from chiralize.graph import rewrite
from chiralize.infer.capture import capture
from chiralize.infer.registry import activations
from chiralize.methods.symmetric_norms import normalised
from chiralize.problem.mirror import with_tables
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem


def with_replaced_parts(problem: Problem, method: str) -> Problem:
    """The problem with symmetric normalisers; where that is wanted, other activations, and constants as weights."""
    network = _with_activation(normalised(problem, method))
    if problem.request.symmetrize_constants:  # never while it is judged
        network = with_tables(replace(network, treatment=replace(network.treatment, symmetrize=True)))
    return replace(problem, network=network)


def _with_activation(network: Network) -> Network:
    """The network with tanh in place of its activations, if the specification asks for it."""
    if network.resolved.spec.activation != "tanh":
        return network
    # Activations that are modules are replaced in the module, those that are called as functions in the program. A
    # program can hold both; after a change of the latter the module alone would lack it, so that the program counts.
    notes, program, graph = network.notes, network.program, network.captured
    module, count = rewrite.with_tanh(network.module)
    if program is not None:
        if not network.origin.from_program:
            program = network.program_of(module, network.example)
        program, functional = rewrite.program_with_tanh(program, activations())
        count += functional
        if functional and not network.origin.from_program:
            notes = (*notes, "activations were called as functions: the result is a graph module")
            network = replace(network, origin=replace(network.origin, from_program=True))
        if network.origin.from_program:
            module = program.module()
        graph = capture(program, network.args, network.kwargs)
    notes = (*notes, f"{count} activations replaced by tanh")
    return replace(network, module=module, program=program, captured=graph, notes=notes)
