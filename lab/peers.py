"""Our steps beside others, in one process: Open3D's FPFH, faiss's exact search, anomalib's coreset and PatchCore.

    python lab/peers.py                     # all whose package is installed; the others are named and left out
    python lab/peers.py --only fpfh search

Two steps take turns, and the smallest processor time of each counts, on one thread. So the figures hold on a machine
that other programs share, where seconds by the clock do not.
"""

import contextlib
import importlib.util
import io
import sys
import time
import warnings
from typing import Callable, NamedTuple

import numpy as np
import torch
from PIL import Image
from tabulate import tabulate

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.commands import HelpFormatter, Parser, run_command
from common.progress import note
from feature_extractors.coreset import pick
from feature_extractors.extraction import PatchExtractor
from feature_extractors.fpfh import fpfh
from feature_extractors.memory_bank import NO_PART, MemoryBank
from feature_extractors.nearest_rows import RowSearch
from lab.make_demo import cut_out
from models.rgb_backbones import LITE0

PARTS = 26  # training parts of the PatchCore row: 784 patches each, about 20,000 rows
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


class Peer(NamedTuple):
    """What our step is compared with: the package that has to be installed, and a function that gives table lines."""

    package: str
    run: Callable


def line(what, rounds, ours, theirs, whose):
    """(what, our seconds, theirs, theirs / ours): the smallest processor times of ``rounds``, taken in turn."""
    spent = {ours: [], theirs: []}
    for _ in range(rounds):
        for work in (ours, theirs):
            start = time.process_time()
            work()
            spent[work].append(time.process_time() - start)
    mine, other = min(spent[ours]), min(spent[theirs])
    return what, whose, f"{mine:.3g}", f"{other:.3g}", f"{other / mine:.2f}"


def rows_near_a_plane(count, width):
    """[count, width] rows with 20 directions and noise, as features are."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(count, 20, generator=generator) @ torch.randn(20, width, generator=generator) / 20**0.5
    return spread + 0.1 * torch.randn(count, width, generator=generator)


def open3d_fpfh(rounds):
    """FPFH of a generated part's points."""
    import open3d

    xyz = cut_out("housing", [0, 0]).xyz
    points = np.ascontiguousarray(xyz[(xyz != 0).all(axis=2)], dtype=float)

    def theirs():
        cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
        cloud.estimate_normals(open3d.geometry.KDTreeSearchParamKNN(30))
        cloud.orient_normals_towards_camera_location(np.zeros(3))
        open3d.pipelines.registration.compute_fpfh_feature(cloud, open3d.geometry.KDTreeSearchParamKNN(100))

    fpfh(points)  # compiled, or loaded from the cache
    yield line(f"FPFH of {len(points):,} points", rounds, lambda: fpfh(points), theirs, "Open3D")


def faiss_search(rounds):
    """The nearest of 20,000 rows, with and without structure."""
    import faiss

    faiss.omp_set_num_threads(1)
    near, far = rows_near_a_plane(23_136, 1152), torch.randn(23_136, 1152, generator=torch.Generator().manual_seed(1))
    for what, all_rows in {"structured": near, "random": far}.items():
        rows, patches = all_rows[:20_000], all_rows[20_000:]
        search, index = RowSearch(rows), faiss.IndexFlatL2(1152)
        index.add(rows.numpy())
        step = f"nearest of 20,000 {what} rows, 3136 patches, 1152 columns"
        yield line(step, rounds, lambda: search.nearest(patches), lambda: index.search(patches.numpy(), 1), "faiss")


def anomalib_coreset(rounds):
    """A tenth of 20,000 rows, random projection included.

    anomalib's frees and takes 20 MB for each pick; with glibc's default memory that grew beyond 14 GiB here.
    """
    from anomalib.models.components import KCenterGreedy

    rows = rows_near_a_plane(20_000, 1152)
    yield line(
        "coreset, 20,000 rows of 1152 columns to 2,000",
        rounds,
        lambda: pick([rows], *rows.shape, 2_000, 0.9, 0),
        lambda: _silently(lambda: KCenterGreedy(rows, 0.1).select_coreset_idxs()),
        "anomalib",
    )


