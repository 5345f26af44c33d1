"""Banks split over places: the nearest rows and picks of one place; partitions keep their bound; lost places."""

import itertools
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from feature_extractors import coreset, nearest_rows, shards
from feature_extractors.coreset import greedy_k_center
from feature_extractors.memory_bank import MemoryBank
from feature_extractors.nearest_rows import ROUNDING, RowSearch
from feature_extractors.shards import Devices, ShardedSearch, crew, partitioned_k_center, sharded_k_center
from runs.options import deciding_options, method_settings, parse_arguments, recorded_options


def some_rows(rng, count, width, whole=False):
    """Rows near a plane of few dimensions, or of small whole numbers, among which many are equally far."""
    if whole:
        return torch.from_numpy(rng.integers(-2, 3, (count, width)).astype(np.float32))
    plane = rng.standard_normal((3, width))
    rows = rng.standard_normal((count, 3)) @ plane + 0.1 * rng.standard_normal((count, width))
    return torch.from_numpy(rows.astype(np.float32))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 120), st.integers(1, 9), st.integers(1, 40), st.booleans(), st.booleans()
)
def test_nearest_rows_are_those_of_one_place(seed, size, count, width, whole, bounded):
    rng = np.random.default_rng(seed)
    rows, patches = some_rows(rng, size, width, whole), some_rows(rng, 30, width, whole)
    left_out = torch.from_numpy(rng.random(size) < 0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest_rows, "FEWEST_BOUNDED", 1 if bounded else 10**9)
        patch.setattr(nearest_rows, "DIRECTIONS", min(4, width))
        one, several = RowSearch(rows), ShardedSearch(rows, Devices(count, "cpu"))
        found = zip(one.nearest_each(patches, (None, left_out)), several.nearest_each(patches, (None, left_out)))
    exact = torch.cdist(patches.double(), rows.double()).square()
    for excluded, (expected, ours) in zip((torch.zeros_like(left_out), left_out), found):
        squared = exact.masked_fill(excluded, torch.inf)
        noise = ROUNDING * 2 * float((rows**2).sum(1).max() + (patches**2).sum(1).max())
        if excluded.all():
            continue
        torch.testing.assert_close(ours.distance.square(), expected.distance.square(), rtol=0, atol=noise)
        if whole:  # no rounding: the first of the nearest rows
            assert torch.equal(ours.index, squared.argmin(1)) and torch.equal(ours.distance, expected.distance)
        clear = (squared <= squared.amin(1, keepdim=True) + noise).sum(1) == 1
        assert torch.equal(ours.index[clear], expected.index[clear])
        assert torch.equal(several.rows_at(ours.index), rows[ours.index])
    last = torch.tensor([size - 1])
    torch.testing.assert_close(
        several.from_row(last), one.from_row(last), rtol=0, atol=4 * ROUNDING * float((rows**2).sum(1).max()) + 1e-30
    )


@settings(deadline=None, max_examples=100)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 200),
    st.integers(1, 6),
    st.integers(1, 30),
    st.booleans(),
    st.sampled_from([1, 4, 30, 512]),
)
def test_picks_over_shards_are_those_of_one_place(seed, size, count, width, whole, pool):
    rng = np.random.default_rng(seed)
    rows = some_rows(rng, size, width, whole)
    wanted = int(rng.integers(1, size + 5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "POOL", pool)
        assert torch.equal(sharded_k_center(rows, wanted, Devices(count, "cpu")), greedy_k_center(rows, wanted))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 20, 200]))
def test_picks_do_not_hang_on_the_pool(seed, pool):
    rows = some_rows(np.random.default_rng(seed), 300, 40)
    rows[1::2] = rows[::2] + 1e-4 * torch.randn(150, 40)  # pairs that are nearly equally far from any pick
    expected = greedy_k_center(rows, 300)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coreset, "ON_CPU", coreset.ON_CPU._replace(pool=pool, compact=7))
        assert torch.equal(greedy_k_center(rows, 300), expected)


def test_one_exchange_a_pool_and_not_one_a_pick():
    rows, places = some_rows(np.random.default_rng(0), 20000, 60), Devices(4, "cpu")
    picks = sharded_k_center(rows, 2000, places)
    assert torch.equal(picks, greedy_k_center(rows, 2000)) and places.exchanges < 2000 / 20


def radius(rows, picks):
    return float(torch.cdist(rows.double(), rows[picks].double()).amin(1).max())


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 2**32 - 1), st.integers(1, 11), st.integers(1, 3), st.integers(2, 5), st.integers(1, 2))
def test_partitions_keep_within_four_times_the_best_radius(seed, size, count, partitions, places):
    rows = torch.from_numpy(np.random.default_rng(seed).standard_normal((size, 2)).astype(np.float32))
    picks = partitioned_k_center(rows, count, partitions, Devices(places, "cpu"))
    best = min(radius(rows, list(some)) for some in itertools.combinations(range(size), min(count, size)))
    assert len(picks) == min(count, size) and picks[0] == 0
    assert radius(rows, picks) <= 4 * best + 1e-6


def test_partitions_of_equal_rows_and_of_few():
    rows = torch.tensor([[0.0], [0.0], [5.0], [5.0], [0.0], [5.0], [1.0]])
    for partitions, places in itertools.product((2, 3, 50), (1, 2)):
        picks = partitioned_k_center(rows, 6, partitions, Devices(places, "cpu")).tolist()
        assert sorted(rows[picks[:3]].flatten().tolist()) == [0, 1, 5] and picks[3:] == [0, 0, 0]


