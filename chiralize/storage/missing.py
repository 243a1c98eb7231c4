"""What is missing before a file of weights can become a network, in one message whose command can work.

Weights alone are no network: somebody has to name the class, its arguments, or a flag.  Each function here makes the
error for one such case, for `weights`, `torch_weights` and the formats.  The remedy repeats the user's command with
what is missing, so that it can be copied:

    UsageError  weights.pt: holds 12 weights (first: 'first.weight' (256, 34)) but not the network they belong to; ...
        Fix: say which class or function builds it:
        chiralize convert weights.pt --model your_package.your_module:YourNet
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chiralize.body.skeleton.kinds import offered
from chiralize.errors import FactoryError, UnsafeFileError, UsageError
from chiralize.errors.words import listed, when
from chiralize.storage.content import Content
from chiralize.storage.factory import BUILDER
from chiralize.storage.format import AUTO, Wanted
from chiralize.storage.sidecar import Remembered
from chiralize.storage.tables import Weights, first_parts, printable

PERCEPTRON = "chiralize.storage.perceptron:perceptron"
PLACEHOLDER = "your_package.your_module:YourNet"
_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_OF_NUMBERS = re.compile(r"torch\.(_utils|storage|serialization)\.|torch\.\w+$|numpy\b|_codecs\.|collections\.")
_SHOWN = 8
_LAYERS = {1: "vector", 2: "Linear", 3: "Conv1d", 4: "Conv2d", 5: "Conv3d"}


def command_of(content: Content, wanted: Wanted) -> str:
    """The command that the user typed, or the one that converts this file."""
    return wanted.command or f"chiralize convert {content.where}"


def command_on(content: Content, wanted: Wanted, path: Path) -> str:
    """The command that the user typed, on another file or folder."""
    words = shlex.split(command_of(content, wanted))  # quoted names are one word
    for position, word in enumerate(words):
        if Path(word) == content.path:
            words[position] = str(path)
    return shlex.join(words)


def network_needed(
    content: Content, tables: Sequence[Weights], wanted: Wanted, named: str, before: Remembered
) -> UsageError:
    """The error for weights without a network: what they are, and the command with what is missing."""
    largest = max(tables, key=lambda weights: len(weights.tensors))
    first, tensor = next(iter(largest.tensors.items()))
    facts = f"holds {len(largest.tensors)} weights (first: {first!r} {tuple(tensor.shape)}) but not the network they "
    facts += f"belong to; {layers(largest.tensors)}"
    heads = first_parts(largest.tensors)
    if len(tables) > 1:
        facts += f"; tables: {', '.join(printable(weights.key) for weights in tables[:_SHOWN])}"
    if 1 < len(heads) <= _SHOWN:
        facts += f"; names start with {', '.join(f'{printable(head)} ({count})' for head, count in heads.items())}"
    return UsageError(content.where, facts, _how_to_build(content, tables, wanted, named, before))


def _how_to_build(content: Content, tables: Sequence[Weights], wanted: Wanted, named: str, before: Remembered) -> str:
    """The command with what is missing: as in the conversion, else as the file says, else as its weights show."""
    # The surest first: what built it before, what the file says, what its weights could be.
    command = command_of(content, wanted)
    if before.factory and before.factory != AUTO:
        args = "".join(f" --arg {shlex.quote(f'{name}={value}')}" for name, value in before.factory_args.items())
        return f"as at the conversion:\n    {command} --model {shlex.quote(before.factory)}{args}"
    if named and _is_installed(named):
        remedy = f"import {named}, the class that the file names (code of an installed package runs, none of the "
        return f"{remedy}file's):\n    {command} --model {AUTO}"
    without = when(named, f", {named} by the file, which is not installed here")
    remedy = f"say which class or function builds it{without}:\n    {command} --model {PLACEHOLDER}"
    return remedy + _as_perceptron(tables, wanted, command)


def arguments_needed(
    content: Content,
    wanted: Wanted,
    decided: Mapping[str, str],
    undecided: Sequence[str],
    joints: Sequence[int] = (),
) -> FactoryError:
    """The error for a class of which the weights tell some arguments, and not all that it wants.

    joints: numbers of joints, other than the skeleton's, with which the weights fit.
    """
    shown = ", ".join(f"{name}={text}" for name, text in decided.items())
    facts = f"the sizes of the weights in {content.where} "
    facts += f"tell {shown}, but not {', '.join(undecided)}" if decided else f"do not tell {', '.join(undecided)}"
    args = "".join(f" --arg {shlex.quote(f'{name}={text}')}" for name, text in decided.items())
    args += "".join(f" --arg {name}=VALUE" for name in undecided)
    remedy = f"put in the values that the network was trained with:\n    {command_of(content, wanted)}{args}"
    remedy += f"\n    {BUILDER}."
    # The weights fit some other number of joints: then the skeleton is likelier wrong than the arguments.
    if wanted.joints and joints:
        facts += f"; with the {wanted.joints} joints of the skeleton no sizes fit them"
        remedy = f"check the skeleton: {_skeletons_of(joints)}; else {remedy}"
    return FactoryError("--model", facts, remedy)


def _skeletons_of(joints: Sequence[int]) -> str:
    """Shipped skeletons by number of joints: `15 joints would fit (humaneva-15, jhmdb-15)`."""
    texts: list[str] = []
    for count in joints:
        names = offered(count)
        texts.append(f"{count} joints would fit" + when(names, f" ({names})"))
    return ", ".join(texts)


def _is_installed(named: str) -> bool:
    """Whether the package of a class can be found, here or in the current folder; nothing of it is imported."""
    from chiralize.storage.factory import working_folder_importable

    package = named.split(".")[0]
    with working_folder_importable():
        return package.isidentifier() and importlib.util.find_spec(package) is not None


def _as_perceptron(tables: Sequence[Weights], wanted: Wanted, command: str) -> str:
    """The command that reads weights as a perceptron, and which others there are; "" where there is none.

    Of several, as of an actor and a critic, the one whose sizes the specification describes.
    """
    from chiralize.storage.perceptron import perceptrons_in

    # Of an actor and a critic only one has as many inputs and outputs as the specification says.
    all_of_them = [one for weights in tables for one in perceptrons_in(weights.tensors)]
    fitting = [one for one in all_of_them if wanted.describes(one.sizes[0], one.sizes[-1])]
    if not all_of_them:
        return ""
    chosen = (fitting or all_of_them)[0]
    others = [one.shown for one in all_of_them if one.shown != chosen.shown]
    besides = when(others, f"; the others: {listed(others, _SHOWN)}")
    if all_of_them[1:] and not fitting:
        besides += "; the specification describes the sizes of none"
    under = when(chosen.prefix, f" --prefix {shlex.quote(chosen.prefix)}")
    args = "".join(f" --arg {name}={value}" for name, value in chosen.arguments.items())
    remedy = (
        f"\n    or, as the perceptron that {printable(chosen.shown)} could be (the file does not say its activation"
    )
    return f"{remedy}{besides}):\n    {command} --model {PERCEPTRON}{args}{under}"


def pickled_module(content: Content, wanted: Wanted, tables: Sequence[Weights]) -> UnsafeFileError:
    """The error for a module that only its own code could restore: the flag, or the class, which runs no code of it."""
    weights = max(tables, key=lambda weights: len(weights.tensors))
    # Two ways on: the file's own code, or the same class by --model, filled with the weights as with any others.
    package, _, name = weights.owner.rpartition(".")
    count, shown = len(weights.tensors), layers(weights.tensors)
    facts = f"is a pickled module ({printable(weights.owner)}, {count} weights; {shown}); to restore it would run code "
    facts += "that the file names"
    command = command_of(content, wanted)
    remedy = f"if you trust whoever made it, in the folder where {package.split('.')[0]!r} can be imported:\n"
    remedy += f"    {command} --unsafe-pickle"
    if _CLASS.fullmatch(weights.owner) and not package.startswith("torch."):
        remedy += "\n    or, without running any code of the file's (its arguments, if any, by --arg):"
        remedy += f"\n    {command} --model {package}:{name}"
    return UnsafeFileError(content.where, facts, remedy)


def plain_pickle(content: Content, wanted: Wanted, names: Sequence[str]) -> UnsafeFileError:
    """The error for a pickle of Python's own, which only running it restores.  names: those that it imports."""
    # The message names what would run; imports that every pickle of tensors or arrays has say nothing.
    foreign = [name for name in names if not _OF_NUMBERS.match(name)]
    shown = ", ".join(map(printable, (foreign or names)[:3]))
    facts = f"is a plain pickle (pickle.dump), and to restore it would run code that it names: {shown}"
    command = f"{command_of(content, wanted)} --unsafe-pickle"
    remedy = f"if you trust whoever made it:\n    {command}"
    if not foreign and wanted.factory is None:
        remedy += f" --model {PLACEHOLDER}"
    return UnsafeFileError(content.where, facts, remedy)


