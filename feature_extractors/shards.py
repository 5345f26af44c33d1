"""Splits a memory bank's rows into shards on several GPUs, on Ray actors of any number of hosts, or in one process.

A *shard* is a share of the rows. A *place* is one device or actor that holds shards. A *crew* is all places together:
one call asks each of them and collects the answers. Two computations use shards, and both give the same results as one
place that holds all rows:

- *nearest rows*: each shard finds the nearest of its rows; the nearest of these is the nearest of all rows.
- *greedy k-centre*: each shard proposes the rows with its largest bounds, with their distances to the picks so far, and
  an upper limit for its other rows. As long as the farthest proposal lies above the largest limit, it is the farthest
  of all rows, see ``feature_extractors.coreset``. So one pool of proposals gives many picks. The shards learn these
  picks when they are asked for the next pool: one exchange per pool, not per pick.

:func:`partitioned_k_center` is a different selection: greedy k-centre in each of P partitions, then among their picks
(Malkomes et al., Fast distributed k-center clustering with outliers on massive data, NeurIPS 2015). Its radius is at
most 4 times the optimal one; that of greedy k-centre is at most twice the optimal one.
"""

import logging
import os
import uuid
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch
from tqdm import tqdm

from common.errors import InputError
from feature_extractors.coreset import ON_CPU, ON_GPU, FarthestFirst, among_distinct, greedy_k_center, pick_among
from feature_extractors.nearest_rows import Nearest, RowSearch

POOL = 256  # rows that a shard proposes at a time: a larger pool saves few exchanges, but costs comparisons
PATIENCE = 120  # seconds that Ray actors may take to start
TRIES = 3  # times that a lost Ray actor is started again
LOST = "lost"


# ---------------------------------------------------------------- places


class Place:
    """Holds shards on one device, each under a key."""

    def __init__(self, device, answer_to=None):
        self.device, self._answer_to, self._shards = torch.device(device), answer_to, {}

    def ready(self):
        """Return True; an answer shows that the place has started."""
        return True

    def hold(self, key, kind, *arguments):
        """Make the shard ``kind(*arguments)``; tensors are moved to the device."""
        self._shards[key] = kind(*_moved(arguments, self.device))

    def ask(self, key, name, *arguments):
        """The result of the shard's method ``name``; LOST if the place was restarted and lost the shard."""
        if key not in self._shards:
            return LOST
        answer = getattr(self._shards[key], name)(*_moved(arguments, self.device))
        return answer if self._answer_to is None else _moved(answer, self._answer_to)

    def pick(self, rows, count):
        """:func:`greedy_k_center` on the device."""
        return greedy_k_center(rows, count, self.device)

    def drop(self, key):
        """Free a shard's memory."""
        self._shards.pop(key, None)


class Devices:
    """A crew of ``count`` places in this process: on all GPUs in turn, or all on the one ``device``."""

    def __init__(self, count, device):
        device = torch.device(device)
        devices = [device] * count
        if device.type == "cuda":
            there = torch.cuda.device_count()
            if count > there:
                logging.warning(
                    "--bank_shards %d: this machine has %d GPU%s; several shards share one, which saves no memory",
                    count,
                    there,
                    "s" * (there != 1),
                )
            devices = [torch.device("cuda", i % there) for i in range(count)]
        self.home, self.exchanges = devices[0], 0
        self._places = [Place(d) for d in devices]
        # several devices work in parallel, each from its own thread; a single device needs no threads
        self._pool = ThreadPoolExecutor(count) if len(set(devices)) > 1 else None

    def __len__(self):
        return len(self._places)

    def each(self, name, jobs):
        """Results of the places' method ``name``, one per job (a tuple of arguments), moved to ``home``.

        If there are more jobs than places, the places are used in turn.
        """
        self.exchanges += 1
        mapped = self._pool.map if self._pool else map
        calls = [(self._places[i % len(self)], job) for i, job in enumerate(jobs)]
        return [_moved(answer, self.home) for answer in mapped(lambda call: getattr(call[0], name)(*call[1]), calls)]

    def drop(self, key):
        """Free the memory of the shards under ``key``."""
        for place in self._places:
            place.drop(key)