def anomalib_patchcore(rounds):
    """Fit and judge with lite0's features of pictures alone; anomalib's weights are random, which takes as long."""
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    pictures = [np.array(Image.fromarray(cut_out("housing", [i, 0]).rgb).resize((224, 224))) for i in range(PARTS)]
    pictures = [((torch.from_numpy(p) / 255 - MEAN) / STD).permute(2, 0, 1)[None].contiguous() for p in pictures]
    extractor, fitted = PatchExtractor.from_checkpoints("none", rgb=LITE0, xyz=None), {}
    extractor.export_rgb()
    blank = torch.zeros(1, 3, 224, 224)

    def our_fit():
        rows = torch.cat([extractor.extract((picture, blank))["rgb"] for picture in pictures])
        rows = rows[pick([rows], *rows.shape, len(rows) // 10, 0.9, 0)]
        unknown = torch.full((len(rows),), NO_PART)
        fitted["ours"] = MemoryBank(rows, unknown, unknown)

    def their_fit():
        model = PatchcoreModel(layers=["blocks.2", "blocks.4"], backbone="tf_efficientnet_lite0", pre_trained=False)
        fitted["theirs"] = model.train()
        with torch.no_grad():
            for picture in pictures:
                model(picture)
            _silently(lambda: model.subsample_embedding(0.1))
        model.eval()

    def their_judgement():
        with torch.no_grad():
            fitted["theirs"](pictures[0])

    def our_judgement():
        fitted["ours"].measure(extractor.extract((pictures[0], blank))["rgb"])

    name = f"anomalib's PatchCore (ours with {extractor.rgb_runtime})"
    yield line(f"fit of {PARTS} pictures with lite0", min(rounds, 2), our_fit, their_fit, name)
    yield line("one picture judged", 2 * rounds, our_judgement, their_judgement, name)


def onnx_runtime(rounds):
    """lite0's patches by ONNX Runtime, against torch."""
    by_torch, by_onnx = (PatchExtractor.from_checkpoints("none", rgb=LITE0, xyz=None) for _ in range(2))
    if not by_onnx.export_rgb():
        return
    sample = torch.randn(1, 3, 224, 224), torch.zeros(1, 3, 224, 224)
    yield line(
        "lite0, one picture",
        4 * rounds,
        lambda: by_onnx.extract(sample),
        lambda: by_torch.extract(sample),
        "torch, batch norms folded",
    )


PEERS = {
    "fpfh": Peer("open3d", open3d_fpfh),
    "search": Peer("faiss", faiss_search),
    "coreset": Peer("anomalib", anomalib_coreset),
    "patchcore": Peer("anomalib", anomalib_patchcore),
    "onnx": Peer("onnxruntime", onnx_runtime),
}


def _silently(work):
    with torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):  # their progress bars
        return work()


def main(argv=None):
    """Run the command line; returns the exit code."""
    parser = Parser(prog="peers.py", description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PEERS, metavar="ROW", help="only these: " + ", ".join(PEERS))
    parser.add_argument("--rounds", type=number(int, 1, 100), default=3, metavar="N", help="turns of each step")
    return run_command("peers.py", parser.parse_args(argv), compare)


def compare(options):
    """Print the table; returns the exit code."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of the other packages
    lines = []
    for name in options.only or PEERS:
        if importlib.util.find_spec(PEERS[name].package) is None:
            note(f"{name}: left out, {PEERS[name].package} is not installed", sys.stderr)
            continue
        for found in PEERS[name].run(options.rounds):
            lines.append(found)
            note(" | ".join(found), sys.stderr)
    print(tabulate(lines, ["step", "beside", "ours, s", "theirs, s", "theirs / ours"], "pipe", disable_numparse=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