def test_partitions_do_not_hang_on_the_places():
    rows = some_rows(np.random.default_rng(1), 3000, 20)
    one, several = (partitioned_k_center(rows, 200, 5, Devices(places, "cpu")) for places in (1, 3))
    assert torch.equal(one, several) and not torch.equal(one, greedy_k_center(rows, 200))


def filled(**settings):
    bank = MemoryBank(1e-5, **settings)
    for part in range(6):
        bank.add(some_rows(np.random.default_rng(part), 100, 24), part)
    bank.scale(0.2, 1.3)
    return bank


def test_a_sharded_bank_measures_as_one_place_does():
    banks = [filled(), filled(shards=3)]
    for bank in banks:
        bank.thin_out(300, 0.9, 0, "cpu")
        bank.gather()
        bank.drop_rows_with_zero()
        bank.append_row(0.0)
        bank.finish("cpu")
    one, several = banks
    assert isinstance(several._search, ShardedSearch) and torch.equal(one.rows, several.rows)
    for part in range(6):
        patches = some_rows(np.random.default_rng(part), 100, 24)
        for a, b in zip(one.measure_both(patches, part), several.measure_both(patches, part)):
            torch.testing.assert_close(a.score, b.score, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(a.distance, b.distance, rtol=1e-5, atol=2e-3)


def test_places_side_by_side_answer_in_order_and_give_memory_back(monkeypatch):
    several = Devices(3, "cpu")
    several._pool = shards.ThreadPoolExecutor(3)  # as where there are several GPUs
    rows, patches = torch.randn(900, 8), torch.randn(40, 8)
    search = ShardedSearch(rows, several)
    assert torch.equal(search.nearest(patches).index, RowSearch(rows).nearest(patches).index)
    assert torch.equal(sharded_k_center(rows, 50, several), greedy_k_center(rows, 50))
    assert [len(place._shards) for place in several._places] == [1, 1, 1]  # of the search: the picks' are gone
    del search
    assert not any(place._shards for place in several._places)


def test_a_place_that_is_lost_is_given_its_shard_again():
    rows, patches, several = torch.randn(3000, 8), torch.randn(40, 8), Devices(3, "cpu")
    search = ShardedSearch(rows, several)
    several.drop(search._shards._key)
    assert torch.equal(search.nearest(patches).index, RowSearch(rows).nearest(patches).index)

    class Failing(Devices):
        """Loses a place while picks are made, every third time it is asked."""

        def each(self, name, jobs):
            if name == "ask" and self.exchanges % 3 == 2:
                self._places[1]._shards.clear()
            return super().each(name, jobs)

    failing = Failing(3, "cpu")
    assert torch.equal(sharded_k_center(rows, 1000, failing), greedy_k_center(rows, 1000))
    assert failing.exchanges > 5


def test_options(capsys):
    plain = parse_arguments(["--method_name", "DINO"])
    split = parse_arguments(["--method_name", "DINO", "--bank_shards", "3", "--shard_engine", "ray"])
    assert deciding_options(recorded_options(plain)) == deciding_options(recorded_options(split))
    parted = parse_arguments(["--method_name", "DINO", "--coreset_partitions", "4"])
    assert deciding_options(recorded_options(plain)) != deciding_options(recorded_options(parted))
    given = method_settings(parted), method_settings(split)
    assert (given[0]["coreset_partitions"], given[1]["bank_shards"], given[1]["shard_engine"]) == (4, 3, "ray")
    for flags, words in (
        (["--coreset_partitions", "2", "--half_coreset"], "two ways"),
        (["--coreset_partitions", "2", "--f_coreset", "1"], "nothing to pick"),
        (["--shard_engine", "ray"], "--bank_shards N"),
    ):
        with pytest.raises(SystemExit):
            parse_arguments(["--method_name", "DINO", *flags])
        assert words in capsys.readouterr().err


def test_ray_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="requirements-ray.txt"):
        crew(2, "ray", torch.device("cpu"))


@pytest.fixture(scope="module")
def actors():
    """A crew of three actors on a cluster of two nodes on this machine."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False)
    yield shards.Actors(3, "cpu")
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.ray
def test_actors_give_the_picks_and_nearest_rows_of_one_place(actors):
    rows, patches = some_rows(np.random.default_rng(0), 2000, 30), torch.randn(60, 30)
    excluded = torch.rand(2000) < 0.2
    found = ShardedSearch(rows, actors).nearest_each(patches, (None, excluded))
    for ours, expected in zip(found, RowSearch(rows).nearest_each(patches, (None, excluded))):
        assert torch.equal(ours.index, expected.index)
        torch.testing.assert_close(ours.distance, expected.distance, rtol=1e-5, atol=1e-3)
    assert torch.equal(sharded_k_center(rows, 300, actors), greedy_k_center(rows, 300))
    assert torch.equal(partitioned_k_center(rows, 50, 5, actors), partitioned_k_center(rows, 50, 5, Devices(1, "cpu")))


@pytest.mark.ray
def test_an_actor_that_is_killed_is_replaced(actors):
    rows, patches = torch.randn(900, 8), torch.randn(40, 8)
    search, told = ShardedSearch(rows, actors), []
    picks = greedy_k_center(rows, 400)
    actors._ray.kill(actors._places[1], no_restart=False)
    assert torch.equal(search.nearest(patches).index, RowSearch(rows).nearest(patches).index)
    plain = actors.each

    def each(name, jobs):
        told.append(name)
        if len(told) == 4:
            actors._ray.kill(actors._places[0], no_restart=False)
        return plain(name, jobs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(actors, "each", each)
        patch.setattr(shards, "POOL", 30)
        assert torch.equal(sharded_k_center(rows, 400, actors), picks)
    assert told.count("hold") == 2