class Actors:
    """A crew of ``count`` places in Ray actors; each has a GPU if ``device`` is a GPU, else a CPU core.

    Ray restarts a lost actor on any host with free resources. The crew connects to the cluster of RAY_ADDRESS or of a
    running ``ray start``; if there is none, it starts a cluster on this machine.

    Raises:
        InputError: Ray is not installed, or the cluster has no room for so many.
    """

    def __init__(self, count, device):
        try:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray must not send usage statistics
            import ray
        except ImportError:
            raise InputError(
                "--shard_engine ray: Ray is not installed; pip install -r requirements-ray.txt, or use "
                "--shard_engine devices"
            ) from None
        self._ray, self.home, self.exchanges = ray, torch.device(device), 0
        if not ray.is_initialized():
            ray.init(log_to_driver=False, include_dashboard=False)
        gpu = self.home.type == "cuda"
        options = {"num_cpus": 0, "num_gpus": 1} if gpu else {"num_cpus": 1}
        actor = ray.remote(max_restarts=TRIES, max_task_retries=TRIES, **options)(Place)
        self._places = [actor.remote(self.home.type, "cpu") for _ in range(count)]
        try:
            ray.get([place.ready.remote() for place in self._places], timeout=PATIENCE)
        except ray.exceptions.GetTimeoutError:
            have = ray.cluster_resources().get("GPU" if gpu else "CPU", 0)
            raise InputError(
                f"--bank_shards {count} --shard_engine ray: the actors did not start within {PATIENCE} s; the cluster "
                f"has {have:g} {'GPUs' if gpu else 'CPU cores'}, free or not, and each needs one"
            ) from None

    def __len__(self):
        return len(self._places)

    def each(self, name, jobs):
        """As :meth:`Devices.each`.

        Raises:
            InputError: an actor was lost and cannot be restarted.
        """
        self.exchanges += 1
        sent = {}  # a tensor that is in several jobs is sent to each host once

        def put(value):
            if isinstance(value, torch.Tensor) and value.numel():
                if id(value) not in sent:
                    sent[id(value)] = self._ray.put(value.cpu())
                return sent[id(value)]
            return _moved(value, "cpu")

        try:
            answers = self._ray.get(
                [getattr(self._places[i % len(self)], name).remote(*map(put, job)) for i, job in enumerate(jobs)]
            )
        except self._ray.exceptions.RayActorError as error:
            raise InputError(
                f"--shard_engine ray: an actor that held rows was lost for good "
                f"({str(error).splitlines()[0]}); run the same command again"
            ) from None
        return _moved(answers, self.home)

    def drop(self, key):
        """As :meth:`Devices.drop`."""
        for place in self._places:
            place.drop.remote(key)


ENGINES = {"devices": Devices, "ray": Actors}


@lru_cache(maxsize=None)
def crew(count, engine, device):
    """The crew of ``count`` places, shared by all banks of this process; ``engine``: a key of ENGINES."""
    return ENGINES[engine](count, device)


class _Shards:
    """One shard of ``kind`` per job, which is a tuple of its arguments; freed when this object is deleted."""

    def __init__(self, crew, kind, jobs):
        self._crew, self._key = crew, uuid.uuid4().hex
        self._making = [(self._key, kind, *job) for job in jobs]
        weakref.finalize(self, crew.drop, self._key).atexit = False
        crew.each("hold", self._making)

    def ask(self, name, jobs):
        """Results of the shards' method ``name``, one per shard; if a shard was lost, all shards are made again."""
        asking = [(self._key, name, *job) for job in jobs]
        answers = self._crew.each("ask", asking)
        if any(isinstance(answer, str) for answer in answers):  # LOST
            self._crew.each("hold", self._making)
            answers = self._crew.each("ask", asking)
        return answers


