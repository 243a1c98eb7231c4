"""Backward elimination against brute force: refit everything without a unit, and see what the readers lose."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chiralize.methods.reduce.choosing import Features, eliminate, eliminate_features

Matrix = npt.NDArray[np.float64]
SEEDS = st.integers(0, 10**6)


class Place:
    """Samples of units "sample unit", and a linear reader "output unit". The ridge is samples of its each."""

    def __init__(self, rng: np.random.Generator, units: int, readers: int = 4) -> None:
        self.samples = rng.normal(size=(3 * units, units)) @ (rng.normal(size=(units, units)) + np.eye(units))
        self.reader = rng.normal(size=(readers, units))

    def features(self) -> Features:
        gram = self.samples.T @ self.samples
        return Features(torch.from_numpy(gram), torch.from_numpy(self.reader.T @ self.reader))

    @property
    def seen(self) -> Matrix:
        """Samples and, for the ridge of a thousandth of the mean energy, one weak sample of each unit alone."""
        units = self.samples.shape[1]
        return np.concatenate([self.samples, (1e-3 * np.square(self.samples).sum() / units) ** 0.5 * np.eye(units)])

    def left_with(self, left: list[int]) -> tuple[float, Matrix]:
        """What the readers lose if only these units are left, and the readers refitted."""
        seen, wanted = self.seen, self.seen @ self.reader.T
        refitted = np.linalg.lstsq(seen[:, left], wanted, rcond=None)[0].T
        return float(np.square(wanted - seen[:, left] @ refitted.T).sum()), refitted


def both(even: Place, odd: Place | None = None) -> tuple[list[Features], list[Features]]:
    """Even and odd features of the same units, read at one place."""
    return [even.features()], [(odd or even).features()]


@given(seed=SEEDS)
def test_losses_are_what_the_readers_lose(seed: int) -> None:
    rng = np.random.default_rng(seed)
    place = Place(rng, int(rng.integers(2, 9)))
    units = place.samples.shape[1]
    brute = [place.left_with([each for each in range(units) if each != unit])[0] for unit in range(units)]
    np.testing.assert_allclose(place.features().losses().numpy(), brute, rtol=1e-7, atol=1e-9)


@given(seed=SEEDS)
def test_dropping_several_is_one_block(seed: int) -> None:
    """Inverse moments of those that are left, and readers refitted: at once, one by one, and by the definition."""
    rng = np.random.default_rng(seed)
    units = int(rng.integers(3, 9))
    place = Place(rng, units)
    order = rng.permutation(units).tolist()
    count = int(rng.integers(1, units))
    gone, left = order[:count], sorted(order[count:])
    block, single = place.features(), place.features()
    cost = block.drop(torch.tensor(left), torch.tensor(gone))
    assert cost == pytest.approx(place.left_with(left)[0], rel=1e-6)
    names = list(range(units))
    for unit in gone:
        at = names.index(unit)
        rest = [place for place in range(len(names)) if place != at]
        single.drop(torch.tensor(rest), torch.tensor([at]))
        names.remove(unit)
    assert names == left
    seen = place.seen
    refitted = place.left_with(left)[1]
    for each in (block, single):
        np.testing.assert_allclose(each.inverse.numpy(), np.linalg.inv(seen[:, left].T @ seen[:, left]), rtol=1e-6)
        np.testing.assert_allclose(each.metric.numpy(), refitted.T @ refitted, rtol=1e-6, atol=1e-9)


@settings(max_examples=15)
@given(seed=SEEDS)
def test_elimination_is_greedy_over_all_places(seed: int) -> None:
    """Small spaces lose one unit at a time: the one that all readers together lose least with, refitted each time."""
    rng = np.random.default_rng(seed)
    units = int(rng.integers(3, 8))
    places = [Place(rng, units) for _ in range(3)]
    count = int(rng.integers(1, units + 1))
    left, readers = list(range(units)), [place.reader for place in places]
    while len(left) > count:
        table: list[tuple[float, list[int], list[Matrix]]] = []
        for unit in left:
            rest = [each for each in left if each != unit]
            loss, refitted = 0.0, []
            for place, reader in zip(places, readers, strict=True):
                wanted = place.seen[:, left] @ reader.T
                solution = np.linalg.lstsq(place.seen[:, rest], wanted, rcond=None)[0].T
                loss += float(np.square(wanted - place.seen[:, rest] @ solution.T).sum())
                refitted.append(solution)
            table.append((loss, rest, refitted))
        _, left, readers = min(table, key=lambda row: row[0])
    stayed = eliminate([place.features() for place in places[:1]], [place.features() for place in places[1:]], count)
    assert stayed.pairs == left and not stayed.fixed


@given(seed=SEEDS, units=st.integers(1, 70))
def test_as_many_as_asked_for(seed: int, units: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, units + 1))
    stayed = eliminate(*both(Place(rng, units)), count).pairs
    assert len(set(stayed)) == count and stayed == sorted(stayed) and set(stayed) <= set(range(units))


@pytest.mark.parametrize("size", [6, 50])
def test_what_others_say_too_goes_first(size: int) -> None:
    """Of units that are there twice one goes, before any unit that is there once."""
    rng = np.random.default_rng(size)
    place = Place(rng, size)
    copies = size // 3
    for unit in range(copies):
        place.samples[:, size - 1 - unit] = -2 * place.samples[:, unit]
    stayed = eliminate(*both(place), size - copies).pairs
    assert all((unit in stayed) != (size - 1 - unit in stayed) for unit in range(copies))
    assert set(range(copies, size - copies)) <= set(stayed)


def test_what_nobody_reads_goes_first() -> None:
    """The weights of the readers count: by activations alone these units are the loudest."""
    place = Place(np.random.default_rng(0), 9)
    place.reader[:, [2, 5]] = 0
    place.samples[:, [2, 5]] *= 100
    assert eliminate(*both(place), 7).pairs == [0, 1, 3, 4, 6, 7, 8]


def test_units_that_do_nothing_are_no_trouble() -> None:
    """Moments of 0 have no inverse."""
    zero = torch.zeros(4, 4, dtype=torch.float64)
    even, odd = ([Features(zero, torch.eye(4, dtype=torch.float64))] for _ in range(2))
    assert len(eliminate(even, odd, 2).pairs) == 2


# ---- odd features alone ---------------------------------------------------------------------------------------------
@given(seed=SEEDS, units=st.integers(1, 40), power=st.sampled_from([1, 2]), share=st.floats(0.1, 1))
def test_mixes_keep_to_what_they_may_cost(seed: int, units: int, power: int, share: float) -> None:
    """Odd features go with even ones of the same units only; the last one dropped was needed."""
    rng = np.random.default_rng(seed)
    limit = 2 * (share * units) ** power
    mix = eliminate_features(*both(Place(rng, units), Place(rng, units)), limit, power)
    even, odd = len(mix.pairs) + len(mix.fixed), len(mix.pairs)
    assert not set(mix.pairs) & set(mix.fixed) and set(mix.pairs + mix.fixed) <= set(range(units))
    assert even**power + odd**power <= limit
    assert (even + 1) ** power + (odd + 1) ** power > limit or even == units
    if power == 1 and limit >= 1:
        assert even + odd == int(limit)


def test_the_loss_of_a_mix_is_that_of_what_it_dropped() -> None:
    rng = np.random.default_rng(3)
    even, odd = Place(rng, 12), Place(rng, 12)
    mix = eliminate_features(*both(even, odd), 72, 2)
    lost = even.left_with(sorted(mix.pairs + mix.fixed))[0] + odd.left_with(mix.pairs)[0]
    assert mix.fixed and mix.loss == pytest.approx(lost, rel=1e-6)


def test_odd_features_that_nobody_reads_go_alone() -> None:
    """Units that answer alike to both views stay as their each, and more of them than there would be pairs."""
    rng = np.random.default_rng(1)
    even, odd = Place(rng, 20), Place(rng, 20)
    odd.reader[:, 5:] = 0
    odd.samples[:, 5:] = rng.normal(size=(60, 15))
    mix = eliminate_features(*both(even, odd), 200, 2)
    assert set(mix.pairs) <= set(range(5)) and len(mix.pairs + mix.fixed) > 10
    assert mix.loss < eliminate(*both(even, odd), 10).loss


def test_where_both_parts_count_alike_units_stay_pairs() -> None:
    """Of units that nobody reads and units that all read, even and odd, the latter stay whole."""
    place = Place(np.random.default_rng(2), 10)
    place.reader[:, 5:] = 0
    place.samples[:, 5:] = np.random.default_rng(5).normal(size=(30, 5))
    mix = eliminate_features(*both(place), 50, 2)
    assert (mix.pairs, mix.fixed) == ([0, 1, 2, 3, 4], []) and mix.loss < 1


def test_units_that_bend_keep_their_odd_feature() -> None:
    """Where averaging before the activation takes an even feature away, the pair stays; the loss of a mix has it in."""
    rng = np.random.default_rng(1)
    even, odd = Place(rng, 20), Place(rng, 20)
    odd.reader[:] = 0
    gram, metric = (torch.from_numpy(each) for each in (even.samples.T @ even.samples, even.reader.T @ even.reader))
    bending = torch.zeros(20, dtype=torch.float64)
    bending[:8] = 10 * gram.diagonal()[:8]
    straight = eliminate_features([Features(gram, metric)], [odd.features()], 392, 2)
    bent = eliminate_features([Features(gram, metric, bending)], [odd.features()], 392, 2)
    assert straight.loss < bent.loss and set(bent.fixed) <= set(range(8, 20)) and set(straight.fixed) & set(range(8))
