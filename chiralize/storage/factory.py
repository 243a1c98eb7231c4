"""`--model pkg.mod:factory`: the user's own function that builds the network for a weights file.

`weights` imports it, calls it with `--arg name=value` and what the file says (`build_module`), and fills the result
(`fill_weights`).  This is the only place where the user's code runs to load a model, and it may do anything: print,
parse the command line, exit, ask for a GPU.  Whatever it raises leaves as FactoryError with the command that helps:

    --model nets.lifter:Lifter --arg width=256     Lifter(width=256) of nets/lifter.py, which is below this folder
    --model lifter.py:Lifter                       refused: name the module, not its file
    --arg args.frames=27                           Lifter(args=Settings(frames=27)), see `settings`
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml

from chiralize.errors import FactoryError, UsageError
from chiralize.errors.words import listed, when
from chiralize.graph.copies import copied
from chiralize.graph.staying import Staying
from chiralize.storage.defined_below import defined_below
from chiralize.storage.failed_imports import is_absent, remedy_for, where_it_fails
from chiralize.storage.settings import NAMES, MissingSettingError, nested

_SHOWN = 5
BUILDER = (
    "or, where a value is a tensor or an object, name a function of yours without arguments that builds the network "
    "(def build(): return Net(torch.zeros(12)); --model module:build): the weights fill in what the file holds"
)
"""The remedy where an option cannot hold the value of an argument."""

Factory = str | torch.nn.Module | Callable[..., torch.nn.Module]
"""What a network for weights is made of: `pkg.mod:attr`, the class or function itself, or a module, which is copied."""


def name_of(factory: Factory) -> str:
    """What messages call it: the text that the user typed, else the name of the class or function."""
    if isinstance(factory, str):
        return factory
    if isinstance(factory, torch.nn.Module):
        return type(factory).__name__
    return getattr(factory, "__name__", "model")


def build_module(
    factory: Factory, factory_args: Mapping[str, str], brought: Mapping[str, Any] | None = None
) -> torch.nn.Module:
    """The module that a factory returns for these arguments, in eval mode.  Raises FactoryError, UsageError.

    brought: values of arguments that the file says, see `arguments_for`; the user's win.
    """
    if isinstance(factory, torch.nn.Module):
        if factory_args:
            raise UsageError("args", f"{name_of(factory)} is built already", "leave args out, or give the class")
        return copied(factory).eval()
    function = called_by(factory)
    arguments = dict(brought or {})
    arguments |= {name: parse_value(name, text) for name, text in factory_args.items()}
    shown_arguments = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    shown = f"{name_of(factory)}({shown_arguments})"
    try:
        with working_folder_importable(), Staying():  # requests for a GPU stay on the CPU
            module = function(**nested(arguments))
    except MissingSettingError as error:
        facts = f"{shown} asks its object of arguments for {error.wanted!r}"
        raise FactoryError("--model", facts, f"give it: --arg {_owner(arguments)}.{error.wanted}=VALUE") from error
    except (Exception, SystemExit) as error:  # the user's own code, which may call `sys.exit`
        facts = f"{shown} raised {type(error).__name__}: {_line(error) or _place(error)}"
        raise FactoryError("--model", facts, _needed(function, arguments)) from error
    if not isinstance(module, torch.nn.Module):
        facts = f"{shown} returned a {type(module).__name__}, not a torch.nn.Module"
        raise FactoryError("--model", facts, "name a class derived from torch.nn.Module or a function returning one.")
    module.eval()  # not all networks return themselves
    return module


def called_by(factory: Factory) -> Callable[..., Any]:
    """The class or function that builds the network.  Raises FactoryError."""
    function: Any = _imported(factory) if isinstance(factory, str) else factory
    return function


def _owner(arguments: Mapping[str, Any]) -> str:
    """The argument that is an object of arguments: the one of which entries are given."""
    return next((name.partition(".")[0] for name in arguments if "." in name), NAMES[0])


def _needed(function: Callable[..., Any], given: Mapping[str, Any]) -> str:
    """Which arguments to give, by their names where the class wants some.

    Those without a default; where all have one, those whose default is None, which often means that it has to be set.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    heads = {name.partition(".")[0] for name in given}  # `args.frames` gives `args`
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    missing = [each.name for each in parameters if each.kind in by_name and each.default is each.empty]
    missing = [name for name in missing if name not in heads]
    if not missing:
        empty = [each.name for each in parameters if each.kind in by_name and each.default is None]
        unset = [name for name in empty if name not in heads]
        which = when(unset, f": {listed(unset)} {'has' if len(unset) == 1 else 'have'} no value yet")
        return f"give the arguments that it needs, `--arg name=value`{which}."
    options: list[str] = []
    for name in missing:
        options.append(f"--arg {name}.NAME=VALUE" if name in NAMES else f"--arg {name}=VALUE")
    remedy = f"give them as the network was trained: {' '.join(options)}"
    objects = [name for name in missing if name in NAMES]
    if objects:
        return f"{remedy} (one for each NAME that the class reads of {objects[0]!r})"
    return f"{remedy}; {BUILDER}"


