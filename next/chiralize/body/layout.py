"""What is every axis? One word per tensor axis, `(j d)` for a merged axis, `...` for any number of axes.

`j` is the joint axis (two of them hold a number for every two joints), `d` the coordinate axis (two hold a matrix), `f`
an axis of concatenated fields, `classes` an axis of scores; every other word is a free axis, which the mirror leaves
alone. `~w` is an axis of a picture that the mirror reverses.

    "b t j d"      (32, 27, 17, 2)    batch, frames, joints, coordinates
    "b t (j d)"    (32, 27, 34)       x and y of the first joint, of the second, ...
    "b j d d"      (32, 24, 3, 3)     a rotation matrix a joint
    "b j j"        (32, 22, 22)       a covariance, a distance or an edge between every two joints
    "... f"        (32, 48)           an observation in blocks

A `Layout` knows no sizes: `fitting.fit` gives every word its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from chiralize.body.values import Wrong
from chiralize.errors import LayoutSizeError

ELLIPSIS = "..."
KNOWN = ("j", "d", "f")
CLASSES = "classes"
NOT_REVERSED = ("b", "t", *KNOWN, "1", ELLIPSIS)
"""Samples and frames have no left and right; joints, coordinates and fields are mirrored in their own way."""
_WORD = r"(?:[A-Za-z_][A-Za-z0-9_]*|1(?![A-Za-z0-9_]))"
_AXIS = re.compile(rf"\.\.\.|{_WORD}|\(\s*{_WORD}(?:\s+{_WORD})*\s*\)")
_REVERSED = re.compile(r"~([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True)
class Layout:
    """axes: the words of each axis, slowest first; `("...",)` stands for any number of free axes.

    >>> str(parse_layout("b t (j d)"))
    'b t (j d)'
    """

    axes: tuple[tuple[str, ...], ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The words of all axes in their order."""
        return tuple(word for axis in self.axes for word in axis)

    def __contains__(self, word: str) -> bool:
        return word in self.words

    def axis_of(self, word: str) -> int | None:
        """The number of the axis that holds `word`, or None."""
        return next((number for number, words in enumerate(self.axes) if word in words), None)

    def free_axes(self, besides: Iterable[str] = ()) -> tuple[tuple[str, int], ...]:
        """The word and the number of every axis of one word that is no joints, coordinates or fields, nor `besides`."""
        taken = {*KNOWN, *besides}
        return tuple(
            (words[0], axis) for axis, words in enumerate(self.axes) if len(words) == 1 and words[0] not in taken
        )

    def __str__(self) -> str:
        return " ".join(words[0] if len(words) == 1 else f"({' '.join(words)})" for words in self.axes)

    def expanded(self, ndim: int, where: str) -> Layout:
        """The layout with `...` written out for a tensor of `ndim` axes. Raises LayoutSizeError.

        "... f" of three axes is "b t f". The words that stand for `...` are free ones that the layout does not use.
        """
        is_open = (ELLIPSIS,) in self.axes
        missing = ndim - len(self.axes) + is_open  # `...` may stand for no axis at all
        if missing < 0 or (missing and not is_open):
            facts = f"layout {str(self)!r} has {len(self.axes)} axes, the tensor has {ndim}"
            raise LayoutSizeError(where, facts, "name each axis once, or `...`")
        if not is_open:
            return self
        axis = self.axes.index((ELLIPSIS,))
        free = [(name,) for name in free_names(missing, self.words)]
        return Layout((*self.axes[:axis], *free, *self.axes[axis + 1 :]))


def free_names(count: int, taken: Sequence[str] = ()) -> list[str]:
    """Names for free axes: b, t, u, v, w, then a1, a2, ..., none of `taken`."""
    names = [name for name in ("b", "t", "u", "v", "w") if name not in taken]
    number = 1
    while len(names) < count:
        if f"a{number}" not in taken:
            names.append(f"a{number}")
        number += 1
    return names[:count]


def split_reversed(text: str) -> tuple[str, tuple[str, ...]]:
    """A layout without its tildes, and the words that had one.

    >>> split_reversed("b c h ~w")
    ('b c h w', ('w',))
    """
    return _REVERSED.sub(r"\1", text), tuple(_REVERSED.findall(text))


@lru_cache(1024)
def parse_layout(text: str) -> Layout:
    """The Layout that `text` spells, without tildes. Raises Wrong that repeats the text."""
    axes = [tuple(axis.strip("()").split()) for axis in _AXIS.findall(text)]
    words = [word for axis in axes for word in axis]
    # Axes of length 1 as many as one likes, the sides of a matrix, and joints beside joints.
    most = {"1": len(words), "d": 2, "j": 1 if "d" in words else 2}
    often = [word for word in words if words.count(word) > most.get(word, 1)]
    if not axes or often or _AXIS.sub("", text).strip():
        facts = f"layout {text!r} " + (f"has the word {often[0]!r} too often" if often else "is no list of axes")
        raise Wrong(facts, 'write one word per axis, such as "b t j d", "b t (j d)" or "... f"', ("layout",))
    return Layout(tuple(axes))
