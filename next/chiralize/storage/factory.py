"""What builds the network? `--model pkg.mod:Net`, called with `--arg name=value` and with what the file saved.

This is the only place where the user's code runs to load a model, and it may do anything: print, parse the command
line, exit, ask for a GPU. Whatever it raises leaves as FactoryError.

    --model nets.lifter:Lifter --arg width=256     Lifter(width=256) of nets/lifter.py, below this folder
    --arg args.frames=27                           Lifter(args=Settings(frames=27))
"""

from __future__ import annotations

import copy
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import yaml

from chiralize.errors import FactoryError, UsageError
from chiralize.errors.words import first_line, listed, raised_at
from chiralize.graph.devices import Staying
from chiralize.storage.pickles import Foreign

Model = str | torch.nn.Module | Callable[..., torch.nn.Module]
"""`pkg.mod:attr`, the class or function itself, or a module, which is copied."""
OBJECTS = ("args", "arg", "opt", "opts", "config", "cfg", "conf", "params", "hparams", "options")
"""What constructors call an argument that is an object of arguments, and trainers the entry that they save it in."""
_DEPTH = 8
"""Levels of containers in a value that a file saved: more are no arguments of a network."""
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class MissingSettingError(AttributeError):
    """A constructor asked an object of arguments for a name that nobody gave. wanted: the name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no {name!r} among the arguments")
        self.wanted = name


class Settings(SimpleNamespace):
    """Arguments in one object, `args.frames`; says which name is asked for and missing."""

    def __getattr__(self, name: str) -> Any:
        raise MissingSettingError(name)


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as a call takes them: `{"args.frames": 27}` is `{"args": Settings(frames=27)}`, at any depth."""
    call: dict[str, Any] = {}
    for name, value in values.items():
        *heads, last = name.split(".")
        holder = call
        for head in heads:
            if not isinstance(holder.get(head), Settings):
                holder[head] = Settings()
            holder = vars(holder[head])
        holder[last] = value
    return call


def name_of(model: Model) -> str:
    """What messages call it: the text that the user typed, else the name of the class or function."""
    if isinstance(model, str):
        return model
    return type(model).__name__ if isinstance(model, torch.nn.Module) else getattr(model, "__name__", "model")


def built(model: Model, arguments: Mapping[str, Any]) -> torch.nn.Module:
    """The module that a class or function returns for these arguments, in eval mode.

    Raises FactoryError, UsageError.
    """
    if isinstance(model, torch.nn.Module):
        if arguments:
            raise UsageError("--arg", f"{name_of(model)} is built already", "leave it out, or give the class")
        return copy.deepcopy(model).eval()
    function = called_by(model)
    shown = f"{name_of(model)}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
    try:
        with importable(), Staying():  # requests for a GPU stay on the CPU
            module = function(**nested(arguments))
    except MissingSettingError as error:
        holder = next((name.partition(".")[0] for name in arguments if "." in name), OBJECTS[0])
        facts = f"{shown} asks its object of arguments for {error.wanted!r}"
        raise FactoryError("--model", facts, f"give it: --arg {holder}.{error.wanted}=VALUE") from error
    except (Exception, SystemExit) as error:  # the user's own code, which may call `sys.exit`
        facts = f"{shown} raised {type(error).__name__}: {first_line(error)} ({raised_at(error)})"
        raise FactoryError("--model", facts, _needed(function, arguments)) from error
    if not isinstance(module, torch.nn.Module):
        facts = f"{shown} returned a {type(module).__name__}, not a torch.nn.Module"
        raise FactoryError("--model", facts, "name a class of networks, or a function that returns one")
    module.eval()  # not all networks return themselves
    return module


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The arguments that go by name; none of what has no signature."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [each for each in parameters if each.kind in _BY_NAME]


def without_value(function: Callable[..., Any], given: Mapping[str, Any]) -> list[str]:
    """The arguments that the class wants and nobody gave."""
    heads = {name.partition(".")[0] for name in given}  # `args.frames` gives `args`
    return [each.name for each in parameters_of(function) if each.default is each.empty and each.name not in heads]


def _needed(function: Callable[..., Any], given: Mapping[str, Any]) -> str:
    """The remedy for a class that could not be built: the arguments to give, by their names."""
    missing = without_value(function, given)
    if not missing:
        return "give the arguments that it was trained with, --arg NAME=VALUE"
    options = [f"--arg {name}.NAME=VALUE" if name in OBJECTS else f"--arg {name}=VALUE" for name in missing]
    return f"give them as the network was trained: {' '.join(options)}"


