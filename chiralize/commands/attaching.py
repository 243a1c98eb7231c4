"""`chiralize.load` and `chiralize.attach`: a module with its mirror from a file, and the mirror onto a module.

    net = chiralize.load("chiral.safetensors", model=Lifter())      weights and mirror of the file, in a copy
    chiralize.attach(net, "chiral.pt2")                             the mirror alone, onto a module with its weights

Both end in `_with_mirror`: the passport is fitted to the module (names, shapes), its weights are checked, and the
attribute `chirality` is put on. The passport says how T acts on each weight; that is all that training needs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from chiralize.commands.belonging import check_symmetric, fitted
from chiralize.commands.chirality import Chirality, chirality_of, put_on
from chiralize.errors import UsageError
from chiralize.graph.copies import unwrapped
from chiralize.graph.rewrite import with_modes
from chiralize.graph.running import Call
from chiralize.nn.symmetric import Weights
from chiralize.storage.load import CERTIFICATE, LoadedModel, certificate_in, holds_weights, load_model
from chiralize.storage.passport import Passport

Source = str | Path | Passport | Chirality | nn.Module


def load(
    path: str | Path,
    model: str | nn.Module | Callable[..., nn.Module] | None = None,
    *,
    args: Mapping[str, Any] | None = None,
    key: str | None = None,
    normalizer: str | Path | None = None,
    unsafe_pickle: bool = False,
) -> nn.Module:
    """The module of a file that `convert` or `save` wrote, with its attribute `chirality`, in eval mode on the CPU.

    Of a .pt2 `eval()` and `train()` change nothing; the module that torch.export loads raises there.
    path: a .pt2 is the whole network; .safetensors and .pt hold weights.  model: for those, a module of the original
    class (copied, not touched), the class, a function, or "package.module:Class" as --model.  args: its arguments, if
    it is none yet.  key: entry of a checkpoint that holds the weights.  normalizer: statistics of Stable-Baselines3
    that the policy was converted behind, where they are not beside it as they were written.
    Nothing in the file is run, unless unsafe_pickle allows it.
    Raises UsageError where the file brings no mirror or `model` is missing, ModelFileError, UnsafeFileError,
    FactoryError, and AsymmetricWeightError where its weights are not symmetric.
    """
    # Before it is loaded: the error would name --model, an option of the command line.
    if model is None and Path(path).is_file() and holds_weights(Path(path)):
        facts = "the file holds weights, and not the network that they belong to"
        raise UsageError(str(path), facts, "give one of the original class: chiralize.load(path, model=YourNet(...))")
    texts = {name: _as_text(value) for name, value in (args or {}).items()}
    statistics = Path(normalizer) if normalizer is not None else None
    loaded = load_model(
        path, factory=model, factory_args=texts, key=key, normalizer=statistics, unsafe_pickle=unsafe_pickle
    )
    passport = _passport_of(loaded.extra, str(path))
    return _with_mirror(with_modes(loaded.module), passport, str(path), _example_of(loaded))


def attach(module: nn.Module, source: Source, *, project: bool = False) -> nn.Module:
    """Put the mirror of a written file onto a module of the original class; the module itself.

    After a restart `keep_symmetric`, `verify` and `save` then go on, and `load_state_dict` takes weights of the form in
    blocks. It is checked that names and shapes fit, and that the mirror leaves the weights alone; what forward does
    with them is for `verify`. Weights do not tell of a mirror about a centre other than 0 (pixels), since biases hold
    the offset: there only names and shapes are checked, and `verify` and `save` run the network.
    source: a .pt2, .onnx, .safetensors or .pt (with its sidecar) that was written, a `chirality.json`, its text, a
    Passport, or a module that has a mirror.  project: take the nearest symmetric weights, written into the module.
    Raises UsageError where it does not fit, ModelFileError, AsymmetricWeightError with how far the weights are off.
    """
    # The attribute belongs to the network itself, not to DataParallel or a compiled wrapper around it.
    bare = unwrapped(module)
    passport, where, example = _passport_from(source)
    passport = fitted(passport, bare, where)
    # The nearest weights among linear mirrors would take the offset out of the biases.
    if project and passport.spec.is_affine:
        facts = "its mirror is affine (`reflect`), so its biases hold an offset that no projection keeps"
        raise UsageError(where, f"project=True: {facts}", "convert the network again, or take the weights of the file")
    if project:
        Weights.of(bare, passport.hidden, passport.exchanged, passport.others).project()
    _with_mirror(bare, passport, where, example)
    return module


def _with_mirror(module: nn.Module, passport: Passport, where: str, example: Call | None) -> nn.Module:
    """The module with its mirror put on. Raises UsageError, AsymmetricWeightError."""
    passport = fitted(passport, module, where)
    check_symmetric(passport, module)
    return put_on(module, Chirality(passport, None, example))


def _as_text(value: Any) -> str:
    """An argument as --arg takes it."""
    if isinstance(value, str):
        return value
    return json.dumps(value)


def _example_of(loaded: LoadedModel) -> Call | None:
    """The call that a file brings along, None where it holds weights alone."""
    if loaded.example_args is None:
        return None
    return tuple(loaded.example_args), dict(loaded.example_kwargs or {})


def _passport_from(source: Source) -> tuple[Passport, str, Call | None]:
    """The passport, the name of where it comes from, and a call of the network where that is known."""
    if isinstance(source, nn.Module):
        chirality = chirality_of(source)
        if chirality is None:
            raise UsageError(type(source).__name__, "it has no mirror", "give a result of chiralize(...), or a file")
        source = chirality
    if isinstance(source, Chirality):
        return source.passport, "attach", source.example
    if isinstance(source, Passport):
        return source, "attach", None
    # A path, or the text of a `chirality.json`, which begins as every JSON object does.
    text = str(source)
    if text.lstrip().startswith("{"):
        return Passport.from_json(text, "attach"), "attach", None
    return _passport_of(certificate_in(Path(source)), text), text, None


def _passport_of(extra: Mapping[str, str], where: str) -> Passport:
    """The passport among the texts of a file. Raises UsageError where there is none."""
    if CERTIFICATE not in extra:
        facts = f"the file brings no mirror ({CERTIFICATE})"
        raise UsageError(where, facts, "give a file that `chiralize convert` or chiralize.save wrote, or convert first")
    return Passport.from_json(extra[CERTIFICATE], where)
