"""`load_model` turns any model file into a module, without running code that the file carries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch

from chiralize.errors import ModelFileError, NonFiniteError, UsageError, first_line
from chiralize.storage.call_record import CALL, recorded
from chiralize.storage.checkpoint import pick_state, read_safely, read_whole_pickle
from chiralize.storage.factory import build_module, fill_weights, working_folder_importable
from chiralize.storage.files import content_of, digest_of, open_file, unchanged
from chiralize.storage.read_pt2 import example_inputs, load_program, program_module
from chiralize.storage.sniff import Format, describe, safetensors_header, sniff_file
from chiralize.storage.torchscript import load_script
from chiralize.symmetry.reynolds import blocks

CERTIFICATE = "chirality.json"
METADATA_KEY = "chirality"
DIGEST_KEY = "weights_sha256"
_KINDS = "a .pt2 (torch.export.save), TorchScript, a state_dict or a .safetensors file"


@dataclass(frozen=True)
class LoadedModel:
    """A model as it came from its file.

    module: in eval mode, on the CPU.  exported: the program of a `.pt2`.  example_args, example_kwargs: the inputs that
    a `.pt2` brings along.  extra: texts that travel with the file ("chirality.json").  digest: SHA-256 of the file.
    """

    module: torch.nn.Module
    format: Format
    source: Path
    digest: str
    exported: torch.export.ExportedProgram | None = None
    example_args: tuple[Any, ...] | None = None
    example_kwargs: dict[str, Any] | None = None
    extra: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def load_model(
    path: Path | str,
    *,
    factory: str | None = None,
    factory_args: Mapping[str, str] | None = None,
    key: str | None = None,
    unsafe_pickle: bool = False,
    onnx: bool = False,
) -> LoadedModel:
    """The model in a file.

    factory: "package.module:attribute" that builds the network for a file of weights.  factory_args: its arguments as
    YAML text.  key: entry of a checkpoint that holds the weights.  unsafe_pickle: may run the file's own code.
    onnx: an ONNX file will do, which can be run but not taken apart.
    Raises ModelFileError, UnsafeFileError, FactoryError, UsageError, NonFiniteError.
    """
    path = Path(path)
    where = str(path)
    with open_file(path) as file, unchanged(file, path):
        digest = digest_of(file, path)
        kind = sniff_file(file, where)
        if kind in ("pt2", "torchscript"):
            _refuse_weight_options(where, kind, factory, key)
            model = _load_graph(file, kind, path, digest)
        elif kind in ("state_dict", "pickled_module", "safetensors"):
            data = content_of(file, path)
            model = _load_weights(data, kind, path, digest, factory, factory_args or {}, key, unsafe_pickle)
        elif kind == "onnx" and onnx:
            _refuse_weight_options(where, kind, factory, key)
            model = _load_onnx(content_of(file, path), path, digest)
        else:
            raise _not_a_model(content_of(file, path), kind, where)
    _require_finite(model.module, where)
    return model


def _load_graph(file: BinaryIO, kind: Format, path: Path, digest: str) -> LoadedModel:
    if kind == "torchscript":
        module, extra = load_script(file, str(path))
        args, kwargs = recorded(extra[CALL], str(path)) if CALL in extra else (None, None)
        return LoadedModel(module, kind, path, digest, None, args, kwargs, extra)
    program, extra = load_program(file, str(path))
    args, kwargs = example_inputs(program) or (None, None)
    module = program_module(program, str(path))
    return LoadedModel(module, kind, path, digest, program, args, kwargs, extra)


def _load_onnx(data: bytes, path: Path, digest: str) -> LoadedModel:
    from chiralize.storage.onnx_checks import read_checked
    from chiralize.storage.onnx_network import OnnxNetwork, recorded_call

    network = OnnxNetwork(read_checked(data, path), str(path))
    extra = _certificate_in(network.metadata)
    call = recorded_call(network)
    if call is None:
        return LoadedModel(network, "onnx", path, digest, extra=extra)
    return LoadedModel(network, "onnx", path, digest, example_args=call.args, example_kwargs={}, extra=extra)


def _certificate_in(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The certificate among the texts of a file, under the name that a file of its own would have."""
    return {CERTIFICATE: str(metadata[METADATA_KEY])} if METADATA_KEY in metadata else {}


def _load_weights(
    data: bytes,
    kind: Format,
    path: Path,
    digest: str,
    factory: str | None,
    factory_args: Mapping[str, str],
    key: str | None,
    unsafe_pickle: bool,
) -> LoadedModel:
    where = str(path)
    extra: dict[str, str] = {}
    if kind == "safetensors":
        loaded, extra = read_safetensors(data, where)
    elif kind == "pickled_module" and unsafe_pickle:
        with working_folder_importable():
            loaded = read_whole_pickle(data, where)
        if isinstance(loaded, torch.nn.Module):
            loaded.eval()
            return LoadedModel(loaded, kind, path, digest, extra=_sidecar(path, digest))
    else:
        loaded = read_safely(data, where)
    extra = extra or _sidecar(path, digest)
    state, notes = pick_state(loaded, key, where)
    if factory is None:
        raise _factory_needed(path, state, key, converted=CERTIFICATE in extra)
    module = build_module(factory, factory_args)
    fill_weights(module, state, factory, where)
    return LoadedModel(module, kind, path, digest, extra=extra, notes=notes)


