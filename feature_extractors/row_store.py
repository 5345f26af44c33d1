"""Holds the training rows of a memory bank until its coreset is picked, in memory or in a temporary file."""

import io
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

from common.errors import InputError

BYTES = 4  # a float32
BLOCK = 2**24  # floats read at once: 64 MiB


class RowStore:
    """Float32 rows of one ``width`` (None before the first part), appended part by part; read in blocks or part by
    part.

    ``folder``: of the temporary file, None: the rows stay in memory. The file has no name (on Windows: the system
    deletes it when it is closed), so it disappears however the run ends. ``starts``: number of each part's first row,
    then of all."""

    def __init__(self, folder=None):
        self._file = io.BytesIO() if folder is None else tempfile.TemporaryFile(dir=folder)
        self.width, self.starts = None, [0]
        self._mean, self._squares = 0.0, 0.0  # mean of all values, and sum of their squared differences to it

    def __len__(self):
        return self.starts[-1]

    @property
    def parts(self):
        """Number of parts that can be read."""
        return 0 if self._file.closed else len(self.starts) - 1

    def append(self, rows):
        """Append one part's rows [P, C] (any device); all parts have the same C."""
        rows = rows.to("cpu", torch.float32).contiguous()
        self.width = rows.shape[1]
        self._file.seek(0, io.SEEK_END)
        self._file.write(rows.numpy())
        var, mean = torch.var_mean(rows, correction=0)
        before, count = len(self) * self.width, rows.numel()
        shift = float(mean) - self._mean  # merges the moments of two sets (Chan, Golub and LeVeque 1979)
        self._squares += float(var) * count + shift * shift * before * count / (before + count)
        self._mean += shift * count / (before + count)
        self.starts.append(len(self) + len(rows))

    def mean_std(self):
        """(mean, unbiased standard deviation) of all values."""
        return self._mean, (self._squares / max(1, len(self) * self.width - 1)) ** 0.5

    def part(self, number):
        """Rows [P, C] of part ``number``, counted from 0 in the order appended."""
        return self._read(self.starts[number], self.starts[number + 1])

    def blocks(self, index, mean=0.0, std=1.0):
        """Yield the rows v at the positions ``index`` [R] int64, in this order, as (v - mean) / std, in tensors [n, C]
        of bounded size."""
        for some in index.split(max(1, BLOCK // self.width)):
            order = np.argsort(some.numpy(), kind="stable")
            ordered = some.numpy()[order]
            rows = torch.empty(len(some), self.width)
            breaks = np.flatnonzero(np.diff(ordered) != 1) + 1  # runs of consecutive rows are read at once
            for run in np.split(np.arange(len(some)), breaks):
                rows[torch.from_numpy(order[run])] = self._read(ordered[run[0]], ordered[run[-1]] + 1)
            yield rows.sub_(mean).div_(std)

    def origin(self, index):
        """[R] numbers of the parts of the rows at the positions ``index`` [R] int64."""
        return torch.searchsorted(torch.tensor(self.starts), index, right=True) - 1

    def close(self):
        """Free the memory or the disk space."""
        self._file.close()

    def _read(self, start, stop):
        rows = torch.empty(int(stop - start), self.width)
        self._file.seek(int(start) * self.width * BYTES)
        if self._file.readinto(rows.numpy()) < rows.numel() * BYTES:
            raise OSError("the spool of training rows ends too early")
        return rows


def require_space(folder, needed):
    """Create ``folder``; InputError unless its disk has ``needed`` bytes free."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{folder}: the training rows need {needed / 2**30:.1f} GiB there, {free / 2**30:.1f} GiB are free; "
            "make room, or choose another disk with --spool_dir"
        )