def layers(tensors: dict[str, Any] | Any) -> str:
    """The layers that weights are of, by their shapes: `Linear 10 -> 8 (first)`."""
    shown: list[str] = []
    for name, tensor in tensors.items():
        # Weights are "out in" and kernels behind: (8, 10) is Linear 10 -> 8, (64, 34, 3) is Conv1d 34 -> 64, kernel 3.
        sizes, owner = tuple(tensor.shape), printable(name).rpartition(".")[0]
        if name.endswith("weight") and len(sizes) > 1:
            kernel = when(len(sizes) > 2, f", kernel {'x'.join(map(str, sizes[2:]))}")
            # A Linear that is called an embedding (`joints_embed`) has a bias; torch's Embedding has none.
            has_bias = f"{name.removesuffix('weight')}bias" in tensors
            if len(sizes) == 2 and "embed" in owner.lower() and not has_bias:
                shown.append(f"Embedding {sizes[0]} x {sizes[1]} ({owner})")
                continue
            shown.append(f"{_LAYERS.get(len(sizes), 'weight')} {sizes[1]} -> {sizes[0]}{kernel} ({owner})")
    if not shown:
        return f"{len(tensors)} tensors, none of them a Linear or Conv weight"
    return f"layers: {listed(shown, _SHOWN)}"


KINDS = "a .pt2 (torch.export.save), TorchScript, a checkpoint, a state_dict or a .safetensors file"
"""Files that a network can come from."""


def refuse_weight_options(content: Content, kind: str, wanted: Wanted) -> None:
    """Raise UsageError where an option is for weights, and the file holds a whole network."""
    for option, value in (("--model", wanted.factory), ("--key", wanted.key), ("--prefix", wanted.prefix)):
        if value is not None:
            from chiralize.storage.factory import name_of

            value = name_of(value)
            facts = f"is a {kind} file, which holds the whole network; `{option} {value}` has nothing to do"
            raise UsageError(content.where, facts, f"leave `{option}` out, or give a file of weights.")
