"""Measure our steps beside other packages, and the full setting beside its ViT; exit code 1 if a goal is missed.

    python lab/benchmark.py                              # all rows; beside anomalib half an hour on two cores
    python lab/benchmark.py --rows extraction fpfh       # some

Two steps take turns, and the smallest processor time of each counts, on one thread of the CPU. Parts are generated, and
weights are untrained stand-ins, which take as long as real ones. A row whose package is not installed is named and left
out. docs/speed.md shows a run. What a GPU has to show: lab/on_gpu.py.
"""

import contextlib
import importlib.util
import io
import statistics
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

import reference_m3dm
from common.argument_types import number
from common.clock import Clock
from common.commands import Parser, run_command
from data.scans import find_parts, read_scan
from dataset import get_data_loader
from feature_extractors.coreset import pick
from feature_extractors.extraction import PatchExtractor
from feature_extractors.fpfh import fpfh as our_fpfh
from feature_extractors.memory_bank import NO_PART, MemoryBank
from feature_extractors.nearest_rows import RowSearch
from inspection.inspector import Inspector
from lab.commands import command
from lab.make_demo import cut_out, write_category
from lab.side_by_side import Row, collect, in_turn, measure, rows_near_a_plane, table
from lab.standin_checkpoints import UFF_FILE, write_checkpoints
from m3dm_runner import build_extractor, build_method
from models.rgb_backbones import LITE0
from runs.options import parse_arguments

KIND = "housing"
DEFECTS = ("dent", "stain")  # one test part of each
RATE = 0.2  # of false alarms; high, since a benchmark has few calibration parts
PICTURES = 26  # of the PatchCore row: 784 patches each, about 20,000 rows
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


class Bench:
    """``train`` training and ``good`` good test parts of a generated category, and stand-in weights, in a temporary
    ``folder``; ``rounds``: how often what is short is measured."""

    def __init__(self, folder, rounds, train=16, good=6):
        self.folder, self.rounds = Path(folder), rounds
        self.checkpoints = self.folder / "checkpoints"
        write_checkpoints(self.checkpoints)
        write_category(self.folder / "data", KIND, train, good, 1, 0, DEFECTS)

    def words(self, *flags):
        """Command line of main.py for the full setting on the generated parts, with ``flags`` added."""
        known = ["--use_uff", "--checkpoint_dir", self.checkpoints, "--random_state", 0, "--device", "cpu"]
        known += ["--fusion_module_path", self.checkpoints / UFF_FILE, "--output_dir", self.folder / "out"]
        known += ["--dataset_type", "folder", "--dataset_path", self.folder / "data", "--category", KIND]
        return [*map(str, known), *map(str, flags)]

    def method(self, *flags):
        """A method object with empty banks."""
        args = parse_arguments(self.words(*flags))
        return build_method(args, build_extractor(args))

    def sample(self):
        """The first training part. A hundredth of a millimetre of noise breaks the ties that a camera's whole counts
        make: of two points equally far away, either may be a neighbour."""
        (rgb, xyz, depth), *_ = next(iter(get_data_loader("train", KIND, 224, parse_arguments(self.words()))))
        noise = torch.randn(xyz.shape, generator=torch.Generator().manual_seed(0))
        return rgb, xyz + 1e-5 * noise * (xyz != 0), depth


# ---------------------------------------------------------------- the full setting


def extraction(bench):
    """Extraction of one sample beside the ViT alone; in eval mode its patches are compared with the plain ones."""
    sample = bench.sample()
    for mode, flags, most in (("eval mode", ["--eval_mode"], 2.4), ("train mode, as released", [], 3.2)):
        method, text, right = bench.method(*flags), "", True
        with torch.no_grad():
            if flags:  # in train mode the depth is drawn anew
                ours, plain = method.extract(sample), reference_m3dm.extract(method, sample)
                apart = max(float((ours[n] - plain[n]).abs().max() / plain[n].abs().max()) for n in ours)
                text, right = f"patches within {apart:.0e} of the plain ones", apart < 1e-4
            row = in_turn(
                f"extraction of one sample, {mode}",
                f"ViT-B/8 alone (goal: at most {most} times it)",
                lambda: method.extract(sample),
                lambda: method.deep_feature_extractor.forward_rgb_features(sample[0]),
                bench.rounds,
                at_least=1 / most,
            )
        yield row._replace(note=text, right=right)


def one_part(bench):
    """Seconds of one part by a saved model of the full setting, from its files to the verdict."""
    models = bench.folder / "models"
    flags = "--eval_mode", "--save_model", models, "--calibration", 0.35, "--shots", 8, "--fit_only"
    command("main.py", *bench.words(*flags))
    inspector = Inspector.load(models / f"{KIND}.m3dm", bench.checkpoints, "cpu", RATE)
    parts, clocks = find_parts(bench.folder / "data" / KIND / "test")[:6], []

    def judge(part):
        clocks.append(Clock())
        with clocks[-1]("decode"):
            prepared = inspector.preparation(read_scan(part.rgb, part.xyz))
        inspector.judge_prepared(prepared, clocks[-1])

    seconds = [measure(lambda: judge(part))[1] for part in parts * max(1, bench.rounds // 2)]
    steps = {name: statistics.median(clock[name] for clock in clocks[1:]) for name in clocks[0]}
    text = "by the clock: " + ", ".join(f"{name} {1000 * s:.0f} ms" for name, s in steps.items())
    yield Row("one part by a saved model, files to verdict", "", min(seconds), note=text)


# ---------------------------------------------------------------- beside other packages


def fpfh(bench):
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
    yield in_turn(what, "Open3D", lambda: our_fpfh(points), theirs, bench.rounds, at_least=5)


def search(bench):
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
            bench.rounds,
            at_least=1,
        )


def coreset(bench):
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
            bench.rounds if count == 20_000 else 1,
            at_least=goal,
        )


def patchcore(bench):
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
    yield in_turn("one picture judged", name, *judge, 2 * bench.rounds)


def onnx(bench):
    """lite0's patches by ONNX Runtime, beside torch."""
    by_torch, by_onnx = (PatchExtractor.from_checkpoints("none", rgb=LITE0, xyz=None) for _ in range(2))
    if by_onnx.export_rgb():
        sample = torch.randn(1, 3, 224, 224), torch.zeros(1, 3, 224, 224)
        extract = (lambda: by_onnx.extract(sample)), (lambda: by_torch.extract(sample))
        yield in_turn("lite0, one picture", "torch, batch norms folded", *extract, 4 * bench.rounds)


def _silently(work):
    with torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):  # anomalib's progress bars
        return work()


# ---------------------------------------------------------------- the command

ROWS = {row.__name__: row for row in (extraction, one_part, fpfh, search, coreset, patchcore, onnx)}
PACKAGES = {"fpfh": "open3d", "search": "faiss", "coreset": "anomalib", "patchcore": "anomalib", "onnx": "onnxruntime"}


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
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        bench = Bench(folder, options.rounds)
        for name in options.rows or ROWS:
            if importlib.util.find_spec(PACKAGES.get(name, "torch")) is None:
                absent.append(f"{name}: left out, {PACKAGES[name]} is not installed")
            else:
                collect(name, lambda: ROWS[name](bench), rows, wrong)
    print(f"\ntorch {torch.__version__}, CPU; the smallest of {options.rounds} turns\n\n{table(rows)}\n")
    print(*absent, *wrong, sep="\n")
    return int(bool(wrong) or not all(row.fine for row in rows))


if __name__ == "__main__":
    sys.exit(main())
