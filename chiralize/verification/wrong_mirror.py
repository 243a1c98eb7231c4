"""Refusing to convert under a mirror that a network shows not to be its own, and what to look at first.

`mirror_evidence` has asked the network; here the answer becomes a refusal (MirrorError) with a remedy. Doubts about the
inputs come before those about T: on inputs that the network cannot read, no mirror fits.
"""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.body.tensors import ConversionSpec, TensorEntry
from chiralize.errors import MirrorError
from chiralize.errors.words import listed, when
from chiralize.graph.mirror import FITS, MirrorFit
from chiralize.graph.running import Call
from chiralize.problem.cost import BATCH, affordable_samples
from chiralize.problem.data.cutting import tensors, thinned
from chiralize.problem.data.foreign import IN_ITS_UNIT, foreign_unit, is_of_its_kind
from chiralize.problem.data.missing_joints import fill_in_first
from chiralize.problem.mirror import mirror_if_known
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.verification.asymmetry import asymmetry
from chiralize.verification.asymmetry.uneven import leaving_out, uneven_in_words
from chiralize.verification.evidence.blocks import block_to_check
from chiralize.verification.evidence.even_inputs import TURN, even_in_words
from chiralize.verification.evidence.names import BY_NAMES, names_of_entries, unpaired_by_names
from chiralize.verification.evidence.off_center import off_center
from chiralize.verification.evidence.one_class import one_class_first
from chiralize.verification.evidence.records import AT_A_POINT, LIE_ABOUT, PAIRED, UNLESS_FOREIGN
from chiralize.verification.evidence.remedies import CHECK_ALL, first_remedy, pairs_first, sides_first
from chiralize.verification.verdicts import Evidence

_LARGE = 100.0
"""Numbers beyond this are no metres, radians or normalised coordinates."""
_BADLY_TRAINED = (
    "consider that the network may be badly trained or know one side only, since no other mirror that was tried fits "
    "clearly better: --method average --force averages its two views, whose error tells"
)
_SEVERAL_AT_ONCE = (
    ": several may be wrong at once, or the specification is of another body, since none of the mirrors that were "
    "tried fits"
)
_SAY_THE_POINT = "say the point that answers lie about first; then "
_OPPOSITE = 2.0
"""The gap of answers that are the opposite of what T predicts, about the point that T mirrors them at."""
_INPUTS_FIRST = (
    "check first that the inputs are those that the network knows, in order, sign and unit, since its two answers are "
    "further apart than opposite ones; then "
)
_PAIR_OR_RENAME = (
    "pair them wherever a skeleton leaves them out, or give other names to joints that are no partners; --force "
    "converts all the same"
)
_NAMED = 10
"""Pairs that a refusal names."""
_USUAL = 0.25
"""The gap that the right mirror mostly has at most."""
_ROWS = 256
_WORK = 1e10  # multiplications to spend on where the gap is


def refuse_wrong_mirror(problem: Problem, name: str, asked: Evidence, remembered: str = "") -> None:
    """Raises MirrorError where the network, on real inputs, shows that T is not its mirror.

    A start to train on is let through.  remembered: what to check first where no other mirror fits, since what the
    network remembers of its training contradicts T; ending in `; then `.
    """
    fit = asked.fit
    if fit is None or not fit.is_refuted or problem.request.force or problem.method.is_trained_on:
        return
    network, inputs = problem.network, problem.batches.given
    mirror = mirror_if_known(network, None)
    against = names_of_entries(mirror).warnings if mirror is not None else ()
    facts, first = "; ".join((*asked.warnings, *against)), _first_to_check(network, inputs, fit, bool(against))
    # What may come first besides is asked only while no other mirror fits: one that does is the better remedy.
    # An angle that answers lie about is no point to mirror at where they are further apart than opposite ones.
    beside = [warning for warning in asked.warnings if LIE_ABOUT in warning]
    is_beside = any(fit.gap <= _OPPOSITE or not warning.endswith(UNLESS_FOREIGN) for warning in beside)
    first = first or when(not fit.fits_another, when(is_beside, _SAY_THE_POINT) or remembered)
    calls = thinned(network, inputs, affordable_samples(network, _WORK, BATCH, _ROWS))
    if mirror is not None and calls and not network.carried.keeps_state:
        gaps = asymmetry(network.module, mirror, calls, network.resolved.output_tensors)
        facts += uneven_in_words(gaps)
        if not first and not fit.fits_another:
            first = leaving_out(gaps, FITS, "--method average --force")
        unpaired = pairs_first(network.resolved.spec.skeleton, network.resolved.input_tensors)
        first = first or when(not fit.fits_another, unpaired)
    first = first or when(fit.gap > _OPPOSITE, when(not fit.fits_another, _INPUTS_FIRST))
    raise MirrorError(name, facts, first + _remedy(fit, network.resolved.spec))


