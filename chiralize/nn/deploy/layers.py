"""Networks of chiral layers: how T acts on their weights by the layers' own records, for the certificate to check.

The parameters of such a layer are coordinates, of which T moves none. What it makes of them alone (the dense weights of
a recurrent layer, the statistics of a normalisation) is a weight of the graph, under the name and the representation
that the layer has for it. The certificate looks at it as at any other weight: a record that is wrong fails.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from chiralize.graph.execution import settled
from chiralize.nn.deploy.swapping import representations
from chiralize.problem.network import Network
from chiralize.storage.passport import Passport
from chiralize.symmetry.representation import TensorRepresentation

BLOCKS = ("blocks", "fused")


def with_layers(network: Network, passport: Passport | None) -> tuple[Network, Mapping[str, TensorRepresentation]]:
    """The network with weights in place of the ops that compute them, and how T acts on all weights by its layers.

    A file has no layers any more; there the passport of a network in blocks says which weights are coordinates. What
    it says of tables (memory tokens, say, whose order the mirror changes) was chosen as for weights.
    """
    if passport is not None:
        network = _with_tables(network, passport.hidden)
    known = representations(network.module, {})
    if passport is not None and passport.form in BLOCKS:
        known = {**known, **passport.hidden}
    # Coordinates of blocks, and weights that T leaves alone: what is computed of them alone becomes a weight itself.
    still = [name for name, rep in known.items() if rep.is_trivial]
    if network.captured is None or not still:
        return network, known
    return replace(network, captured=settled(network.captured, still)), known


def _with_tables(network: Network, hidden: Collection[str]) -> Network:
    """The network with constants as weights where their representations are known by name."""
    leaves = network.captured.leaves.values() if network.captured is not None else ()
    tables = {key for leaf in leaves if leaf.kind == "constant" for key in leaf.sources if key in hidden}
    if tables:
        return network.captured_with(tables)
    return network
