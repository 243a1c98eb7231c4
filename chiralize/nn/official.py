"""Trained weights of the paper's published layers, as ours and torch's take them.

Features are [left, right, centre] joints, the first channels of every joint are negated. The release keeps a dense
weight as five blocks times a mask of signs and zeros, rows and columns left, right, centre:

    w1 w2 w3      right-hand rows repeat the left ones with left and right exchanged,
    w2 w1 w3      the centre's row reads both sides alike
    w4 w4 w5

and a batch norm's numbers by kind of feature. Here they become dense weights in the order of the features.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from chiralize.errors import UsageError

Joints = Sequence[int]
State = Mapping[str, Tensor]
_WHERE = "official weights"
_GATED = {4: (False, False, True, False), 3: (False, False, True)}
"""Which gates carry signs, by how many there are: i f g o of an LSTM, r z n of a GRU."""
_CELL = re.compile(r"layer_linears\.(\d+)\.([01])\.(\d+)\.(\w+)")
"""Names in a recurrent module: layer, input or state, gate, and the name in the gate."""
_NORM = {"weight": ("bn_{}_w{}", 1), "bias": ("bn_{}_b{}", -1), "running_mean": ("running_mean_{}{}", -1)}
_NORM |= {"running_var": ("running_var_{}{}", 1)}
"""A batch norm's tensors: how the release calls their parts, and what the mirror makes of negated channels."""


def official_weights(
    state: State, joints: tuple[Joints, Joints], negated: tuple[int, int], gates: int = 1
) -> dict[str, Tensor]:
    """Weights of a layer of the paper's published code, by the names that `load_state_dict` of ours and torch's takes.

    state: the `state_dict()` of one of its modules.

    - A linear layer or convolution: w1 (left to left), w2 (right to left), w3 (centre to left), w4 (left to centre), w5
      (centre to centre), b1 (left), b2 (centre), "(joint channel) (joint channel) kernel...".
    - A batch norm: weight, bias and the running statistics come back. They give the same answers in evaluation.
    - A GRU of any number of layers.

    joints: of input and output.  negated: how many channels of every joint change sign there.  gates: 3 for the stacked
    weights of a GRU and 4 for those of an LSTM, where these do not come as a module.
    Entries that the paper sets to zero are zero. Raises UsageError: for other modules, for joints or signs that the
    module's own mask contradicts, and for a released LSTM, which does not compute one.
    """
    if any(_CELL.fullmatch(name) for name in state):
        return _recurrent(state, joints, negated)
    if "bn_pos_w1" in state or "running_mean_pos1" in state:
        return _norm(state, joints[1], negated[1])
    missing = [name for name in ("w1", "w2", "w3", "w4", "w5") if name not in state]
    if missing or gates not in (1, *_GATED):
        raise UsageError(_WHERE, f"missing {', '.join(missing) or 'gates'}", "pass one layer's state_dict")
    names = [name for name in ("w1", "w2", "w3", "w4", "w5", "b1", "b2") if name in state]
    if gates == 1:
        return _gate(state, joints, negated)
    parts: dict[str, list[Tensor]] = {}
    for gate, is_signed in enumerate(_GATED[gates]):
        weights = {name: state[name].chunk(gates)[gate] for name in names}
        _put(parts, _gate(weights, joints, (negated[0], negated[1] if is_signed else 0)))
    return {name: torch.cat(of_gates) for name, of_gates in parts.items()}


def _put(parts: dict[str, list[Tensor]], dense: State) -> None:
    """Add the parts of one gate to lists by name; gates lie one behind the other in torch's weights."""
    for name, part in dense.items():
        parts.setdefault(name, []).append(part)