def refuse_unpaired_names(problem: Problem, name: str) -> None:
    """Raises MirrorError where T leaves joints in their places that are partners by their names, and swaps others so.

    The network is not asked: one that learned one side fits such a mirror better than the right one.
    """
    apart = unpaired_by_names(problem.network.resolved)
    if not apart or problem.request.force:
        return
    facts = (
        f"T leaves {listed(apart, _NAMED)} in their places, whose names say that they are left and right partners, and "
        "swaps others by their names"
    )
    raise MirrorError(name, facts, _PAIR_OR_RENAME)


def _first_to_check(network: Network, inputs: Sequence[Call], fit: MirrorFit, is_against_names: bool) -> str:
    """What to look at before other mirrors: the inputs, names that T contradicts, or single blocks; "" elsewhere."""
    if of_inputs := inputs_to_check(network, inputs, fit):
        return of_inputs
    # Where the nearest mirror changes pairs itself, it is the remedy, and the names need not be repeated.
    is_named = fit.nearest.startswith(BY_NAMES) or PAIRED in fit.nearest
    if is_against_names and fit.nearest_gap > _USUAL and not is_named:
        return "swap first what the names tell, or rename it; then "
    if fit.nearest_gap > FITS:
        return block_to_check(network.resolved, thinned(network, inputs, _ROWS))
    return ""


def _even_first(network: Network, inputs: Sequence[Call]) -> str:
    """That other inputs are to be given first, where these are nearly their own mirror images; "" elsewhere."""
    even = even_in_words(network.resolved, mirror_if_known(network, None), thinned(network, inputs, _ROWS))
    return f"{TURN}; then " if even else ""


def inputs_to_check(network: Network, inputs: Sequence[Call], fit: MirrorFit) -> str:
    """The first remedy where inputs hold a number for missing joints, are nearly their own mirror images, are of one
    class, are away from the point that T mirrors them at (unless another mirror settles it), or are of another unit; ""
    elsewhere.

    Of another unit they may be where T is linear and they reach numbers as of pixels or millimetres: few networks read
    such numbers as they are, and one that was trained on others answers them anyhow.
    """
    if first := fill_in_first(network.resolved, inputs) or _even_first(network, inputs):
        return first
    if foreign_unit(network, inputs):
        return f"{IN_ITS_UNIT} first; then "
    if of_one := one_class_first(network, inputs):
        return of_one
    # Inputs away from the point: unless another mirror leaves nothing to explain and does not say the same itself.
    away = off_center(network.resolved, thinned(network, inputs, _ROWS))
    if away and (not fit.is_settled or AT_A_POINT in fit.nearest):
        return away
    if network.resolved.is_affine or is_of_its_kind(network, inputs):
        return ""
    reach = 0.0
    for call in thinned(network, inputs, _ROWS):
        for tensor in tensors(call):
            if tensor.is_floating_point() and tensor.numel():
                reach = max(reach, float(tensor.abs().max()))
    if reach <= _LARGE:
        return ""
    return f"check the unit of the inputs first, which reach {reach:.3g} (pixels, millimetres, degrees?); then "


def _remedy(fit: MirrorFit, spec: ConversionSpec) -> str:
    """The first thing to check. A policy may have learned one side only; its robot model shows whether T of an
    observation is right.
    """
    first, is_named = first_remedy(fit, spec), fit.fits_another or fit.nearest_is_first
    if of_sides := sides_first(fit):
        first, is_named = of_sides, False
    elif not is_named:
        first = f"{_BADLY_TRAINED}; else {first}" + when(fit.has_a_nearer, _SEVERAL_AT_ONCE)
    elif first == CHECK_ALL:
        first += _SEVERAL_AT_ONCE
    is_in_blocks = _has_fields(spec.inputs) and _has_fields(spec.outputs)
    if is_in_blocks and len(spec.skeleton.dims) == 1:  # a robot, one number a joint
        first += "; `chiralize skeleton check --robot ROBOT.xml SPEC.yaml` and `audit --rollout` say whether T is right"
    if not is_named:
        return f"{first}; `chiralize audit` measures it again, and says which side it knows"
    return (
        f"{first}; `chiralize audit` measures it again. If T is right, the network knows one side only, or the inputs "
        "are of another kind than those it was trained on; --force converts all the same"
    )


def _has_fields(entries: Sequence[TensorEntry] | None) -> bool:
    """Whether some tensor is described block by block."""
    return any(entry.fields for entry in entries or ())