def read_safetensors(data: bytes, where: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and texts ("chirality.json") of a safetensors file, in file order.  Raises ModelFileError."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    header = safetensors_header(data, where)
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        facts = f"safetensors file cannot be read ({first_line(error)}); it is truncated or damaged"
        raise ModelFileError(where, facts, "copy or download the file again.") from error
    in_file_order = {name: tensors[name] for name in header if name in tensors}
    return in_file_order, _certificate_in(header.get("__metadata__") or {})


def _sidecar(path: Path, digest: str) -> dict[str, str]:
    """The certificate beside a plain `.pt`, if there is one.  Raises ModelFileError where it belongs to other weights.

    digest: of the weights.  Certificates written before they named their weights are taken as they are.
    """
    beside = path.with_name(f"{path.name}.{CERTIFICATE}")
    if not beside.is_file():
        return {}
    try:
        text = beside.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(str(beside), f"cannot be read ({error})", "delete it or restore it.") from error
    named = _named_digest(text)
    if named not in (None, digest):
        facts = (
            f"describes other weights than {path.name} holds (SHA-256 {str(named)[:12]}..., the file's is "
            f"{digest[:12]}...): one of the two was replaced alone, or a conversion was killed between them"
        )
        remedy = f"convert again; or, if the weights were changed on purpose, delete {beside} and give --skeleton."
        raise ModelFileError(str(beside), facts, remedy)
    return {CERTIFICATE: text}


def _named_digest(text: str) -> Any:
    """The digest of the weights that a certificate names; None where it names none, or is none."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return table.get(DIGEST_KEY) if isinstance(table, dict) else None


def _refuse_weight_options(where: str, kind: Format, factory: str | None, key: str | None) -> None:
    for option, value in (("--model", factory), ("--key", key)):
        if value is not None:
            facts = f"is a {kind} file, which holds the whole network; `{option} {value}` has nothing to do"
            raise UsageError(where, facts, f"leave `{option}` out, or give a file of weights.")


def _factory_needed(path: Path, state: Mapping[str, torch.Tensor], key: str | None, converted: bool) -> UsageError:
    first, tensor = next(iter(state.items()))
    option = f" --key {key}" if key else ""
    network = f"{path}{option} --model your_package.your_module:YourNet --arg joints=17 --input-shape 1,243,17,2"
    command = f"chiralize verify {network}" if converted else f"chiralize convert {network} --skeleton h36m"
    facts = f"holds {len(state)} weights (first: {first!r} {tuple(tensor.shape)}) but not the network they belong to"
    return UsageError(str(path), facts, f"say which class or function builds it:\n    {command}")


def _not_a_model(data: bytes, kind: Format, where: str) -> ModelFileError:
    descriptions: dict[str, str] = {
        "npy": "an array file (.npy), not a model",
        "npz": "an array file (.npz), not a model",
        "onnx": "an ONNX model, which can be converted, verified, planned and audited, not timed",
    }
    zipped = "a zip archive that is no model" if data[:2] == b"PK" else describe(data)
    remedy = f"give what it was exported from: {_KINDS}." if kind == "onnx" else f"give {_KINDS}."
    return ModelFileError(where, f"is {descriptions.get(kind, zipped)}", remedy)


def _require_finite(module: torch.nn.Module, where: str) -> None:
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
        for rows in blocks(values):
            count += int((~torch.isfinite(_known(values[rows]))).sum())
        if count and not _is_attention_mask(_known(values), isinstance(tensor, torch.nn.Parameter)):
            bad.append((name, count, values.numel()))
    if bad:
        shown = ", ".join(f"{name!r} ({count} of {total})" for name, count, total in bad[:5])
        more = f" and {len(bad) - 5} more tensors" if len(bad) > 5 else ""
        facts = f"NaN or infinity in {shown}{more}"
        raise NonFiniteError(where, facts, "take a checkpoint from before the training diverged.")


def _known(values: torch.Tensor) -> torch.Tensor:
    return values.float() if values.dtype.itemsize == 1 else values  # float8 knows no isfinite


def _is_attention_mask(values: torch.Tensor, is_parameter: bool) -> bool:
    """A buffer of zeros and minus infinities, as attention masks are: meant so."""
    return not is_parameter and not values.is_complex() and bool(((values == 0) | torch.isneginf(values)).all())
