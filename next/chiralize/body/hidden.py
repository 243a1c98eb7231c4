"""What is imposed on hidden axes? Plain pairs, or the paper's left, right and centre channels.

half      unit i swaps with unit i + H // 2 (an odd H's last unit stays); with a negated share s the first
          round(s * (H // 2)) units of each half carry a minus.
adjacent  unit 2 i swaps with unit 2 i + 1, otherwise the same.
skeleton  channels in the proportion of the joints, in the order left, right, centre, in each the negated ones first.

Five units with a negated share of 1/2, where - marks a negated pair and . a unit that stays:

    half       0<->2 -   1<->3     4 .
    adjacent   0<->1 -   2<->3     4 .

`infer/hidden/` asks for it where the user, or a method, imposes a layout in place of one that follows from the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from fractions import Fraction
from math import floor
from typing import Annotated, Any, Literal, TypeVar

from pydantic.functional_validators import AfterValidator, BeforeValidator

from chiralize.body.skeleton import Skeleton
from chiralize.body.values import Exact, Keys, Wrong, as_json, as_list, not_empty
from chiralize.errors import WrongValueError
from chiralize.symmetry.involution import SignedPermutation

T = TypeVar("T")


def _by_depth(value: Any) -> Any:
    """One value, a list by depth, or a map from globs."""
    return value if isinstance(value, Mapping) else as_list(value)


def _share(value: Fraction) -> Fraction:
    if not 0 <= value <= 1:
        raise Wrong(f"negated share {value} lies outside 0..1", "give a share such as 1/3")
    return value


Pairing = Literal["half", "adjacent", "skeleton", "match"]
Share = Annotated[Exact, AfterValidator(_share)]


class HiddenPolicy(Keys):
    """What hidden spaces are given where a layout is imposed: `hidden: {pairing: half, negated: 1/3}` of a file.

    pairing, negated: each one value, a list by depth over the hidden spaces (the last repeats), or a map from globs to
    values, of which the first that matches the module path counts. Without a pairing it is `half`.
    """

    pairing: Annotated[tuple[Pairing, ...] | dict[str, Pairing], BeforeValidator(_by_depth)] = ()
    negated: Annotated[tuple[Share, ...] | dict[str, Share], BeforeValidator(_by_depth), AfterValidator(not_empty)] = (
        Fraction(0),
    )

    def pairing_for(self, depth: int = 0, module_path: str = "") -> str:
        """`half`, `adjacent`, `skeleton` or `match` for the hidden space of that depth (0 first) and module path."""
        return _chosen(self.pairing or ("half",), "half", depth, module_path)

    def negated_for(self, depth: int = 0, module_path: str = "") -> Fraction:
        """Share of negated channels for the hidden space of that depth (0 first) and module path."""
        return _chosen(self.negated, Fraction(0), depth, module_path)

    @property
    def alternatives(self) -> tuple[HiddenPolicy, ...]:
        """Itself and, where nobody said which units are pairs, other pairs that are as good a guess."""
        return (self,) if self.pairing else (self, self.model_copy(update={"pairing": ("adjacent",)}))

    @property
    def any_negated(self) -> bool:
        """Whether any hidden space has negated channels."""
        return any(self.negated.values() if isinstance(self.negated, dict) else self.negated)

    def to_dict(self) -> dict[str, object]:
        """The `hidden` key of a specification; fractions as text, one value without its list."""
        written: dict[str, object] = {}
        for key, values in (("pairing", self.pairing), ("negated", self.negated)):
            if values:
                written[key] = as_json(values[0] if isinstance(values, tuple) and len(values) == 1 else values)
        return written


def _chosen(values: Sequence[T] | Mapping[str, T], default: T, depth: int, module_path: str) -> T:
    """The value of the first glob that matches, or that of the depth, of which the last one repeats."""
    if isinstance(values, Mapping):
        return next((value for glob, value in values.items() if fnmatchcase(module_path, glob)), default)
    return values[min(depth, len(values) - 1)]


def impose(size: int, pairing: str, negated: Fraction | float, skeleton: Skeleton) -> SignedPermutation:
    """The signed permutation of a hidden axis of `size` units.

    pairing: `half`, `adjacent` or `skeleton`.  negated: share in [0, 1] of units that carry a sign.
    Raises WrongValueError for another pairing (`match` follows from the weights, not from a size) or share.

    >>> impose(5, "half", 0, Skeleton("s", ("c",), ()))  # doctest: +ELLIPSIS
    SignedPermutation(...)
    """
    share = Fraction(negated).limit_denominator(10**6)  # 0.1 as a float is no tenth
    if not 0 <= share <= 1:
        raise WrongValueError("hidden.negated", f"share {negated} lies outside 0..1", "give a share such as 1/3")
    if pairing == "half":
        count = size // 2
        return _blocks(count, size - 2 * count, _nearest(share * count), 0)
    # Both members of a pair have one sign, so the first 2 n units are n negated pairs.
    if pairing == "adjacent":
        minus = 2 * _nearest(share * (size // 2))
        return SignedPermutation.of([(i, i + 1) for i in range(0, size - 1, 2)], range(minus), size=size)
    if pairing == "skeleton":
        count, center = _proportions(size, skeleton)
        return _blocks(count, center, _nearest(share * count), _nearest(share * center))
    raise WrongValueError("hidden.pairing", f"no layout follows from {pairing!r}", "use half, adjacent or skeleton")


def _proportions(size: int, skeleton: Skeleton) -> tuple[int, int]:
    """(pairs, centre units): the centre share nearest to the joints' that leaves an even rest.

    64 units of 17 joints with 5 in the centre: 64 * 5 / 17 = 18.8, so 18 in the centre and 23 pairs.
    """
    wanted = Fraction(size * len(skeleton.center), len(skeleton.joints))
    near = range(max(floor(wanted) - 1, 0), min(floor(wanted) + 2, size) + 1)
    options = [center for center in near if (size - center) % 2 == 0]
    center = min(options, key=lambda count: (abs(count - wanted), count))
    return (size - center) // 2, center


def _blocks(count: int, center: int, negated: int, negated_center: int) -> SignedPermutation:
    """`count` left units, as many right ones, then `center`; the first `negated` of each side carry a minus."""
    pairs = [(i, i + count) for i in range(count)]
    minus = [*range(negated), *range(count, count + negated), *range(2 * count, 2 * count + negated_center)]
    return SignedPermutation.of(pairs, minus, size=2 * count + center)


def _nearest(value: Fraction) -> int:
    """The nearest whole number, of two the larger: `round` would take the even one."""
    return floor(value + Fraction(1, 2))