def called_by(model: Model) -> Callable[..., Any]:
    """The class or function that builds the network. Raises FactoryError."""
    if not isinstance(model, str):
        return model
    module_name, colon, attribute = model.partition(":")
    if not colon or not module_name or not attribute:
        facts = f"{model!r} is not of the form package.module:attribute"
        raise FactoryError("--model", facts, "write for example --model your_package.your_module:YourNet")
    try:
        with importable():
            target: Any = importlib.import_module(module_name)
        for name in attribute.split("."):  # `nets:Lifters.small` is an attribute of a class
            target = getattr(target, name)
    except (Exception, SystemExit) as error:  # the user's own code
        facts = f"cannot import {model!r} ({type(error).__name__}: {first_line(error)}; {raised_at(error)})"
        remedy = f"run in the folder that holds it (now {Path.cwd()}), and name the module, not its file"
        raise FactoryError("--model", facts, remedy) from error
    if not callable(target):
        raise FactoryError("--model", f"{model} is a {type(target).__name__}", "name a class or a function")
    return target


@contextmanager
def importable() -> Iterator[None]:
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


def parse_value(name: str, value: Any) -> Any:
    """The value of `--arg name=text`, a YAML scalar or list; `3,3,3` is the tuple (3, 3, 3). Raises UsageError."""
    if not isinstance(value, str):
        return value
    try:
        parsed = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"--arg {name}", f"{value!r} is no YAML value", "quote the value: '[1, 2]'") from error
    # YAML has no tuples: `3,3,3` is a text for it. Quoted, `'a,b'` stays one.
    if isinstance(parsed, str) and "," in parsed and not value.strip().startswith(("'", '"')):
        return tuple(parse_value(name, part) for part in parsed.split(",") if part.strip())
    return parsed


# ---- what a file saved of arguments ---------------------------------------------------------------------------------
def saved_arguments(tree: Any, entry: str) -> dict[str, Any]:
    """What a trainer saved of its options beside the weights: under its own entry, or the first of the usual names."""
    if not isinstance(tree, Mapping):
        return {}
    for name in (entry, *OBJECTS):
        saved = tree.get(name)
        table = saved.fields if isinstance(saved, Foreign) else saved
        if isinstance(table, Mapping):
            plain = {key: value for key, value in table.items() if isinstance(key, str) and key.isidentifier()}
            if values := {key: value for key, value in plain.items() if _is_plain(value, _DEPTH)}:
                return values
    return {}


def _is_plain(value: Any, depth: int) -> bool:
    """Whether a value is a number, a text, or a container of those."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return True
    if isinstance(value, Mapping) and depth:
        return all(isinstance(key, str) and _is_plain(entry, depth - 1) for key, entry in value.items())
    return isinstance(value, (list, tuple)) and bool(depth) and all(_is_plain(entry, depth - 1) for entry in value)


def taken(model: Model, saved: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Of the values that a file saved, those that the class takes by name and the user does not give.

    A class that wants all of them in one object (`args`) gets them so.
    """
    if not saved or isinstance(model, torch.nn.Module):
        return {}
    parameters = parameters_of(called_by(model))
    heads = {name.partition(".")[0] for name in given}
    brought = {each.name: saved[each.name] for each in parameters if each.name in saved and each.name not in heads}
    whole = [each.name for each in parameters if each.name in OBJECTS and each.default is each.empty]
    if len(whole) == 1 and whole[0] not in {*brought, *given}:
        brought |= {f"{whole[0]}.{name}": value for name, value in saved.items() if f"{whole[0]}.{name}" not in given}
    return brought


# ---- filled ----------------------------------------------------------------------------------------------------
def fill(module: torch.nn.Module, weights: Mapping[str, torch.Tensor], name: str, where: str) -> None:
    """Load weights whose names and shapes fit. Raises FactoryError where hooks of the module refuse them."""
    kinds = {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()}
    if len(kinds) == 1:  # `load_state_dict` would round float64 to float32
        module.to(kinds.pop())
    state = module.state_dict()
    rest = {each: value for each, value in state.items() if not isinstance(value, torch.Tensor)}  # _extra_state
    try:
        module.load_state_dict({**rest, **weights}, strict=True)
    except Exception as error:  # hooks of the user's module
        facts = f"{name} refuses the weights ({first_line(error)})"
        raise FactoryError(where, facts, "name a function that builds the network and loads them") from error


def layers_of(shapes: Mapping[str, tuple[int, ...]], most: int = 12) -> str:
    """The layers of a file, as sizes tell them: `first 34 -> 256`."""
    layers = [
        f"{name.removesuffix('.weight')} {shape[1]} -> {shape[0]}"
        for name, shape in shapes.items()
        if name.endswith(".weight") and len(shape) >= 2
    ]
    return listed(layers, most)
