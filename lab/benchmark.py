"""Measure steps of ours beside those of other packages, which justify our own code; exit code 1 if a goal is missed.

    python lab/benchmark.py                        # all rows; half an hour on two cores
    python lab/benchmark.py --rows fpfh search     # some

Two steps take turns, and the smallest processor time of each counts, on one thread of the CPU. Parts are generated. A
row whose package is not installed is named and left out. docs/speed.md shows a run; for a GPU see lab/on_gpu.py.
"""

import contextlib
import importlib.util
import io
import sys
import warnings

import numpy as np
import torch
from PIL import Image

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.commands import Parser, run_command
from feature_extractors.coreset import pick
from feature_extractors.extraction import PatchExtractor
from feature_extractors.fpfh import fpfh as our_fpfh
from feature_extractors.memory_bank import NO_PART, MemoryBank
from feature_extractors.nearest_rows import RowSearch
from lab.make_demo import cut_out
from lab.side_by_side import collect, in_turn, rows_near_a_plane, table
from models.rgb_backbones import LITE0

PICTURES = 26  # of the PatchCore row: 784 patches each, about 20,000 rows
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def fpfh(rounds):
    """FPFH of a generated part's points, beside Open3D's."""
    import open3d

    xyz = cut_out("housing", [0, 0]).xyz
    points = np.ascontiguousarray(xyz[(xyz != 0).all(axis=2)], dtype=float)

    def theirs():
        cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
        cloud.estimate_normals(open3d.geometry.KDTreeSearchParamKNN(30))
        cloud.orient_normals_towards_camera_location(np.zeros(3))
        open3d.pipelines.registration.compute_fpfh_feature(cloud, open3d.geometry.KDTreeSearchParamKNN(100))

    our_fpfh(points)  # compiled, or loaded from the cache
    what = f"FPFH of {len(points):,} points"
    yield in_turn(what, "Open3D", lambda: our_fpfh(points), theirs, rounds, at_least=5)


def search(rounds):
    """The nearest of 20,000 rows, with and without structure, beside faiss's exact search."""
    import faiss

    faiss.omp_set_num_threads(1)
    near, far = rows_near_a_plane(23_136, 1152), torch.randn(23_136, 1152, generator=torch.Generator().manual_seed(1))
    for what, all_rows in {"structured": near, "random": far}.items():
        rows, patches = all_rows[:20_000], all_rows[20_000:]
        ours, theirs = RowSearch(rows), faiss.IndexFlatL2(1152)
        theirs.add(rows.numpy())
        yield in_turn(
            f"nearest of 20,000 {what} rows, 3136 patches, 1152 columns",
            "faiss",
            lambda: ours.nearest(patches),
            lambda: theirs.search(patches.numpy(), 1),
            rounds,
            at_least=1,
        )


def coreset(rounds):
    """A tenth of the rows, random projection included, beside anomalib's.

    anomalib's frees and takes 20 MB for each pick; with glibc's default memory that grew beyond 14 GiB here.
    """
    from anomalib.models.components import KCenterGreedy

    for count, goal in ((20_000, 5), (60_000, 20)):
        rows = rows_near_a_plane(count, 152)
        yield in_turn(
            f"coreset, {count:,} rows of 152 columns to {count // 10:,}",
            "anomalib",
            lambda: pick([rows], *rows.shape, len(rows) // 10, 0.9, 0),
            lambda: _silently(lambda: KCenterGreedy(rows, 0.1).select_coreset_idxs()),
            rounds if count == 20_000 else 1,
            at_least=goal,
        )


def patchcore(rounds):
    """Fit and judge with lite0's features of pictures, beside anomalib's PatchCore; its weights are random, which takes
    as long."""
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    pictures = [np.array(Image.fromarray(cut_out("housing", [i, 0]).rgb).resize((224, 224))) for i in range(PICTURES)]
    pictures = [((torch.from_numpy(p) / 255 - MEAN) / STD).permute(2, 0, 1)[None].contiguous() for p in pictures]
    extractor, fitted = PatchExtractor.from_checkpoints("none", rgb=LITE0, xyz=None), {}
    extractor.export_rgb()
    model = PatchcoreModel(layers=["blocks.2", "blocks.4"], backbone="tf_efficientnet_lite0", pre_trained=False)

    def features(picture):
        return extractor.extract((picture, torch.zeros(1, 3, 224, 224)))["rgb"]

    def our_fit():
        rows = torch.cat([features(picture) for picture in pictures])
        rows = rows[pick([rows], *rows.shape, len(rows) // 10, 0.9, 0)]
        unknown = torch.full((len(rows),), NO_PART)
        fitted["bank"] = MemoryBank(rows, unknown)

    def their_fit():
        model.train()
        for picture in pictures:
            model(picture)
        model.subsample_embedding(0.1)
        model.eval()

    name = f"anomalib's PatchCore (ours with {extractor.rgb_runtime})"
    yield in_turn(f"fit of {PICTURES} pictures with lite0", name, our_fit, lambda: _silently(their_fit), 1)
    judge = (lambda: fitted["bank"].measure(features(pictures[0]))), (lambda: _silently(lambda: model(pictures[0])))
    yield in_turn("one picture judged", name, *judge, 2 * rounds)


def _silently(work):
    with torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):  # anomalib's progress bars
        return work()


ROWS = {row.__name__: row for row in (fpfh, search, coreset, patchcore)}
PACKAGES = {"fpfh": "open3d", "search": "faiss", "coreset": "anomalib", "patchcore": "anomalib"}


def main(argv=None):
    """Run the command line. Returns the exit code: 0 all goals met, 1 a goal missed or a row failed, 2 refused."""
    parser = Parser(prog="benchmark.py", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, metavar="ROW", help="only these: " + ", ".join(ROWS))
    parser.add_argument("--rounds", type=number(int, 1, 1000), default=3, metavar="N", help="turns of each step")
    return run_command("benchmark.py", parser.parse_args(argv), run_rows)


def run_rows(options):
    """Measure the rows that the options choose, and print them; returns the exit code."""
    rows, wrong, absent = [], [], []
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of the other packages
    for name in options.rows or ROWS:
        if importlib.util.find_spec(PACKAGES[name]) is None:
            absent.append(f"{name}: left out, {PACKAGES[name]} is not installed")
        else:
            collect(name, lambda: ROWS[name](options.rounds), rows, wrong)
    print(f"\ntorch {torch.__version__}, CPU; the smallest of {options.rounds} turns\n\n{table(rows)}\n")
    print(*absent, *wrong, sep="\n")
    return int(bool(wrong) or not all(row.fine for row in rows))


if __name__ == "__main__":
    sys.exit(main())
