"""From a path to a network: `load_model`. Nothing in the file runs unless `unsafe_pickle` says so.

program     .pt2: checked, and read by torch
weights     a table of weights, whatever trainer wrote it, put into the class that the user names
module      a pickled module, by consent
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from chiralize.errors import FactoryError, Finding, ModelFileError, NonFiniteError, UsageError
from chiralize.errors.words import listed
from chiralize.graph.quiet import quiet
from chiralize.graph.run import Call
from chiralize.storage import arguments as searching
from chiralize.storage.factory import (
    built,
    called_by,
    fill,
    importable,
    layers_of,
    name_of,
    parse_value,
    saved_arguments,
    taken,
    without_value,
)
from chiralize.storage.files import read
from chiralize.storage.formats import Source, source_of, trainer_of, unsafe
from chiralize.storage.passport import Passport
from chiralize.storage.policies import AUTO, policy_in
from chiralize.storage.pt2 import is_program, load_program, program_module
from chiralize.storage.script import is_script, load_script
from chiralize.storage.tables import (
    Expected,
    Fit,
    Table,
    choose,
    findings_of,
    fits,
    nearest,
    shapes_of,
    tables_in,
    tables_meant,
)
from chiralize.storage.torch_file import loaded_by_its_code

_ROWS = 2**22
"""Numbers that are looked at in one go, so that masks of truth values stay small: 4 MB."""


@dataclass(frozen=True)
class Wanted:
    """What the user said about the file.

    model: "package.module:attribute" that builds the network, the class or function, or a module; "auto" for the
    policy in a trainer's file.  args: its arguments,
    texts of YAML or values.  key: entry of a checkpoint that holds the weights, or the beginning of
    their names.  unsafe_pickle: the file's own code may run.
    """

    model: str | nn.Module | Callable[..., nn.Module] | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None
    unsafe_pickle: bool = False


@dataclass(frozen=True)
class Back:
    """How a result goes into the same kind of file.

    source: the file as it was read.  views: by the network's names, the tensors in it, to be written to.
    """

    source: Source
    views: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Loaded:
    """A network as it came from its file.

    module: in eval mode, on the CPU.  kind: of file.  program: of a `.pt2`.  example: the inputs that it brings along.
    passport: of an earlier conversion.  back: for weights, how a result goes back into such a file.
    """

    module: nn.Module
    path: Path
    kind: Literal["program", "script", "weights", "module"]
    program: torch.export.ExportedProgram | None = None
    example: Call | None = None
    passport: Passport | None = None
    findings: tuple[Finding, ...] = ()
    back: Back | None = None


def load_model(path: Path | str, wanted: Wanted | None = None) -> Loaded:
    """The network of a file.

    Raises ModelFileError, UnsafeFileError for a file that only its own code could restore, FactoryError for a class
    that cannot be built or does not fit, UsageError where options are missing, NonFiniteError.
    """
    path, wanted = Path(path), wanted or Wanted()
    content = read(path)
    if is_program(content):
        program, text = load_program(content)
        module = program_module(program, str(path))
        loaded = Loaded(module, path, "program", program, _example(program), _passport(text, path))
    elif is_script(content):
        script, text = load_script(content)
        loaded = Loaded(script, path, "script", passport=_passport(text, path))
    else:
        source = source_of(content)
        if wanted.model is None and wanted.unsafe_pickle and source.foreign:
            loaded = _pickled(source, path)
        else:
            loaded = _weights(source, wanted, path)
    _check_finite(loaded.module, str(path))
    return loaded


def _passport(text: str, path: Path) -> Passport | None:
    """The passport that travels in the file. Raises ModelFileError for text that is none."""
    return Passport.from_json(text, str(path)) if text.strip() else None


def _example(program: torch.export.ExportedProgram) -> Call | None:
    """The inputs that came along with the program, if any."""
    inputs = program.example_inputs
    if not isinstance(inputs, tuple) or len(inputs) != 2:
        return None
    return tuple(inputs[0]), dict(inputs[1])


def _pickled(source: Source, path: Path) -> Loaded:
    """A module restored by the code of its file, which the user allowed. Raises ModelFileError."""
    with quiet(), importable():
        module = loaded_by_its_code(source.content)
    if not isinstance(module, nn.Module):
        facts = f"holds a {type(module).__name__}, not a network"
        raise ModelFileError(str(path), facts, "add --model PKG.MOD:NAME with the class of the network")
    module.eval()
    finding = Finding("files", "note", f"the code of {path.name} was run to restore {type(module).__name__}")
    back = _back_of(source, module)
    return Loaded(module, path, "module", passport=_passport(source.passport, path), findings=(finding,), back=back)


def _back_of(source: Source, module: nn.Module) -> Back | None:
    """Where the weights of a restored module lie in its file; None where they are not stored by name."""
    expected = Expected.of(module)
    ways = [fit for table in tables_in(source.tree) for fit in fits(table, expected)]
    return Back(source, expected.with_ties(ways[0].weights)) if ways else None


def _weights(source: Source, wanted: Wanted, path: Path) -> Loaded:
    """The network that the user names, with the weights of the file."""
    where, trainer = str(path), trainer_of(source.tree)
    if source.foreign and (wanted.model is None and source.is_pickled_module or not tables_in(source.tree)):
        raise unsafe(where, listed(source.foreign, 3))
    tables, prefix = tables_meant(source.tree, wanted.key, trainer.tables, where)
    if wanted.model is None:
        layers = layers_of(shapes_of(nearest(tables, {}).weights))
        raise UsageError(where, f"holds weights, and no network ({layers})", "add --model PKG.MOD:NAME with its class")
    idle = trainer.idle
    if wanted.model == AUTO:
        policy = policy_in(source, tables)
        wanted, tables, idle = replace(wanted, model=policy.build), [policy.table], policy.idle
    assert wanted.model is not None
    name = name_of(wanted.model)
    module, findings = _built(source, wanted, tables, idle)
    expected = Expected.of(module)
    fit = choose(tables, expected, prefix, idle, name, where)
    _check_plain(fit, where)
    weights = expected.with_ties(fit.weights)
    fill(module, weights, name, where)
    findings += findings_of(fit, len(tables))
    if source.foreign:
        facts = f"no code of the file ran: its objects were left as they are ({listed(source.foreign, 3)})"
        findings += (Finding("files", "note", facts),)
    passport = _passport(source.passport, path)
    return Loaded(module, path, "weights", passport=passport, findings=findings, back=Back(source, weights))


def _built(
    source: Source, wanted: Wanted, tables: list[Table], idle: tuple[str, ...]
) -> tuple[nn.Module, tuple[Finding, ...]]:
    """The empty network, with the arguments of the user, of the file, or of the sizes.

    Raises FactoryError, UsageError.
    """
    assert wanted.model is not None
    name, given = name_of(wanted.model), {key: parse_value(key, value) for key, value in wanted.args.items()}
    saved = saved_arguments(source.tree, trainer_of(source.tree).arguments)
    brought = taken(wanted.model, saved, given)
    findings: tuple[Finding, ...] = ()
    if brought:
        shown = listed([f"{key}={value!r}" for key, value in brought.items()], 12)
        findings = (Finding("files", "note", f"arguments of {name} from the file: {shown}"),)
    fixed, module, failure = {**brought, **given}, None, None
    try:
        module = built(wanted.model, fixed)
    except FactoryError as error:
        failure = error
    # A class that cannot be built so, and one that is built with other sizes, are alike: arguments are missing.
    if module is not None and _fits(tables, module, idle):
        return module, findings
    if isinstance(wanted.model, nn.Module):
        assert module is not None
        return module, findings  # `choose` says what differs
    build = called_by(wanted.model)
    values = searching.arguments_from(build, name, fixed, tables, saved)
    if values:
        return built(wanted.model, {**fixed, **values}), (*findings, searching.finding_of(name, values))
    if module is not None:
        return module, findings
    # What its code raised tells nothing where it is only that arguments are missing.
    if failure is None or without_value(build, fixed):
        raise searching.unexplained(build, name, fixed, tables)
    raise failure


def _fits(tables: list[Table], module: nn.Module, idle: tuple[str, ...]) -> bool:
    """Whether a network has the weights of some table."""
    expected = Expected.of(module)
    return any(fits(table, expected, idle) for table in tables)


def _check_plain(fit: Fit, where: str) -> None:
    """Raise ModelFileError for weights that are no plain, dense tensors."""
    for name, tensor in fit.weights.items():
        if tensor.is_nested or tensor.is_quantized or tensor.layout is not torch.strided:
            raise ModelFileError(where, f"{name!r} is no plain, dense tensor", "store plain, dense tensors")


def _check_finite(module: nn.Module, where: str) -> None:
    """Raise NonFiniteError for NaN or infinity in weights, but for masks; ModelFileError for those without values."""
    bad: list[str] = []
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_meta:
            raise ModelFileError(where, f"{name!r} has no values", "save the model after its weights were filled in")
        if tensor.layout is not torch.strided or not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        values = tensor.detach()
        values = values.float() if values.dtype.itemsize == 1 else values  # float8 knows no isfinite
        # The sum of numbers is finite unless one of them isn't, or they are huge.
        if not bool(torch.isfinite(values.sum())) and not _is_meant(values, isinstance(tensor, nn.Parameter)):
            count = sum(int((~torch.isfinite(rows)).sum()) for rows in values.reshape(-1).split(_ROWS))
            bad += [f"{name!r} ({count} of {values.numel()})"] if count else []
    if bad:
        facts = f"NaN or infinity in {listed(bad, 5)}"
        raise NonFiniteError(where, facts, "take a checkpoint from before the training diverged")


def _is_meant(values: torch.Tensor, is_parameter: bool) -> bool:
    """Whether it is a buffer of zeros and minus infinities, as attention masks are."""
    return not is_parameter and not values.is_complex() and bool(((values == 0) | torch.isneginf(values)).all())
