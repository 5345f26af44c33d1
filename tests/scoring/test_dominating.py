"""One part that rules the scale of what is normalised over the test set is named, and no other."""

import numpy as np

from scoring.ablation import Scored, final_terms, modulate_all
from scoring.dominating import dominating_part
from scoring_addon import SampleMaps


def scored_of(maps, name="disagreement"):
    return {"baseline": Scored(np.zeros(len(maps)), list(maps)), name: Scored(np.zeros(len(maps)), list(maps))}


def maps_of(count, seed=0):
    return list(np.random.default_rng(seed).uniform(1, 2, (count, 40, 40)))


NAMES = [f"part{i}" for i in range(9)]


def test_what_it_says_is_what_happens():
    """The other parts' normalised statistics, as the add-on computes them, lie within the share that is told."""
    rng = np.random.default_rng(1)
    samples = [SampleMaps(*rng.random((2, 40, 40)), None) for _ in range(6)]
    decisions = maps_of(6)
    decisions[2] = decisions[2] * 40
    maps, stats = modulate_all(decisions, samples)
    text = dominating_part(NAMES[:6], scored_of(maps))
    others = np.delete(final_terms(stats).base_n, 2)
    assert text.startswith("part2: ") and f"S_base ({np.ptp(others):.0%})" in text
    assert "Q95 (" in text and "--scoring_reference train" in text
    low = [m - 50 * (i == 4) for i, m in enumerate(maps_of(6))]
    assert dominating_part(NAMES[:6], scored_of(low)).startswith("part4: ")
    assert dominating_part(NAMES[:6], scored_of(low, "disagreement_base")) is None  # it does not normalise


def test_few_or_equal_or_evenly_spread_parts():
    assert dominating_part(NAMES, scored_of([m * 0.01 + place for place, m in enumerate(maps_of(9))])) is None
    assert dominating_part(NAMES[:3], scored_of([m * 10 ** (3 * i) for i, m in enumerate(maps_of(3))])) is None
    assert dominating_part(NAMES[:5], scored_of([np.ones((40, 40))] * 5)) is None