def build_named(name: str, factory_args: Mapping[str, str], brought: Mapping[str, Any]) -> torch.nn.Module:
    """The module of a class that a file names, by consent.  Raises FactoryError.

    Only a class of networks is called: a file may name any function, and brings the arguments, too.
    """
    factory = ":".join(name.rsplit(".", 1))  # nets.lifter.Lifter is nets.lifter:Lifter
    target = _imported(factory)
    if not isinstance(target, type) or not issubclass(target, torch.nn.Module):
        facts = f"the file says that its network is a {name}, which is no class of networks"
        raise FactoryError("--model auto", facts, "name the class yourself: --model your_package.your_module:YourNet")
    return build_module(factory, factory_args, brought)


def arguments_for(
    factory: Factory, known: Mapping[str, Any], given: Mapping[str, str], settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Of the values that a file says, those that the class or function takes by name and the user does not give.

    settings: the trainer's own options, for a class that wants them in one object (`args`).
    Raises FactoryError where there is no such class.
    """
    if not (known or settings) or isinstance(factory, torch.nn.Module):
        return {}
    function = called_by(factory)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # classes written in C have none
        return {}
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    taken = {parameter.name for parameter in parameters if parameter.kind in by_name}
    brought = {name: value for name, value in known.items() if name in taken and name not in given}
    # `Net(args)`: the trainer's options go in as one object, unless the user or the file gives that argument itself.
    whole = [each.name for each in parameters if each.name in NAMES and each.default is each.empty]
    if settings and len(whole) == 1 and not {whole[0]} & {*known, *given}:
        brought |= {f"{whole[0]}.{name}": value for name, value in settings.items()}
    return brought


@contextmanager
def working_folder_importable() -> Iterator[None]:
    """Put the current folder on the import path meanwhile, as `python -m` does.

    The options of the command line are taken away: modules of trainers read their own there as they are imported.
    """
    folder, arguments = str(Path.cwd()), sys.argv
    sys.argv = arguments[:1]
    added = folder not in sys.path
    if added:
        sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.argv = arguments
        # The user's code may have changed the path: only this entry is taken away again.
        if added and folder in sys.path:
            sys.path.remove(folder)


def _imported(factory: str) -> Any:
    """What `--model` names.  Raises FactoryError."""
    return imported(factory, "--model", "your_package.your_module:YourNet")


def imported(factory: str, option: str, example: str) -> Any:
    """What `package.module:attribute` names, which can be called.  Raises FactoryError.

    The current folder is on the import path meanwhile.  option, example: for messages.
    """
    module_name, colon, attribute = factory.partition(":")
    if not colon or not module_name or not attribute:
        facts = f"{factory!r} is not of the form package.module:attribute"
        raise FactoryError(option, facts, f"write, for example, `{option} {example}`.")
    try:
        with working_folder_importable():
            target: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # the user's own code
        raise _not_imported(error, module_name, attribute, option) from error
    for name in attribute.split("."):  # `nets:Lifters.small` is an attribute of a class
        if not hasattr(target, name):
            raise _no_attribute(target, name, module_name, attribute, option)
        target = getattr(target, name)
    if not callable(target):
        facts = f"{factory} is a {type(target).__name__}, which cannot be called"
        raise FactoryError(option, facts, "name a class or a function.")
    return target


def _not_imported(error: BaseException, module: str, attribute: str, option: str) -> FactoryError:
    """The error for a module whose import fails: it is elsewhere, or the line of it that fails."""
    facts = f"cannot import {module!r} ({type(error).__name__}: {_line(error)})"
    remedy = (
        f"run in the folder that holds it (now {Path.cwd()}), name that folder before the command, "
        "`PYTHONPATH=FOLDER chiralize ...`, or install the package."
    )
    # Three causes with a remedy each: no such module from here, a line inside it that fails, a path in place of a name.
    line = where_it_fails(error)
    if is_absent(error, module):
        remedy = _elsewhere(module, attribute, option) + remedy
    elif line:
        facts = f"{facts[:-1]}; {line})"
        remedy = remedy_for(error, line)
    if module.endswith(".py"):
        remedy = f"name the module, not its file: {option} {module[:-3].replace('/', '.')}:{attribute}"
    return FactoryError(option, facts, remedy)


def _no_attribute(target: Any, name: str, module: str, attribute: str, option: str) -> FactoryError:
    """The error for a module that has no class or function of this name."""
    remedy = f"correct `{option}`."
    if near := difflib.get_close_matches(name, dir(target), n=1):
        remedy = f"nearest name: {near[0]!r}; {remedy}"
    remedy = _elsewhere(module, attribute, option) + remedy
    return FactoryError(option, f"module {module!r} has no attribute {attribute!r}", remedy)


def _elsewhere(module: str, attribute: str, option: str) -> str:
    """Where below the current folder a class or function of this name is defined, as options; "" where nowhere."""
    names = [f"{option} {name}" for name in defined_below(module, attribute)]
    if not names:
        return ""
    return f"{attribute} is defined below this folder: {' or '.join(names)}; else "


def parse_value(name: str, text: str) -> Any:
    """Value of `--arg name=text`: a YAML scalar or list; `3,3,3` is the tuple (3, 3, 3).  Raises UsageError."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        facts = f"{text!r} is not a YAML value"
        raise UsageError(f"--arg {name}", facts, "quote the value, for example `--arg name='[1, 2]'`.") from error
    # YAML has no tuples: `3,3,3` is a text for it.  Quoted, `'a,b'` stays one.
    if isinstance(value, str) and "," in value and not text.strip().startswith(("'", '"')):
        return tuple(parse_value(name, part) for part in value.split(",") if part.strip())
    return value


def fill_weights(module: torch.nn.Module, state: Mapping[str, torch.Tensor], factory: str, where: str) -> None:
    """Load the weights; every name and shape has to fit.  Raises FactoryError.

    factory, where: what messages call the network and the file.  The error lists what is missing, unexpected or of
    another shape, each with the nearest name on the other side.
    """
    expected = module.state_dict()
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    wrong = [name for name in expected if name in state and expected[name].shape != state[name].shape]
    if not (missing or unexpected or wrong):
        _take_precision_of(state, module)
        try:
            module.load_state_dict(dict(state), strict=True)
        except Exception as error:  # hooks of the user's module
            raise FactoryError(where, f"{factory} refuses the weights ({_line(error)})", _REMEDY) from error
        return
    lines = [f"{name!r}: network {tuple(expected[name].shape)}, file {tuple(state[name].shape)}" for name in wrong]
    for name in missing:
        lines.append(f"{name!r} {tuple(expected[name].shape)} is not in the file{_nearest(name, unexpected)}")
    for name in unexpected:
        lines.append(f"{name!r} {tuple(state[name].shape)} is not in the network{_nearest(name, missing)}")
    counts = f"{len(missing)} missing, {len(unexpected)} unexpected, {len(wrong)} of another shape"
    more = when(len(lines) > _SHOWN, f"; and {len(lines) - _SHOWN} more")
    facts = f"the weights do not fit {factory} ({counts}): {'; '.join(lines[:_SHOWN])}{more}"
    raise FactoryError(where, facts, _inside(expected, state) or _REMEDY)


def _inside(expected: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    """The remedy where the file holds a network that is a part of the one that was built; "" elsewhere.

    Of a wrapper with the weights `net.first.weight` and a file with `first.weight`: all names lack the same beginning.
    """
    prefix, _, _ = next(iter(expected), "").partition(".")
    if not state or set(expected) != {f"{prefix}.{name}" for name in state}:
        return ""
    return (
        f"they are those of its part `{prefix}` alone: make its class a subclass of that network, not a wrapper, or "
        f"save them under its names, {{'{prefix}.' + name: tensor for name, tensor in weights.items()}}"
    )


def _take_precision_of(state: Mapping[str, torch.Tensor], module: torch.nn.Module) -> None:
    """Give the module the weights' one kind of floats: `load_state_dict` would round float64 to float32."""
    # Weights of several kinds name no precision: then each is rounded to that of its place in the network.
    stored = _float_kinds(state.values())
    if len(stored) == 1 and stored != _float_kinds(module.parameters()):
        module.to(stored.pop())


def _float_kinds(tensors: Iterable[torch.Tensor]) -> set[torch.dtype]:
    """The number types of those that hold floating-point numbers."""
    return {tensor.dtype for tensor in tensors if tensor.is_floating_point()}


_REMEDY = "build the network with the arguments it was trained with (`--arg name=value`), or pick another `--key`."


def _nearest(name: str, names: list[str]) -> str:
    """The most similar of the names, in brackets; "" where none is similar."""
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f" (nearest: {near[0]!r})"
    return ""


def _place(error: BaseException) -> str:
    """The line that raised an error without words: `line 31 of graph.py, raise ValueError()`."""
    # For errors such as a bare `raise ValueError()`, of which only the line tells anything.
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"line {frame.lineno} of {Path(frame.filename).name}, {frame.line}"


def _line(error: BaseException) -> str:
    """The words of an error in one line of at most 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:200]
