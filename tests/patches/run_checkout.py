"""Generated checkouts, run: their files, what their main.py computes, and what our own tree makes of the same maps."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np

from runs.options import parse_arguments
from scoring.evaluation import Evaluation, metrics, score
from scoring_addon import parameters_from

TABLES = ("image_rocauc_results.md", "pixel_rocauc_results.md", "aupro_results.md")


def contents(folder):
    """{path: bytes} of all files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def run(folder, *flags, python=sys.executable, code=0):
    """Run the checkout's main.py; returns (stdout, {table: bytes}, {array name: array}) and leaves no trace."""
    result = subprocess.run(
        [python, "-B", "main.py", "--dump", "dump.npz", *flags],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == code, result.stderr
    if code:
        return result.stderr
    tables = {name: (folder / "results" / name).read_bytes() for name in TABLES}
    with np.load(folder / "dump.npz") as file:
        arrays = dict(file)
    for path in [folder / "dump.npz", *(folder / "results").iterdir()]:
        path.unlink()
    return result.stdout, tables, arrays


def ours(arrays, category, *flags):
    """What our own tree makes of the maps that a checkout's baseline run computed for a category."""
    args = parse_arguments(["--use_uff", "--scoring", *flags])
    of = {key: arrays[f"{category}/{key}"] for key in ("seen", "image_preds", "predictions", "gts", "labels")}
    names, scores = [str(i) for i in range(len(of["labels"]))], np.ravel(of["image_preds"])
    maps = dict(zip(("rgb", "xyz", "fusion"), np.moveaxis(of["seen"], 1, 0)))
    found = Evaluation(
        category,
        names,
        names,
        np.ravel(of["labels"]),
        of["gts"],
        scores,
        of["predictions"],
        dict.fromkeys(maps, scores),
        maps,
    )
    scored = score(found, args.scoring, parameters_from(args))
    chosen, of_it = scored[args.scoring[0]], metrics(found, scored)[args.scoring[0]]
    return SimpleNamespace(
        image_preds=chosen.image_preds[:, None],
        predictions=chosen.predictions,
        image_rocauc=of_it.image_rocauc,
        pixel_rocauc=of_it.pixel_rocauc,
    )
