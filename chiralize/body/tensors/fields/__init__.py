"""Blocks of a concatenated axis: what every entry of an observation or an action is, and what the mirror does to it.

`field` says what a block can be asked, and each kind is a file: `plain` (quantities and numbers), `joints`, `items`
(feet, bodies), `history`, `command`, `phase`, `grid`, `box`, `unclaimed`. `quantities` has the signs of vectors and
rotations, `partners` who swaps with whom; `reading` and `leaf_readers` make blocks of a file. `exchanged` and `clocks`
are about what a block may be mistaken for.

    - fields: [{axial: gyro}, {joints: q}, {scalar: 1, name: height}]       3 + J + 1 entries, T = T_gyro + T_q + 1
"""

from chiralize.body.tensors.fields.clocks import Clocks, grouped_clocks, in_flow_style
from chiralize.body.tensors.fields.exchanged import (
    all_lookalikes,
    exchanged_fields,
    rarely_other_fields,
    reordered_fields,
    single_blocks,
    with_block,
)
from chiralize.body.tensors.fields.field import (
    Field,
    joined_action,
    joined_centers,
    joined_labels,
    joined_unit_groups,
    other_fields,
    with_parts,
)
from chiralize.body.tensors.fields.leaf_readers import read_reflect
from chiralize.body.tensors.fields.reading import READERS, check_claims, read_fields

__all__ = [
    "READERS",
    "Clocks",
    "Field",
    "all_lookalikes",
    "check_claims",
    "exchanged_fields",
    "grouped_clocks",
    "in_flow_style",
    "joined_action",
    "joined_centers",
    "joined_labels",
    "joined_unit_groups",
    "other_fields",
    "rarely_other_fields",
    "reordered_fields",
    "read_fields",
    "read_reflect",
    "single_blocks",
    "with_block",
    "with_parts",
]
