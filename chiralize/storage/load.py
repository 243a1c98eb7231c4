"""`load_model` turns any model file into a module, without running code that the file carries.

The first step of every command on a network.  A format recognises the file by its content (`registry`, `formats/`) and
loads it; here is what holds for all of them: the file must not change meanwhile, a file of no format gets a message
with the way on, and no weight may be NaN or infinite, since no comparison of answers would mean anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from chiralize.errors import ModelFileError, NonFiniteError, UsageError
from chiralize.errors.words import when
from chiralize.storage.content import Content, opened
from chiralize.storage.factory import Factory
from chiralize.storage.files import unchanged
from chiralize.storage.format import Format, LoadedModel, Origin, Wanted
from chiralize.storage.missing import KINDS
from chiralize.storage.other_folders import other_folder, part_of_folder, source_code
from chiralize.storage.packed import packed_model
from chiralize.storage.registry import format_of
from chiralize.storage.safetensors_file import safetensors_header
from chiralize.storage.sidecar import CERTIFICATE, DIGEST_KEY, METADATA_KEY, certificate_beside, certificate_of
from chiralize.storage.sniff import describe, remedy_for
from chiralize.symmetry.reynolds import blocks

__all__ = [
    "CERTIFICATE",
    "DIGEST_KEY",
    "METADATA_KEY",
    "LoadedModel",
    "Origin",
    "certificate_in",
    "holds_weights",
    "load_model",
]


def load_model(
    path: Path | str,
    *,
    factory: Factory | None = None,
    factory_args: Mapping[str, str] | None = None,
    key: str | None = None,
    prefix: str | None = None,
    normalizer: Path | None = None,
    unsafe_pickle: bool = False,
    onnx: bool = False,
    command: str = "",
    joints: int = 0,
    describes: Callable[[int, int], bool] = lambda inputs, outputs: True,
    tell: Callable[[str], None] = lambda step: None,
    before_search: Callable[[object], None] = lambda target: None,
) -> LoadedModel:
    """The model in a file, or in a folder.

    factory: "package.module:attribute" that builds the network for a file of weights, or that itself, or a module to be
    copied, or "auto" for the class that the file names.  factory_args: its arguments as YAML text.
    key: entry of a checkpoint that holds the weights.  prefix: of the names of the weights, where several fit.
    normalizer: VecNormalize of Stable-Baselines3, before the policy.
    unsafe_pickle: may run the file's own code.  onnx: an ONNX file will do, which can be run but not taken apart.
    command: as the user typed it, for messages.  joints: of the skeleton, where it is known; the class may ask.
    tell: called with the name of every step that takes long.  describes, before_search: see `Wanted`.
    Raises ModelFileError, UnsafeFileError, FactoryError, UsageError, NonFiniteError, MissingPackageError.
    """
    given = factory_args or {}
    wanted = Wanted(factory, given, key, prefix, normalizer, unsafe_pickle, onnx, command, joints)
    wanted = replace(wanted, describes=describes, tell=tell, before_search=before_search)
    with _open(Path(path)) as content:  # the file must not change until all of it is read
        record = format_of(content)
        if record is None or record.load is None:
            raise _not_a_model(content, record, wanted)
        if normalizer is not None and record.name != "sb3":
            facts = f"{path} is {record.title}, which has no VecNormalize beside it"
            raise UsageError("--normalizer", facts, "leave it out, or give the model's .zip")
        model = record.load(content, wanted)
    _require_finite(model.module, str(path))
    return model


def holds_weights(path: Path) -> bool:
    """Whether a file or a folder holds weights, and no network of which they are. Raises ModelFileError."""
    with _open(path) as content:
        record = format_of(content)
        return record is not None and record.load is not None and not record.may_be_whole


def certificate_in(path: Path) -> dict[str, str]:
    """The certificate of a file that was written, "chirality.json", or of the sidecar itself; {} where it has none.

    Nothing in the file is run, and weights are looked at only where the certificate cannot be read without them.
    Raises ModelFileError, UnsafeFileError.
    """
    with _open(path) as content:
        if path.suffix == ".json":
            return {CERTIFICATE: content.data.decode("utf-8", "replace")}
        # Cheapest first: the header of safetensors, then the file beside weights; others have it inside.
        record = format_of(content)
        if record is not None and record.name == "safetensors":
            return certificate_of(safetensors_header(content.data, content.where).get("__metadata__") or {})
        if record is not None and (record.write_back is not None or not record.may_be_whole):
            return certificate_beside(path, content.digest)
    return load_model(path, onnx=True).extra


@contextmanager
def _open(path: Path) -> Iterator[Content]:
    """What lies there; raises ModelFileError where it is written to meanwhile.  A folder has no file to be closed."""
    content = opened(path)
    with nullcontext() if content.file is None else content.file as file:
        with nullcontext() if file is None else unchanged(file, path):
            yield content


def _not_a_model(content: Content, record: Format | None, wanted: Wanted) -> ModelFileError:
    """The error for what is no model, by what it is instead.  record: of a format of data, None for unknown kinds."""
    if record is not None:
        return ModelFileError(content.where, f"is {record.title}, not a model", f"give {KINDS}.")
    if content.file is None:
        return other_folder(content, wanted)
    if ".data/extern_modules" in content.inner:
        facts = "is an archive of torch.package, which restores a network by Python code that it carries"
        remedy = "if you trust it, load it there and save the weights: torch.save(model.state_dict(), 'weights.pt')."
        return ModelFileError(content.where, facts, remedy)
    # By the name where that tells (`.py`, `.json`), then by the content, then by the first bytes alone.
    known = source_code(content, wanted) or part_of_folder(content, wanted) or packed_model(content, wanted)
    if known is not None:
        return known
    if content.is_zip:
        return ModelFileError(content.where, "is a zip archive that is no model", f"give {KINDS}.")
    return ModelFileError(content.where, f"is {describe(content.data)}", remedy_for(content.data, f"give {KINDS}."))


def _require_finite(module: torch.nn.Module, where: str) -> None:
    """Raise NonFiniteError for NaN or infinity in weights, but for masks; ModelFileError for those without values."""
    named = [*module.named_parameters(), *module.named_buffers()]
    bad: list[tuple[str, int, int]] = []
    for name, tensor in named:
        if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.is_sparse or tensor.is_quantized:
            continue
        if tensor.is_meta:
            facts = f"{name!r} has a shape but no values (device 'meta')"
            raise ModelFileError(where, facts, "save the model after its weights were filled in.")
        values = tensor.detach()
        count = 0
        for rows in blocks(values):  # some rows at a time, so that the masks of truth values stay small
            count += int((~torch.isfinite(_known(values[rows]))).sum())
        if count and not _is_attention_mask(_known(values), isinstance(tensor, torch.nn.Parameter)):
            bad.append((name, count, values.numel()))
    if bad:
        shown = ", ".join(f"{name!r} ({count} of {total})" for name, count, total in bad[:5])
        more = when(len(bad) > 5, f" and {len(bad) - 5} more tensors")
        facts = f"NaN or infinity in {shown}{more}"
        raise NonFiniteError(where, facts, "take a checkpoint from before the training diverged.")


def _known(values: torch.Tensor) -> torch.Tensor:
    """Values of a number type of which torch can tell what is finite."""
    return values.float() if values.dtype.itemsize == 1 else values  # float8 knows no isfinite


def _is_attention_mask(values: torch.Tensor, is_parameter: bool) -> bool:
    """A buffer of zeros and minus infinities, as attention masks are: meant so."""
    return not is_parameter and not values.is_complex() and bool(((values == 0) | torch.isneginf(values)).all())
