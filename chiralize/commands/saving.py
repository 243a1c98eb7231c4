"""`chiralize.save`: a module with a mirror as a file, as `chiralize convert -o` writes one.

The module may have been trained on since it was converted, so that its passport is a claim, which is checked first:

    all files                    every weight is what the mirror leaves alone (`belonging.check_symmetric`)
    .pt2, .onnx                  exported, run on x and T x, and proved; then written
    weights, linear mirror       written as they are
    weights, mirror at a point   run and proved, too: biases hold an offset that the first check cannot judge
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from chiralize.commands.belonging import as_folded, check_symmetric, fitted, has_blocks
from chiralize.commands.chirality import Chirality
from chiralize.commands.chirality import chirality as known_chirality
from chiralize.commands.guard import refuse_graph
from chiralize.commands.records import Result
from chiralize.commands.several.judging import judge_each
from chiralize.commands.writing import (
    changed_constants,
    refuse_lost,
    refuse_other_forms,
    write_program,
    write_weights,
)
from chiralize.errors import UsageError
from chiralize.graph.copies import unwrapped
from chiralize.graph.dtypes import floats
from chiralize.graph.running import Call
from chiralize.nn import dense_state
from chiralize.nn.deploy.layers import BLOCKS
from chiralize.nn.symmetric import in_blocks, tensors_by_name
from chiralize.nn.two_view import TwoView
from chiralize.problem.network import Network
from chiralize.problem.partial import prepare
from chiralize.problem.several import under_each
from chiralize.report import VerifyReport, raise_for_failure
from chiralize.storage.atomic import check_writable
from chiralize.storage.passport import Passport
from chiralize.storage.suffixes import GRAPHS, check_suffix
from chiralize.verification.judge import Verdict, judge
from chiralize.verification.verdicts import Judgement

_INSTEAD = "convert with method='match', form='folded' or 'blocks'"
_SAMPLES = 2  # random inputs of the verdict: weights were looked at one by one before


def save(
    chiral: torch.nn.Module,
    path: str | Path,
    example_inputs: Sequence[Any] | Tensor | None = None,
    example_kwargs: Mapping[str, Any] | None = None,
) -> Path:
    """Write a module with its mirror as `chiralize convert -o PATH` would; the path.

    chiral: a result of `chiralize`, trained on or not, or what `load` and `attach` gave.
    path: .pt2 or .onnx hold the whole network, .safetensors and .pt its weights (of blocks, the dense ones).
    example_inputs, example_kwargs: arguments of one call, those of the conversion by default. The network is run on
    them and proved for .pt2 and .onnx, and for all files where coordinates are mirrored at a point other than 0
    (pixels), of which weights alone do not tell whether they are symmetric.
    The file is written whole or not at all, of a network that is equivariant as it now stands.
    Raises UsageError where the module has no mirror or the file cannot hold it, AsymmetricWeightError and
    EquivarianceError where training broke the symmetry, CaptureError, ExportError, ParityError, OutputFileError.
    """
    chirality, module, target = known_chirality(chiral), unwrapped(chiral), Path(path)
    # What the path rules out is said before the network is run.
    check_writable(target)
    check_suffix(target, "save")
    check_symmetric(fitted(chirality.passport, module, "save"), module)
    # Weights alone, or the whole network as it will be exported and judged below.
    weights = None if target.suffix in GRAPHS else _weights(module, chirality, target)
    # The check above has looked at every weight; with a mirror at 0 that is all there is to symmetric weights.
    if weights is not None and not chirality.passport.spec.is_affine:
        write_weights(*weights, target)
        return target
    example = _example(module, chirality, example_inputs, example_kwargs)
    network = _prepared(module, chirality.passport, example)
    if weights is None:
        refuse_graph(network)
    # The network is run on x and T x once more, with the weights that it has now.
    verdict = _judged(network, chirality.passport, type(module).__name__)
    if weights is None:
        _write_graph(network, verdict, chirality.passport, example, target)
    else:
        write_weights(*weights, target)
    return target


def _weights(module: torch.nn.Module, chirality: Chirality, target: Path) -> tuple[Mapping[str, Tensor], Passport]:
    """The weights that a file holds, and its passport. Raises UsageError where the file cannot hold the module."""
    if chirality.report is None and isinstance(module, torch.fx.GraphModule):
        facts = f"the module is a graph that was read from a file, {target.suffix} holds weights only"
        raise UsageError("save", facts, "write a .pt2; or fill a module of the original class, and attach its mirror")
    changed = changed_constants(chirality.report) if chirality.report is not None else []
    if chirality.others and chirality.form in BLOCKS:
        facts = f"{target.suffix} holds dense weights, and blocks of several mirrors are not put together again"
        raise UsageError("save", facts, "write a .pt2, or convert with --form folded")
    # A file of weights holds dense ones, which fit the original's class.
    if not has_blocks(module):
        state, passport = module.state_dict(), chirality.passport
    else:
        state = dense_state(module)
        others = [name for name in tensors_by_name(module) if not in_blocks(module, name)]
        passport = as_folded(chirality.passport, {*state, *others})
    refuse_other_forms(passport.form, target, "save", _INSTEAD)
    refuse_lost(changed, state, target, "save")
    return state, passport


def _example(
    module: torch.nn.Module,
    chirality: Chirality,
    args: Sequence[Any] | Tensor | None,
    kwargs: Mapping[str, Any] | None,
) -> Call:
    """A call of the module: the one given, or that of the conversion in the precision that the module has by now.

    Raises UsageError where there is neither.
    """
    if args is not None or kwargs is not None:
        return (args,) if isinstance(args, Tensor) else tuple(args or ()), dict(kwargs or {})
    example = chirality.example or chirality.passport.example
    if example is None:
        facts = "nobody knows its inputs: it was not converted here, and its file holds weights only"
        raise UsageError("save", facts, "give the arguments of one call: save(module, path, example_inputs=(x,))")
    # After `module.double()` or `.half()` the example of the conversion would not run.
    kinds = floats(list(module.parameters()))
    if len(kinds) != 1:
        return example
    (kind,) = kinds
    return tree_map_only(Tensor, lambda x: x.to(kind) if x.is_floating_point() else x, example)


def _prepared(module: torch.nn.Module, passport: Passport, example: Call) -> Network:
    """The module made ready; a graph and two views have forward alone, whatever method was converted."""
    is_whole = passport.is_average or isinstance(module, (TwoView, torch.fx.GraphModule))
    return prepare(module, passport.spec, *example, "forward" if is_whole else passport.entry)


def _judged(network: Network, passport: Passport, name: str) -> Verdict:
    """The verdict on the network as it now stands. Raises EquivarianceError, and why there is no proof."""
    if network.others.further:
        networks = under_each(network)
        verdicts = judge_each(networks, {name: passport.under(name) for name in networks}, samples=_SAMPLES)
        verdict = replace(verdicts.main, numeric=verdicts.numeric)
    else:
        verdict = judge(network, passport, samples=_SAMPLES)
    raise_for_failure(VerifyReport(name, Judgement(verdict.numeric, verdict.certificate)))
    if verdict.unproved is not None and not passport.is_average:
        raise verdict.unproved
    return verdict


def _write_graph(network: Network, verdict: Verdict, passport: Passport, example: Call, target: Path) -> None:
    """Write what was exported and judged. Raises CaptureError, ExportError, ParityError, OutputFileError."""
    if target.suffix == ".onnx":
        from chiralize.commands.onnx import write_module

        write_module(Result(network.module, network.program, passport, verdict.mirror), network, example, target)
    else:
        write_program(_program(network), passport, target)


def _program(network: Network) -> torch.export.ExportedProgram | None:
    """The program that was judged; None where there is none, or where only one branch of it was followed."""
    if network.captured is None:
        return None
    return network.program