def _moved(value, device):
    """``value`` with all its tensors, also those inside tuples and lists, moved to ``device``."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(v, device) for v in value))
    return type(value)(_moved(v, device) for v in value) if isinstance(value, (tuple, list)) else value


def _slices(rows, count):
    """[slice] that split ``rows`` rows into at most ``count`` shards of nearly equal size."""
    count = max(1, min(count, rows))
    edges = [rows * i // count for i in range(count + 1)]
    return [slice(*pair) for pair in zip(edges, edges[1:])]


# ---------------------------------------------------------------- nearest rows


class ShardedSearch(RowSearch):
    """RowSearch over shards: the same indices, and distances that differ by float32 rounding.

    Of equally near rows, the one with the lowest index is taken. Rows that float32 products cannot tell apart may swap,
    as they may in a single search with other block sizes.

    Args:
        rows: [R, C] float32 tensor (CPU); it stays there, and each shard gets a copy of its share.
        crew: the places that hold the shards.
    """

    def __init__(self, rows, crew):
        self.rows, self.bound, self._home = rows, None, crew.home
        self._slices = _slices(len(rows), len(crew))
        self._shards = _Shards(crew, RowSearch, [(rows[some],) for some in self._slices])

    @property
    def device(self):
        return self._home

    def raw_each(self, patches, exclusions):
        jobs = [
            (patches, tuple(None if excluded is None else excluded[some] for excluded in exclusions))
            for some in self._slices
        ]
        found = None
        for some, answers in zip(self._slices, self._shards.ask("raw_each", jobs)):
            here = [Nearest(squared, index + some.start) for squared, index in answers]
            found = here if found is None else [_nearer(*pair) for pair in zip(found, here)]
        return found

    def rows_at(self, index):
        return self.rows[index.to(self.rows.device)].to(self.device)

    def from_row(self, index):
        return self.from_vector(self.rows_at(index)[0])

    def from_vector(self, vector):
        return torch.cat(self._shards.ask("from_vector", [(vector,)] * len(self._slices)))


def _nearer(first, second):
    """For each patch, the nearer one of two Nearest; the first if both are equally near."""
    closer = second.distance < first.distance
    return Nearest(torch.where(closer, second.distance, first.distance), torch.where(closer, second.index, first.index))


# ---------------------------------------------------------------- coreset


class Proposer(FarthestFirst):
    """A shard of rows [n, C] that proposes picks; ``first`` [C]: the first pick of all; ``count``: number of picks."""

    def propose(self, size, known, picks):
        """Propose those of the ``size`` rows with the largest bounds that may be the farthest of all.

        Args:
            size: number of rows to look at.
            known: number of picks that this shard should know.
            picks: [n, C], the picks made since then.

        Returns:
            (positions [P], ascending; rows [P, C]; distances [P] to the nearest pick; limit of all other rows' squared
            distances, -inf if there are none). None: this shard was made again and needs all picks.
        """
        if known > self.done:
            return None
        new = picks[self.done - known :]  # empty if Ray repeats a call
        if len(new):
            self._take_in(self.done, new)
            self.done += len(new)
        proposed, limit = self._farthest(size)
        nearest = self._exact_nearest(proposed)
        above = (nearest * nearest > limit).nonzero()[:, 0] if limit > 0 else (nearest > 0).nonzero()[:, 0]
        proposed = proposed[above]
        return proposed, self.rows[proposed], nearest[above], limit


def sharded_k_center(rows, count, crew, progress=None):
    """:func:`coreset.greedy_k_center` over shards.

    The picks are the same if all shards are on devices of one kind, so that float32 is rounded in the same way.

    Args:
        rows: [N, C] float32 tensor (CPU).
        count: number of picks; at most N are made.
        crew: the places that hold the shards.
        progress: label of a progress bar; None: no bar.

    Returns:
        [min(count, N)] int64 tensor (CPU), in the order picked.
    """
    return among_distinct(rows, count, lambda some, most: _pick_over_shards(some, most, crew, progress))


def _pick_over_shards(rows, count, crew, progress):
    slices = _slices(len(rows), len(crew))
    shards = _Shards(crew, Proposer, [(rows[some], count, rows[0]) for some in slices])
    waits = crew.home.type == "cpu"
    picks, done, known, size = torch.zeros(count, dtype=torch.long), 1, 1, POOL

    def proposals(since):
        told = rows[picks[since:done]]
        return shards.ask("propose", [(size, since, told)] * len(slices))

    with tqdm(
        total=count, desc=progress, disable=None if progress else True, leave=False, unit="row", mininterval=1
    ) as bar:
        while done < count:
            answers = proposals(known)
            if any(answer is None for answer in answers):
                answers = proposals(1)
            index = torch.cat([answer[0] + some.start for some, answer in zip(slices, answers)])
            among, nearest = (torch.cat([answer[part] for answer in answers]) for part in (1, 2))
            limit = max(answer[3] for answer in answers)
            made = pick_among(among, nearest, limit, count - done, (ON_CPU if waits else ON_GPU).compact, waits)
            known, made = done, index[made].cpu()
            picks[done : done + len(made)] = made
            done += len(made)
            bar.update(done - bar.n)
            if len(made):
                size = POOL
            elif limit == -torch.inf:
                break  # in float32 all rows left equal a picked row: the plain way picks row 0
            else:
                size *= 4  # too many rows are equally far: the lowest index of them may not be proposed
    return picks


def partitioned_k_center(rows, count, partitions, crew, progress=None):
    """Greedy k-centre in each of several partitions, then among their picks; the picks differ from one selection's.

    A partition consists of every ``partitions``-th row, and picks ``count`` of its rows, or all it has. The distance of
    a row to its nearest pick is at most 4 times that of the best choice of ``count`` rows (Malkomes et al. 2015).

    Args:
        rows, count, progress: as in :func:`sharded_k_center`.
        partitions: number of partitions.
        crew: the places that work on the partitions, in parallel if there are several devices or hosts.

    Returns:
        [min(count, N)] int64 tensor (CPU), in the order picked; row 0 is the first.
    """
    starts = range(min(partitions, len(rows)))
    some = crew.each("pick", [(rows[start::partitions].contiguous(), count) for start in starts])
    union = torch.cat([picks.cpu() * partitions + start for start, picks in zip(starts, some)]).unique()
    among = rows[union]
    if len(crew) > 1:
        return _filled(union[sharded_k_center(among, count, crew, progress)], min(count, len(rows)))
    return _filled(union[greedy_k_center(among, count, crew.home, progress)], min(count, len(rows)))


def _filled(picks, count):
    """``picks``, filled up with row 0 to ``count``, since no more picks than distinct rows are possible."""
    return torch.cat([picks, picks.new_zeros(count - len(picks))])
