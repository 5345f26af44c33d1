"""Small saved models, fitted to generated scans without networks."""

import dataclasses
from pathlib import Path

import m3dm_runner
from data.calibration_parts import calibration_files
from data.examination import examine
from data.findings import Options
from dataset import TrainDataset
from runs.options import parse_arguments
from tests.fakes import PoolingExtractor
from tests.make_data import add_part, make_scans, picture_of, scan

CATEGORY = "toy"


def make_parts(root, train=4, test=2, validation=0, first=1000):
    """Write a category of scans with ``validation`` normal parts that are in no other split; returns the data set's
    folder."""
    make_scans(root, train=train, test=test)
    for number in range(validation):
        cloud = scan(seed=first + number)
        add_part(root, "validation/good", f"{number:03d}", picture_of(cloud, first + number), cloud, category=CATEGORY)
    return Path(root)


def words(root, method, *flags):
    """main.py's words for a run on the category, without the flags that say where results go."""
    fixed = "--use_uff --dataset_type folder --device cpu --num_workers 0 --random_state 0".split()
    return ["--method_name", method, *fixed, "--dataset_path", str(root), "--category", CATEGORY, *map(str, flags)]


def options_for(root, method="DINO+Point_MAE", *flags):
    """Parsed options of an eval-mode run on the category, with --save_model."""
    where = ("--output_dir", Path(root) / "results", "--save_model", Path(root) / "models")
    return parse_arguments(words(root, method, "--eval_mode", *where, *flags))


def examined(args):
    """The options with what the examination of the training parts has found, as main.py runs with them."""
    [found] = examine(args.dataset_path, [CATEGORY], options=Options(args.img_size, args.min_points))
    return dataclasses.replace(args, readings={CATEGORY: found.reading}, usual={CATEGORY: found.usual})


def fitted_runner(args, extractor=None, weights=()):
    """(fitted runner, path of the model that it has saved)."""
    runner = m3dm_runner.M3DM(args, extractor or PoolingExtractor())
    out = TrainDataset(
        CATEGORY, 224, args.dataset_path, shots=args.shots, seed=args.seed, held_out_share=args.held_out
    ).held_out_files
    chosen = calibration_files(args.dataset_path, CATEGORY, args.calibration, args.calibration_dir, out)
    runner.read_parts(CATEGORY, chosen)
    runner.fit(CATEGORY)
    path = Path(args.save_model) / f"{CATEGORY}.m3dm"
    runner.save(path, CATEGORY, list(weights), {"run": "id/toy"})
    return runner, path