def _recurrent(state: State, joints: tuple[Joints, Joints], negated: tuple[int, int]) -> dict[str, Tensor]:
    """The weights of a recurrent module, under the names of torch's."""
    cells: dict[tuple[int, int], dict[int, dict[str, Tensor]]] = {}
    for name, tensor in state.items():
        match = _CELL.fullmatch(name)
        if match is None:
            raise UsageError(_WHERE, f"{name} is of no recurrent module", "pass the state_dict of one module")
        layer, source, gate = map(int, match.groups()[:3])
        cells.setdefault((layer, source), {}).setdefault(gate, {})[match[4]] = tensor
    counts = set(map(len, cells.values()))
    # A published cell has four gates for an LSTM and three for a GRU.
    if counts == {4}:
        facts = (
            "this is the released LSTM, which overwrites its state and its answer with the cell candidate, so that "
            "three of its four gates do nothing"
        )
        raise UsageError(_WHERE, facts, "train chiralize.nn.LSTM anew, or convert a trained nn.LSTM")
    if counts != {3}:
        raise UsageError(_WHERE, f"{sorted(counts)} gates, and a GRU has 3", "pass the state_dict of one module")
    if list(joints[0]) != list(joints[1]) or negated[0] != negated[1]:
        facts = "the released GRU reads its state with the joints and the negated channels of its input"
        raise UsageError(_WHERE, facts, "give the same for both, as the module was made; else it is not equivariant")
    weights = dict[str, Tensor]()
    for (layer, source), gates in sorted(cells.items()):
        parts: dict[str, list[Tensor]] = {}
        for gate, is_signed in enumerate(_GATED[3]):
            _put(parts, _gate(gates[gate], joints, (negated[0], negated[1] if is_signed else 0)))
        for name, of_gates in parts.items():
            weights[f"{name}_{'ih' if source == 0 else 'hh'}_l{layer}"] = torch.cat(of_gates)
    return weights


def _norm(state: State, joints: Joints, negated: int) -> dict[str, Tensor]:
    """The numbers of a batch norm, of every feature in the order of the features."""
    whole = dict[str, Tensor]()
    for name, (pattern, sign) in _NORM.items():
        parts = dict[str, Tensor | None]()
        for part in ("neg1", "neg2", "pos1", "pos2"):
            parts[part] = state.get(pattern.format(part[:3], part[3]))
        if all(part is None for part in parts.values()):
            continue
        absent = [part for part, numbers in parts.items() if numbers is None]
        if absent:
            raise UsageError(_WHERE, f"{name} has no part {', '.join(absent)}", "pass the state_dict of one module")
        given = {part: numbers for part, numbers in parts.items() if numbers is not None}
        # neg1, pos1: negated and other channels of a side; neg2, pos2: of the centre. A mean or bias of a negated
        # centre channel is its own negative: 0.
        centre = given["neg2"] if sign > 0 else torch.zeros_like(given["neg2"])
        sides = (given["neg1"], given["pos1"]), (sign * given["neg1"], given["pos1"]), (centre, given["pos2"])
        whole[name] = _by_feature(sides, joints, negated)
    if "num_batches_tracked" in state:
        whole["num_batches_tracked"] = state["num_batches_tracked"]
    return whole


def _by_feature(sides: Sequence[tuple[Tensor, Tensor]], joints: Joints, negated: int) -> Tensor:
    """Numbers of all features.  sides: for left, right and centre those of negated channels, and of the others."""
    features = sum(turned.numel() + plain.numel() for turned, plain in sides)
    channels = _channels(features, joints)
    in_order = _in_release_order(features, channels, negated)
    whole, first = sides[0][0].new_empty(features), 0
    orders = list[list[int]]()
    for (turned, plain), count in zip(sides, joints, strict=True):
        # Features of this side, joint by joint; the first `negated` channels of each are the signed ones.
        after = first + count * channels
        signed = [feature for feature in range(first, after) if feature % channels < negated]
        others = [feature for feature in in_order if first <= feature < after]
        if (turned.numel(), plain.numel()) != (len(signed), len(others)):
            kinds = f"{turned.numel()} negated and {plain.numel()} other channels"
            facts = f"{kinds} for {count} joints, {negated} negated each"
            raise UsageError(_WHERE, facts, "check the joints, and how many channels of each are negated")
        whole[signed], whole[others] = turned, plain
        orders.append([feature - first for feature in others])
        first = after
    # A Python set may list left features in another order than right ones: then partners get different numbers.
    if orders[0] != orders[1]:
        facts = (
            "in this size the released batch norm gives one number to a left and a right feature that are no partners"
        )
        raise UsageError(_WHERE, facts, "train chiralize.nn.BatchNorm1d anew: the released module is not equivariant")
    return whole


