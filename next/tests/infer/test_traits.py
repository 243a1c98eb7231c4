"""Every trait against its op: what a walk through a graph may rely on is true of the op on random numbers."""

from __future__ import annotations

import pytest

from chiralize.graph import traits as t
from chiralize.infer.rule import registry, traits
from tests.infer.samples import SAMPLES, batch, entrywise, generated, normal, sample
from tests.support.rule_values import Sample
from tests.support.trait_judge import Claims, named

_long, _planes, _solid = normal(2, 3, 6), normal(1, 2, 4, 4), normal(1, 1, 2, 4, 2)
WITHOUT_RULE = {
    "aten.cudnn_batch_norm.default": [],  # runs on its own devices
    "aten.native_batch_norm.default": [sample(*batch(3, 4).args[:5], False, 0.1, 1e-5)],
    "aten.upsample_linear1d.default": [sample(_long, [9], False), sample(_long, [9], True)],
    "aten.upsample_bilinear2d.default": [sample(_planes, [5, 7], False)],
    "aten.upsample_trilinear3d.default": [sample(_solid, [4, 4, 3], False)],
    "aten.upsample_nearest1d.default": [sample(_long, [12])],
    "aten.upsample_nearest2d.default": [sample(_planes, [8, 4])],
    "aten.upsample_nearest3d.default": [sample(_solid, [4, 4, 2])],
    "aten.empty_like.default": [],
    "aten.rand_like.default": [],
    "aten.randn_like.default": [],
    "aten.new_empty.default": [],
    "aten.zeros.default": [sample([2, 3])],
    "aten.ones.default": [sample([2, 3])],
    "aten.full.default": [sample([2, 3], 1.5)],
    "aten.empty.memory_format": [sample([2, 3])],
}
"""Calls of ops that have a trait and no rule; none of those that give other numbers at every call."""


def samples(target: str) -> list[Sample]:
    """The calls on which a trait is tried: of an op that is spelled otherwise, those of the op that it is."""
    if target in WITHOUT_RULE:
        return WITHOUT_RULE[target]
    call = generated(target) if target not in SAMPLES else None
    return [call] if call is not None else SAMPLES[target]


def faults(target: str, trait: t.Trait) -> list[str]:
    """The claims of a trait that are false of an op."""
    return [fault for call in samples(target) for fault in Claims(target, trait, named(target, call)).failed()]


def test_traits_are_true() -> None:
    wrong = {target: claims for target, trait in traits().items() if (claims := faults(target, trait))}
    assert wrong == {}
    assert {target for target in traits() if target not in registry() and target in WITHOUT_RULE} == WITHOUT_RULE.keys()


def test_ops_that_torch_computes_entry_by_entry_have_that_trait() -> None:
    wrong = {target: claims for target in entrywise() if (claims := faults(target, traits()[target]))}
    assert wrong == {}
    assert traits().get("aten.equal.default") is None


def test_every_trait_makes_a_claim() -> None:
    kinds: set[type] = {kind for trait in traits().values() for kind in type(trait).__mro__[:-1]}
    assert {kind for kind in kinds if not hasattr(Claims, kind.__name__)} == {t.MeanPooling}


@pytest.mark.parametrize(
    ("name", "trait"),
    [
        ("tanh.default", t.Movement(blends=True)),
        ("cumsum.default", t.Movement()),
        ("upsample_bicubic2d.vec", t.Movement(blends=True)),
        ("constant_pad_nd.default", t.Movement()),
        ("expand.default", t.Layout(sizes="size")),
        ("repeat.default", t.Movement(sizes="repeats")),
        ("flip.default", t.Copy()),
        ("reshape.default", t.Transpose()),
        ("slice.Tensor", t.Entry()),
        ("unbind.int", t.Split()),
        ("index_select.default", t.Slice()),
        ("stack.default", t.Join()),
        ("select_scatter.default", t.Write()),
        ("cumsum.default", t.Total(blends=True)),
        ("_softmax.default", t.Pointwise()),
        ("prelu.default", t.Pointwise()),
        ("remainder.Tensor", t.Extremum()),
        ("sub.Tensor", t.Sum()),
        ("rsub.Tensor", t.Sum((-1, 1))),
        ("div.Tensor", t.Scaling()),
        ("add.Tensor", t.Product()),
        ("linear.default", t.Contraction("bias", is_layer=True, is_transposed=True)),
        ("convolution.default", t.Contraction("bias", is_layer=True)),
        ("max_pool1d.default", t.MeanPooling(blends=True)),
        ("adaptive_avg_pool1d.default", t.Filled()),
        ("rms_norm.default", t.Normalised("normalized_shape")),
        ("layer_norm.default", t.Normalised("normalized_shape", is_centred=False)),
        ("group_norm.default", t.BatchNorm()),
        ("gru.input", t.Recurrence("lstm")),
        ("rnn_relu.input", t.Recurrence("tanh")),
        ("gru_cell.default", t.Recurrence("gru")),
    ],
)
def test_a_wrong_trait_is_found(name: str, trait: t.Trait) -> None:
    assert faults(f"aten.{name}", trait)
