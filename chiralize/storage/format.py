"""What is known of a file format, in one record; what a command wants of a file; and the model that comes of it.

`load.load_model` fills a `Wanted` from its arguments, finds the `Format` that recognises the file, and gets a
`LoadedModel`.  That of a file of weights has an `Origin`, by which `writing_back` puts results into a file like it.
A new format is a file in `formats/` with a record FORMAT.  Of two that recognise a file the one with the higher rank
counts: a checkpoint of rsl_rl (20) is a file of weights (0) as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chiralize.storage.content import Content

if TYPE_CHECKING:
    import torch

    from chiralize.storage.assumed import Doubtful
    from chiralize.storage.factory import Factory
    from chiralize.storage.vec_normalize import Statistics

AUTO = "auto"
"""What `--model` may be where the class that the file names is to be imported."""


@dataclass(frozen=True)
class Wanted:
    """What the user said about the file.

    factory: "package.module:attribute" that builds the network, "auto", or what the name stands for.
    factory_args: its arguments as YAML text.  key: entry of a checkpoint that holds the weights.  prefix: of their
    names.  normalizer: file of statistics beside it.  unsafe_pickle: may run the file's own code.
    onnx: an ONNX file will do.  command: as the user typed it, for messages.  joints: of the skeleton, 0 where it is
    not known; for arguments that the weights do not tell.
    describes: whether the specification, where there is one, could be of a network from so many numbers to so many.
    tell: called with the name of every step that takes long.
    before_search: called with the class or function of weights that have no record of their inputs, before arguments
    are tried for it; it may raise what its signature says.
    """

    factory: Factory | None = None
    factory_args: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    prefix: str | None = None
    normalizer: Path | None = None
    unsafe_pickle: bool = False
    onnx: bool = False
    command: str = ""
    joints: int = 0
    describes: Callable[[int, int], bool] = lambda inputs, outputs: True
    tell: Callable[[str], None] = lambda step: None
    before_search: Callable[[object], None] = lambda target: None


@dataclass(frozen=True)
class Origin:
    """Where the weights of a network came from, so that they can be put back.

    path, digest: of the file or folder, and its format's name.  key, prefix: as chosen or found.  names: what the file
    calls each weight of the network.  factory, factory_args: what built the network.  normalizer: a second file, whose
    statistics are the network's, too.  beside: entries of the file with further weights of the network, whose names in
    `names` start with the entry's.
    """

    path: Path
    digest: str
    format: str
    key: str
    prefix: str
    names: Mapping[str, str]
    factory: str = ""
    factory_args: Mapping[str, str] = field(default_factory=dict)
    normalizer: Statistics | None = None
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadedModel:
    """A model as it came from its file.

    module: in eval mode, on the CPU.  exported: the program of a `.pt2`.  example_args, example_kwargs: the inputs that
    a `.pt2` brings along.  extra: texts that travel with the file ("chirality.json").  digest: SHA-256 of the file.
    origin: of weights, None for a file that holds a whole network.  remedy: what to do where its mirror does not hold,
    "" where nothing but a conversion helps.  doubtful: arguments of its class that nobody gave, and that weights do not
    tell.
    """

    module: torch.nn.Module
    format: str
    source: Path
    digest: str
    exported: torch.export.ExportedProgram | None = None
    example_args: tuple[Any, ...] | None = None
    example_kwargs: dict[str, Any] | None = None
    extra: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    origin: Origin | None = None
    remedy: str = ""
    doubtful: tuple[Doubtful, ...] = ()


@dataclass(frozen=True)
class Format:
    """A kind of file.

    title: in words, for messages.  recognises: by the content, never by a name, without running any of it.  load: the
    model; None for files that hold none.  arrays: tables of arrays in it, where it may hold data.  write_back: the file
    at `target`, which is the origin's but for the weights, and `sidecar` (JSON) with it; the notes on what else should
    be known; None where a result cannot go back.  rank: formats of a higher one are asked first: they know more.
    may_be_whole: whether the network itself can be in the file, so that it may need no factory.
    """

    name: str
    title: str
    recognises: Callable[[Content], bool]
    load: Callable[[Content, Wanted], LoadedModel] | None = None
    arrays: Callable[[Content], Any] | None = None
    write_back: Callable[[Origin, Mapping[str, torch.Tensor], Path, str], tuple[str, ...]] | None = None
    rank: int = 0
    may_be_whole: bool = False
