"""Forecasters of human motion: recipes of public models.

Most of them see 22 of the 32 joints of Human3.6M, in metres or millimetres. The sizes are those of the authors' README.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.public_models.importing import importable, shipped, without_gpu
from benchmarks.public_models.recipe import Recipe

MOVING = [2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 14, 15, 17, 18, 19, 21, 22, 25, 26, 27, 29, 30]
"""Joints of Human3.6M that the forecasters keep: neither those that stand still nor those that repeat another."""
BODY = shipped("h36m-32", MOVING)


def _drawn(*shapes: Sequence[int]) -> Callable[[], tuple[torch.Tensor, ...]]:
    """Example arguments of these shapes."""

    def inputs() -> tuple[torch.Tensor, ...]:
        """Drawn anew, with the same numbers each time."""
        generator = torch.Generator().manual_seed(0)
        return tuple(torch.randn(*shape, generator=generator) for shape in shapes)

    return inputs


def _body(inputs: Sequence[Any], outputs: Sequence[Any]) -> dict[str, Any]:
    """A specification for the 22 joints."""
    return {**BODY, "inputs": list(inputs), "outputs": list(outputs)}


# ---- perceptrons and graphs that are learned ------------------------------------------------------------------------
def _motion_mixer(checkout: Path) -> nn.Module:
    """As h36m/train_mixer_h36m.py has it for positions.

    Its first layer applies a Conv1d to images, which torch refuses nowadays: a Conv2d does the same.
    """
    with importable(checkout / "h36m"):
        from mlp_mixer import MlpMixer  # type: ignore[import-not-found]

        model = MlpMixer(
            num_classes=66, num_blocks=4, hidden_dim=50, tokens_mlp_dim=20, channels_mlp_dim=50, seq_len=10,
            pred_len=25, activation="mish", regularization=0.1, input_size=66, r_se=8, use_se=True,
        )  # fmt: skip
    model.conv = nn.Conv2d(1, 50, (1, 66))
    return model


def _learn_traj_dep(checkout: Path) -> nn.Module:
    """As main_3d.py has it, with the 15 coefficients of the README."""
    with importable(checkout / "utils"):
        from model import GCN  # type: ignore[import-not-found]

        return GCN(input_feature=15, hidden_feature=256, p_dropout=0.5, num_stage=12, node_n=66)


def _his_rep_itself(checkout: Path) -> nn.Module:
    """As main_h36m_3d.py has it. forward asks for a GPU."""
    without_gpu()
    with importable(checkout):
        from model.AttModel import AttModel  # type: ignore[import-not-found]

        return AttModel(in_features=66, kernel_size=10, d_model=256, num_stage=12, dct_n=20)


def _sts_gcn(kernel: int) -> Callable[[Path], nn.Module]:
    """As main_h36_3d.py has it, for a size of the filters that run over coordinates and joints."""

    def build(checkout: Path) -> nn.Module:
        """From 10 frames to 25."""
        with importable(checkout):
            from model import Model  # type: ignore[import-not-found]

            return Model(3, 10, 25, 0.1, 22, 4, [kernel, kernel], 0.0)

    return build


def _eq_motion(checkout: Path) -> nn.Module:
    """As main_h36m.py has it. The categories of pairs of joints, its second result, are left out."""
    with importable(checkout):
        from h36m.model_t import EqMotion  # type: ignore[import-not-found]

        model = EqMotion(
            in_node_nf=10, in_edge_nf=2, hidden_nf=64, in_channel=10, hid_channel=72, out_channel=10, n_layers=4,
            recurrent=True, category_num=4,
        )  # fmt: skip
    model.validate_reasoning = False
    return model


# ---- angles ---------------------------------------------------------------------------------------------------------
_LIMBS = {"hip": 3, "knee": 1, "foot": 3, "toe": 1}
_ARMS = {"collar": 3, "shoulder": 3, "elbow": 1, "wrist": 3}
_TRUNK = {"spine": 3, "chest": 3, "neck": 3, "head": 3}


def _angles() -> dict[str, Any]:
    """The 48 angles that vary in Human3.6M, each as a joint of one number.

    They are components of exponential maps, about x, y and z: the mirror leaves turns about x and negates others.
    """
    joints: list[str] = []
    for limb, sides in ((_LIMBS, ("right_", "left_")), (_TRUNK, ("",)), (_ARMS, ("left_", "right_"))):
        for side in sides:
            for joint, angles in limb.items():
                joints += [f"{side}{joint}_{axis}" for axis in "xyz"[:angles]]
    left = [joint for joint in joints if joint.startswith("left_")]
    signs = {joint: [-1] for joint in joints if not joint.endswith("x")}
    pairs = [[joint, joint.replace("left_", "right_")] for joint in left]
    return {"joints": joints, "pairs": pairs, "dims": ["angle"], "negate": [], "signs": signs, "lateral": "x"}


_STATE = {"fields": [
    {"vector": "velocity"}, {"axial": "turn"}, {"joints": "angles"}, {"scalar": 15, "name": "action"},
]}  # fmt: skip
"""How the whole body moves and turns, the angles, and which of 15 actions it is."""


def _seq2seq(checkout: Path) -> nn.Module:
    """As the README has src/translate.py, for all 15 actions and 25 frames. forward asks for a GPU."""
    without_gpu()
    with importable(checkout / "src", missing=("six", "h5py"), stubs={"six.moves": {"xrange": range}}):
        from seq2seq_model import Seq2SeqModel  # type: ignore[import-not-found]

        return Seq2SeqModel("tied", 50, 25, 1024, 1, 5, 16, 0.005, 0.95, "sampling_based", 15)


RECIPES = [
    Recipe(
        name="MotionMixer", repository="MotionMLP/MotionMixer", commit="91327c3c3a455d398bd097fa300385bafa80a835",
        build=_motion_mixer, inputs=_drawn((1, 10, 66)), spec=_body(["b t (j d)"], ["b t (j d)"]),
    ),
    Recipe(
        name="LearnTrajDep", repository="wei-mao-2019/LearnTrajDep", commit="b81bef953a15f0f9fcd51daf5569acbafc45747d",
        build=_learn_traj_dep, inputs=_drawn((2, 66, 15)), spec=_body(["b (j d) t"], ["b (j d) t"]),
    ),
    Recipe(
        name="HisRepItself", repository="wei-mao-2019/HisRepItself", commit="0451c84491cf2b3697e373ce26dc75623ccaa89e",
        build=_his_rep_itself, inputs=_drawn((1, 50, 66)), spec=_body(["b t (j d)"], ["b t i (j d)"]),
    ),
    Recipe(
        name="human-motion-prediction-pytorch", repository="enriccorona/human-motion-prediction-pytorch",
        commit="84eb9f7bcb6aa35f30eabc025d3d944fba01a095", build=_seq2seq, inputs=_drawn((1, 49, 69), (1, 25, 69)),
        spec={**_angles(), "inputs": [_STATE, _STATE], "outputs": [_STATE]},
    ),
    Recipe(
        name="STSGCN", repository="FraLuca/STSGCN", commit="cb6b56c23e2586a01c3ce91455074f4c2c758d8d",
        build=_sts_gcn(3), inputs=_drawn((1, 3, 10, 22)), spec=_body(["b d t j"], ["b t d j"]),
        asymmetric="filters of 3 x 3 run over the joints, whose order the mirror changes",
        refusal="NeverEquivariantError",
    ),
    Recipe(
        name="STSGCN, 1x1", repository="FraLuca/STSGCN", commit="cb6b56c23e2586a01c3ce91455074f4c2c758d8d",
        build=_sts_gcn(1), inputs=_drawn((1, 3, 10, 22)), spec=_body(["b d t j"], ["b t d j"]),
        asymmetric="a PReLU bends coordinates, of which x changes its sign", refusal="NegatedChannelsError",
    ),
    Recipe(
        name="EqMotion", repository="MediaBrain-SJTU/EqMotion", commit="5aec2e0b61c511fa93a24138dd90da59a089084b",
        build=_eq_motion, inputs=_drawn((1, 22, 10), (1, 22, 10, 3), (1, 22, 10, 3)),
        spec=_body([{"layout": "b j t", "dims": []}, "b j t d", "b j t d"], ["b j t d"]),
    ),
]  # fmt: skip
