"""Arguments in one object, as classes take them that read `args.frames`: `--arg args.frames=27`.

Many networks are built as `Net(args)` from the options of their trainer's command line.  A `Settings` stands for that
object.  Asked for a name that it does not have, it says which: so `arguments_from_weights` learns what is to be found.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

NAMES = ("args", "arg", "opt", "opts", "config", "cfg", "conf", "params", "hparams", "options")
"""What constructors call an argument that is an object of arguments."""


class Settings(SimpleNamespace):
    """Arguments in one object, `args.frames`; says which name is asked for and not there."""

    def __getattr__(self, name: str) -> Any:
        raise MissingSettingError(name)


class MissingSettingError(AttributeError):
    """A constructor asked an object of arguments for a name that nobody gave.  wanted: the name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no {name!r} among the arguments")
        self.wanted = name


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as a call takes them: `{"args.frames": 27}` is `{"args": Settings(frames=27)}`.

    Deeper names make objects in objects: `args.model.width` is `args=Settings(model=Settings(width=...))`.  An object
    wins over a plain value of the same name that stands before it.
    """
    call: dict[str, Any] = {}
    # "args.model.width": `args` is made if it is no object yet, then `model` in it, then `width` is set.
    for name, value in values.items():
        head, *parts = name.split(".")
        if not parts:
            call[name] = value
            continue
        owner = call.get(head)
        if not isinstance(owner, Settings):
            owner = call[head] = Settings()
        for part in parts[:-1]:
            inner = vars(owner).get(part)
            if not isinstance(inner, Settings):
                inner = Settings()
                setattr(owner, part, inner)
            owner = inner
        setattr(owner, parts[-1], value)
    return call
