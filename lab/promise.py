"""Whether a promised false-alarm rate is kept: rates over many draws of calibration parts, from scores alone."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inspection.verdict import threshold


def failed_shares(
    pool: ArrayLike,
    groups: Mapping[Hashable, ArrayLike],
    calibration: int,
    rate: float = 0.05,
    draws: int = 200,
    seed: int = 0,
    seen: Sequence[int] = (),
    joined: Hashable = "good",
    resample: bool = False,
) -> dict[Hashable, NDArray[np.float64]]:
    """Share of parts that fail, in each of many draws of calibration parts.

    Args:
        pool: [n] scores of good parts; NaN: a part that cannot be judged, which cannot calibrate and fails.
        groups: {name: scores} of the other parts, without NaN; inf always fails, -inf never does.
        calibration: number of parts that a draw takes from the pool.
        rate: the promised share of good parts that fail.
        seen: numbers of pool parts that the fitted model has seen; they may calibrate, but are never judged.
        joined: the group that is joined by the pool's parts which are neither seen nor drawn.
        resample: draw the judged parts of each group with replacement too, for intervals.

    Returns:
        {name: [draws]}; groups without parts are left out.

    Raises:
        ValueError: the pool has too few parts that can be judged.
        InputError: so few calibration parts promise no such rate.
    """
    pool = np.asarray(pool, dtype=np.float64)
    usable, rng = np.flatnonzero(np.isfinite(pool)), np.random.default_rng(seed)
    if len(usable) < calibration:
        raise ValueError(f"{len(usable)} good parts could be judged, {calibration} are needed to calibrate")
    ends = np.where(np.isnan(pool), np.inf, pool)
    found: dict[Hashable, list[float]] = {}
    for _ in range(draws):
        chosen = rng.choice(usable, calibration, replace=False)
        limit = threshold(pool[chosen], rate)
        spare = np.delete(ends, np.union1d(chosen, np.asarray(seen, int)))
        for name in {**groups, joined: ()}:
            scores = np.asarray(groups.get(name, ()), dtype=np.float64)
            scores = np.concatenate([scores, spare]) if name == joined else scores
            if len(scores):
                scores = rng.choice(scores, len(scores)) if resample else scores
                found.setdefault(name, []).append(float(np.mean(scores > limit)))
    return {name: np.array(shares) for name, shares in found.items()}
