"""The Python interface: `chiralize`, `verify`, `plan`, `audit`.

Each does four things: read the specification, make the network ready (`on_examples.prepared`), turn the user's inputs
into calls of the network (`_calls`), and run the command of the same name on that. The command line does the same with
files (`cli/opening`). Reports are returned; what they warn of goes through `warnings.warn` as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.export import ExportedProgram

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ConversionSpec, load_spec
from chiralize.commands.aligning import aligned
from chiralize.commands.audit import audit as _audit
from chiralize.commands.chirality import Chirality, chirality_of, put_on
from chiralize.commands.convert import Request, convert
from chiralize.commands.on_examples import name_of, prepared
from chiralize.commands.plan import plan as _plan
from chiralize.commands.progress import shown
from chiralize.commands.rollouts import EPISODES, STEPS, EnvironmentMaker, Episodes, Loop, environment_of
from chiralize.commands.verify import verify as _verify
from chiralize.errors import UsageError, warn_of
from chiralize.graph.devices import CPU, device_of, moved
from chiralize.graph.rollouts import Steps
from chiralize.graph.running import Call
from chiralize.nn.deploy.export import example_call
from chiralize.nn.two_view import TwoView
from chiralize.problem.data.cutting import check_array, check_body
from chiralize.problem.data.feeds import joined, uncarried
from chiralize.problem.data.from_python import calls_of
from chiralize.problem.data.sequences import sequences_of
from chiralize.problem.data.shapes import input_names
from chiralize.problem.named_tensors import batches_of_table
from chiralize.problem.network import Network
from chiralize.problem.preparation import check_model
from chiralize.problem.progress import Progress
from chiralize.problem.stateful import SAMPLES_ALONE, reading_of
from chiralize.report import AuditReport, PlanReport, VerifyReport
from chiralize.storage import former_names
from chiralize.storage.passport import Passport

Model = torch.nn.Module | ExportedProgram
Spec = str | Path | Mapping[str, Any] | Skeleton | ConversionSpec
Calibration = torch.Tensor | npt.NDArray[Any] | Iterable[Any]


def chiralize(
    model: Model,
    spec: Spec,
    example_inputs: Sequence[Any] | torch.Tensor = (),
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    method: str = "auto",
    form: str = "auto",
    on_blocked: str = "refuse",
    symmetrize_constants: bool = False,
    keep_statistics: bool = False,
    calibration: Calibration | None = None,
    sequence_axis: int | None = None,
    mix_gaussian: float = 0.0,
    align: str | Sequence[str] | None = None,
    width: float | None = None,
    rounds: int | None = None,
    distill: int = 0,
    distill_checkpoint: str | Path | None = None,
    max_drift: float | None = None,
    max_shift: float | None = None,
    rollout: EnvironmentMaker | None = None,
    episodes: int = EPISODES,
    steps: int = STEPS,
    double: bool = False,
    samples: int | None = None,
    entry: str = "forward",
    input_layouts: Sequence[str] = (),
    output_layouts: Sequence[str] = (),
    invariant: bool = False,
    force: bool = False,
    tune: bool = False,
    progress: bool | Progress | None = None,
) -> torch.nn.Module:
    """An exactly equivariant network made from a trained one. `model` itself is not touched.

    The result carries its mirror and its report in the attribute `chirality`.

    model: on any device. It is converted on the CPU, and the result comes back to that device; `distill` runs there.
    spec: a skeleton's name, a file, a dict with the keys of one, a Skeleton or a ConversionSpec.
    example_inputs: the arguments of one call; a tensor is the only argument. Left out, they are derived: from what an
    exported program brings, from sizes that the specification fixes, else from the layouts in which poses are usually
    stored. The first layout counts under which the network runs and its answers have a layout, too. The report opens
    with what was taken.
    example_kwargs: the arguments of that call that go by name.
    method: `auto` takes the narrowest `reduce` within `max_drift`, and the average where there is none. `reduce` keeps
    a share of the hidden units and gives each a mirror image. `average` runs both views: exact, two passes. `match`
    finds a partner for every unit, and refits the weights where there are inputs. `project` imposes the pairs of the
    specification.
    form: how layers are written. `folded` keeps the model's class and keys. `blocks` puts layers of `chiralize.nn` into
    its class: half the arithmetic, and equivariant under training (other weights by `keep_symmetric`). `fused` is a
    graph for inference with norms folded in. `dense` is what `reduce` keeps, in plain layers. `auto` takes blocks where
    they are faster.
    on_blocked: what `match`, `project` and `reduce` do about a part that cannot be equivariant. `refuse` it, `average`
    both views through that part (not for `reduce`), or `average-all`, as `auto` does by itself.
    symmetrize_constants: change stored constants that the mirror does not leave alone.
    keep_statistics: never change means and variances (of normalisers and batch norms). Where the mirror would have to
    change them, only the average is left.
    calibration: unlabelled inputs to fit and to measure on. A tensor or array "sample ...", of which
    `np.load(path, mmap_mode="r")` stays on the disk. Or batches: tensors, tuples of arguments, dictionaries by name,
    and of pairs (input, target) the inputs, where the network takes one argument. A sequence of batches is used as it
    is. Any other iterable, such as a DataLoader, is run through once: its first 50,000 samples are stored, beyond 256
    MB in temporary files. Networks that keep a state, or read their own answers, take sequences: an array
    "sequence time ..." or a list of arrays "time ...". They are judged along them, up to 200 steps.
    Without calibration, inputs are drawn: with the mean and covariance that the network's first batch norm remembers,
    where it determines them, else from built-in poses of people, where these suit the network. The report says so.
    sequence_axis: the axis of time in `calibration`, 0 for "time sequence ...". It may be an axis of the input itself
    where one call reads many frames.
    mix_gaussian: share of drawn samples to be mixed with inputs that are poorly spread, for example 0.5.
    align: for networks on pictures whose layers do not fit the reversed width. `pad` makes the pictures wider. `kernel`
    makes strided kernels wider, and keeps all answers. `resample` moves the maps of both views half-way to each other,
    by the shift that `audit` measures on `calibration`; `resample=0.75` states that shift. "kernel,resample" does both.
    width: share of the hidden units that `reduce` keeps, 0.5 by default.
    rounds: how often all layers are fitted together after the fit layer by layer, by Gauss-Newton; 0 for never, and for
    no training that is not asked for. By default what a minute allows, of the one or the other.
    distill: steps of training towards the original's answers, without labels.
    distill_checkpoint: file that keeps the state of that training, so that an interrupted run goes on.
    max_drift: refuse a larger rho. Without it `auto` and `reduce` keep to 1.25, the others to nothing.
    max_shift: refuse a result of which a joint is further from the original's flip average, as root mean square in the
    unit of the output.
    rollout: what returns a gymnasium environment, or "package.module:function". The result is run in it beside the
    original, for `steps` steps from `episodes` starts and their mirror images, and refused where it returns less than
    0.9 of that; `auto` goes on to the next candidate. Without calibration, what the original sees there is fitted on.
    double: policies run in float64.
    samples: how many random inputs the numeric verdict is run on; 8 without it, fewer of a costly network.
    entry: the method to be called in place of `forward`.
    input_layouts, output_layouts: a layout for each tensor, such as "b t j d", "b (j d)", `free` or `state`, where the
    specification has none.
    invariant: the outputs are scores that the mirror leaves alone.
    force: hand over results that are far off, lost left and right, or were fitted on foreign inputs.
    tune: time every layer here, and use blocks where they are faster.
    progress: True shows on standard error what is being done, None on a terminal alone. Or a function that is called
    with each step, and with how much of it is done (0 to 1, or None).

    Under `torch.distributed` every process calls this with its own share of the batches, dealt out in turns, and gets
    the same weights.
    Threads take turns: conversions and verifications wait for each other. Other threads notice nothing, with one
    exception. torch.export sets torch's shared random number generator back to where it was when the export began. A
    thread that draws from it meanwhile may draw the same numbers twice, unless it has a generator of its own.
    Warns, one topic at a time, of what the report warns of: MirrorWarning, DriftWarning, ... (ChiralizeWarning).
    Raises ChiralizeError: SpecError, UnsupportedError, EquivarianceError, DriftError beyond `max_drift` or `max_shift`
    among others. What `calibration` raises when it is read comes out as it is.
    """
    loaded = load_spec(spec, input_layouts=input_layouts, output_layouts=output_layouts, invariant=invariant)
    check_model(model)
    checkpoint = Path(distill_checkpoint) if distill_checkpoint else None
    request = Request(method, form, on_blocked, (), width, distill, max_drift, samples, force)
    request = replace(request, rounds=rounds, mix=mix_gaussian, max_shift=max_shift, tune=tune, checkpoint=checkpoint)
    request = replace(request, symmetrize_constants=symmetrize_constants, keep_statistics=keep_statistics)
    with ExitStack() as stack:
        step = stack.enter_context(shown(progress))
        step("exporting")
        network = prepared(model, loaded, example_inputs, example_kwargs, entry, progress=step, calibration=calibration)
        # Conversions run on the CPU; the result goes back to where the model is.
        home = device_of(model)  # anything that is no network has been refused before
        step("reading the inputs")
        calls, sequences, remarks = uncarried(_calls, calibration, network, "calibration", sequence_axis)
        # An environment decides on results, and shows inputs where there are none.
        trial = None
        if rollout is not None:
            loop = stack.enter_context(_loop(network, rollout, Episodes(episodes, steps, double), step))
            trial = loop.trial(force)
            if calibration is None:
                calls, sequences, seen = loop.observations()
                remarks = (f"fitted on {seen}",)
        remarks = (*request.remarks, *remarks)
        # After the inputs are read: the shift of maps is measured on them, and wider pictures change them.
        network, calls = aligned(network, calls, align)
        request = replace(request, calibration=calls, sequences=sequences, remarks=remarks, device=home, progress=step)
        conversion = uncarried(convert, network, name_of(model), request, trial, _passport_of(model, loaded))
    result = conversion.module if home == CPU else moved(conversion.module, home)
    example = example_call(network, isinstance(result, TwoView))
    # From here on the module knows its mirror: verify, save and training read it there.
    put_on(result, Chirality(conversion.passport, conversion.report, example))
    warn_of(conversion.report.cautions, 2)
    return result


def verify(
    model: Model,
    spec: Spec | None = None,
    example_inputs: Sequence[Any] | torch.Tensor = (),
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    samples: int | None = None,
    calibration: Calibration | None = None,
    tolerance: float | None = None,
    entry: str = "forward",
    input_layouts: Sequence[str] = (),
    output_layouts: Sequence[str] = (),
    invariant: bool = False,
    progress: bool | Progress | None = None,
) -> VerifyReport:
    """Both verdicts on a network; `.passed`, or `.raise_for_failure()`.

    spec, example_inputs: a result of `chiralize` knows its own. For other networks example_inputs are derived where
    they are left out, as `chiralize` says.
    samples: how many random inputs the network is run on; 8 without it, fewer of a costly network.
    calibration: real inputs, as `chiralize` takes them; some of them are run as well.
    tolerance: the largest difference that counts as none, relative to the largest answer; by default what rounding
    explains.
    Warns of evidence against the mirror (MirrorWarning).
    Raises SpecError, ModelRunError, and UnsupportedError where a network that passes cannot be proved.
    """
    # A result knows its mirror and how its weights transform; another spec may be given all the same.
    chirality = chirality_of(model)
    if spec is None and chirality is not None:
        spec = chirality.passport.spec
    if spec is None:
        raise UsageError("verify", "no skeleton is given, and the model does not know its own", "pass spec='h36m'")
    loaded = load_spec(spec, input_layouts=input_layouts, output_layouts=output_layouts, invariant=invariant)
    passport = _passport_of(model, loaded)
    # A passport names the method that was converted; a result that is a graph has forward alone.
    if entry == "forward" and passport is not None and callable(getattr(type(model), passport.entry, None)):
        entry = passport.entry
    with shown(progress) as step:
        step("exporting")
        network = prepared(
            model, loaded, example_inputs, example_kwargs, entry, passport, step, calibration=calibration
        )
        calls, _, remarks = uncarried(_calls, calibration, network, "calibration")
        report = uncarried(
            _verify,
            network.with_notes(*remarks),
            name_of(model),
            passport,
            samples=samples,
            real=calls,
            tolerance=tolerance,
            progress=step,
        )
    warn_of(report.cautions, 2)
    return report


def plan(
    model: Model,
    spec: Spec,
    example_inputs: Sequence[Any] | torch.Tensor = (),
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    method: str = "match",
    calibration: Calibration | None = None,
    entry: str = "forward",
    input_layouts: Sequence[str] = (),
    output_layouts: Sequence[str] = (),
    invariant: bool = False,
    progress: bool | Progress | None = None,
) -> PlanReport:
    """The plan of a conversion: what it would do, op by op, and what stands in its way.

    method: `match` and `project` show what one pass can do.  `auto` and `average` run both views where an op refuses,
    and are stopped by random numbers alone; `reduce` is planned at width 1/2, before it chooses units.
    calibration: real inputs, as `chiralize` takes them: hidden units are paired by what they do on these.
    example_inputs: derived where they are left out, as `chiralize` says.
    """
    loaded = load_spec(spec, input_layouts=input_layouts, output_layouts=output_layouts, invariant=invariant)
    with shown(progress) as step:
        step("exporting")
        network = prepared(model, loaded, example_inputs, example_kwargs, entry, progress=step, calibration=calibration)
        calls, sequences, remarks = uncarried(_calls, calibration, network, "calibration")
        step("planning")
        return uncarried(_plan, network.with_notes(*remarks), name_of(model), method, calls, sequences)


def audit(
    model: Model,
    spec: Spec,
    example_inputs: Sequence[Any] | torch.Tensor = (),
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    calibration: Calibration | None = None,
    labels: Sequence[Any] = (),
    data: Calibration | None = None,
    rollout: EnvironmentMaker | None = None,
    chiral: Model | None = None,
    episodes: int = EPISODES,
    steps: int = STEPS,
    double: bool = False,
    entry: str = "forward",
    input_layouts: Sequence[str] = (),
    output_layouts: Sequence[str] = (),
    invariant: bool = False,
    progress: bool | Progress | None = None,
) -> AuditReport:
    """Measure the network's gap, and how far the data lean if given, and say whether to convert; changes nothing.

    example_inputs: derived where they are left out, as `chiralize` says.
    calibration: real inputs, as `chiralize` takes them (data: the former name).
    labels: of its samples, in order: how far those of each lean to one side.
    rollout: what returns a gymnasium environment, or "package.module:function": the policy, its flip average, and
    chiral, the converted policy, run in it for `steps` steps from `episodes` starts and from their mirror images.
    double: they run in float64, so that mirrored episodes do not part for what float32 rounds away.
    Warns of what speaks against the mirror (MirrorWarning), and of what goes wrong in the loop (LoopWarning).
    """
    loaded = load_spec(spec, input_layouts=input_layouts, output_layouts=output_layouts, invariant=invariant)
    names = list(map(str, labels))
    former = ()
    if data is not None:
        if calibration is not None:
            raise UsageError("data", "calibration is given as well, of which it is the former name", "leave it out")
        calibration, former = data, (former_names.remark("data=", "", "calibration="),)
    with ExitStack() as stack:
        step = stack.enter_context(shown(progress))
        step("exporting")
        network = prepared(model, loaded, example_inputs, example_kwargs, entry, progress=step, calibration=calibration)
        calls, sequences, remarks = uncarried(_calls, calibration, network, "calibration")
        loop = None
        if rollout is not None:
            loop = stack.enter_context(_loop(network, rollout, Episodes(episodes, steps, double), step))
            if calibration is None:
                calls, sequences, seen = loop.observations()
                remarks = (f"audited on {seen}",)
        network = network.with_notes(*former, *remarks)
        if isinstance(calibration, (torch.Tensor, np.ndarray)) and len(names) == len(calibration):
            names = names[: sum(map(network.samples_in, calls))]  # samples that fill no batch are left out
        report = uncarried(_audit, network, name_of(model), calls, labels=names, progress=step, sequences=sequences)
        if loop is not None:
            result = None if chiral is None else prepared(chiral, loaded, *network.example, entry)
            report = report.with_rollout(loop.record(result)[0])
    warn_of(report.cautions, 2)
    return report


def _passport_of(model: object, spec: ConversionSpec) -> Passport | None:
    """What a network that was converted before knows of this mirror; None for other networks."""
    chirality = chirality_of(model)
    if chirality is None:
        return None
    return chirality.passport.with_spec(spec)


def _loop(network: Network, maker: EnvironmentMaker, episodes: Episodes, progress: Progress) -> Loop:
    """The environment, with the original to run in it."""
    names = input_names(network.module, network.handover.entry)
    return Loop(network, environment_of(maker), names, episodes, progress)


def _calls(
    data: Calibration | None, network: Network, where: str, axis: int | None = None
) -> tuple[Sequence[Call], Sequence[Steps], tuple[str, ...]]:
    """Data as calls of the network, as sequences where it takes those, and remarks on them."""
    if data is None:
        return (), (), ()
    data = cast("Calibration", batches_of_table(data, network.args, network.resolved.spec))
    # Where these are no sequences after all, they are taken as samples, below; a remark says so for states.
    if network.carried or axis is not None:
        sequences = sequences_of(
            data, reading_of(network, input_names(network.module, network.handover.entry), axis), where
        )
        if sequences:
            calls = joined(*sequences)
            check_body(network, calls[0], where)
            return calls, sequences, ()
    names = input_names(network.module, network.handover.entry)
    check_array(network, data, where)
    calls, remarks = calls_of(data, (network.args, dict(network.kwargs)), where, names)
    check_body(network, calls[0], where)
    if network.carried:
        remarks = (*remarks, SAMPLES_ALONE)
    return calls, (), tuple(remarks)