def _in_release_order(features: int, channels: int, negated: int) -> list[int]:
    """The features that keep their sign, in the order of the release, which is the order of a Python set.

    In most sizes this is from the first to the last. Of 34 features the last comes before the other ones of the middle.
    """
    turned = {feature for feature in range(features) if feature % channels < negated}
    return list(set(range(features)) - turned)


def _check_mask(given: Tensor | None, mask: Tensor) -> None:
    """Raise UsageError where the module's own mask is another one."""
    if given is None:
        return
    seen = given.to(mask).flatten(2)[..., 0] if given.ndim > 2 else given.to(mask)
    if seen.shape != mask.shape or not torch.equal(seen, mask):
        raise UsageError(
            _WHERE, "the module's weight_mask has other signs", "check the joints, and how many channels are negated"
        )


def _gate(w: State, joints: tuple[Joints, Joints], negated: tuple[int, int]) -> dict[str, Tensor]:
    """Dense weight and bias of one gate. w: its w1 to w5, and b1 and b2 where it has them; its masks as well."""
    rows = [[w["w1"], w["w2"], w["w3"]], [w["w2"], w["w1"], w["w3"]], [w["w4"], w["w4"], w["w5"]]]
    weight = torch.cat([torch.cat(row, 1) for row in rows])
    # [left, right, centre] signs of the features, of input and output.
    into = _signs(joints[0], _channels(weight.shape[1], joints[0]), negated[0])
    out = _signs(joints[1], _channels(weight.shape[0], joints[1]), negated[1])
    mask = torch.from_numpy(_mask(into, out)).to(weight)
    _check_mask(w.get("weight_mask"), mask)
    dense = {"weight": weight * mask.view(*mask.shape, *([1] * (weight.ndim - 2)))}
    if "b1" in w:
        right, centre = out[1], out[2]
        # A right bias is the left one with the sign of its channel; a centre bias is zero where the channel is
        # negated.
        signs = np.concatenate([np.ones_like(right), right, (centre + 1) / 2])
        dense["bias"] = torch.cat([w["b1"], w["b1"], w["b2"]]) * torch.from_numpy(signs).to(weight)
    return dense


def _channels(size: int, joints: Joints) -> int:
    """Channels of every joint. Raises UsageError where joints do not divide the features."""
    count, over = divmod(size, sum(joints))
    if over:
        raise UsageError(_WHERE, f"{size} features for {sum(joints)} joints", "check the joint counts")
    return count


def _signs(joints: Joints, channels: int, negated: int) -> list[np.ndarray]:
    """+1 or -1 of every feature, for left, right and centre."""
    one = np.where(np.arange(channels) < negated, -1.0, 1.0)
    return [np.tile(one, count) for count in joints]


def _mask(into: list[np.ndarray], out: list[np.ndarray]) -> np.ndarray:
    """The signs that make [[w1, w2, w3], ...] equivariant, and the paper's zeros in the centre's rows."""
    # Left rows are as they are, right ones have the sign of output and input. In the centre, rows that T leaves alone
    # read channels that it leaves alone. Negated rows read what is odd of both sides, and negated channels of the
    # centre.
    left = np.ones((len(out[0]), sum(map(len, into))))
    right = np.outer(out[1], np.concatenate(into))
    plain = (1 + np.concatenate(into)) / 2  # a row that the mirror leaves alone reads features that it leaves alone
    turned = np.concatenate([np.ones(len(into[0])), -into[1], (1 - into[2]) / 2])
    centre = np.where(out[2][:, None] > 0, plain, turned)
    return np.concatenate([left, right, centre])
