"""Try the one-bank RGB method on real pictures: solar cells, 2,624 electroluminescence pictures, good and defective.

    pip install elpv-dataset        # 91 MB, CC BY-NC-SA 4.0: not part of this project
    python lab/solar_cells.py -o solar --seeds 0 1 2

Per type of cell (mono- and polycrystalline) and seed: 60 good cells train; 240 good and 200 certainly
defective ones are scored. It prints image ROCAUC, and the shares of good and defective cells that fail at 5 %, over 200
draws of 40 calibration cells from the 240: the other 200 good ones are judged. OUT/solar.json has the numbers.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tabulate import tabulate

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.commands import FINE, Parser, run_command
from common.errors import InputError
from common.files import atomic_path, atomic_write_text, check_writable
from lab.commands import command
from lab.evidence_page import RATE, failed_shares
from scoring.metrics import roc_auc
from scoring.scorings import CALIBRATED

TYPES = ("mono", "poly")
PARTS = {"train/good": 60, "test/good": 240, "test/defective": 200}
CALIBRATION = 40  # of the good test cells; the others and the defective ones are judged
OPTIONS = ("--preset", "best", "--method_name", "DINO", "--rgb_backbone_name", "efficientnet_lite0")


def load_cells():
    """(pictures [n][300, 300] uint8, defect probabilities [n], types [n]) of the installed package.

    Raises:
        InputError: the package is not installed.
    """
    try:
        from elpv_dataset.utils import load_dataset
    except ImportError:
        raise InputError("elpv-dataset is not installed; pip install elpv-dataset (91 MB)") from None
    return load_dataset()


def write_cells(folder, cells, kind, seed, parts):
    """Write ``parts`` {split: number} of the cells of one type below ``folder``/``kind``, as pictures without clouds.
    Good cells have a defect probability of 0, defective ones of 1; which ones is drawn by ``seed``.

    Raises:
        InputError: there are too few cells.
    """
    pictures, probabilities, types = cells
    rng = np.random.default_rng(seed)
    left = {
        name: list(rng.permutation(np.flatnonzero((types == kind) & (probabilities == value))))
        for name, value in (("good", 0), ("defective", 1))
    }
    for split, count in parts.items():
        members = left[split.rpartition("/")[2]]
        if len(members) < count:
            raise InputError(f"{kind}: {len(members)} cells are left for {split}, {count} are needed")
        for i in range(count):
            with atomic_path(Path(folder) / kind / split / "rgb" / f"{i:03d}.png") as temporary:
                Image.fromarray(pictures[members.pop()]).convert("RGB").save(temporary, format="PNG")


def run_cells(folder, kind, seed):
    """Fit and test one type: (labels [n], scores [n]) of the test cells, in the order of their names."""
    where = "--dataset_type", "folder", "--dataset_path", folder / "data", "--output_dir", folder / "results"
    command("main.py", *OPTIONS, *where, "--category", kind, "--seed", seed)
    with open(folder / "results" / f"scores_{kind}.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([int(row["label"]) for row in rows]), np.array([float(row[CALIBRATED]) for row in rows])


def figures(labels, scores):
    """{figure: value}: image ROCAUC, and the mean shares that fail over the draws, with their standard deviations."""
    shares = failed_shares(scores[labels == 0], {"defective": scores[labels == 1]}, CALIBRATION)
    return {
        "image_rocauc": roc_auc(labels, scores),
        "good_failed": float(shares["good"].mean()),
        "good_failed_sd": float(shares["good"].std()),
        "promised": 1 - np.ceil((1 - RATE) * (CALIBRATION + 1) - 1e-9) / (CALIBRATION + 1),
        "defective_failed": float(shares["defective"].mean()),
    }


def try_cells(args):
    """Run every type and seed that has no result yet, and print the table; returns the exit code."""
    check_writable(args.output)
    target = args.output / "solar.json"
    known = json.loads(target.read_text()) if target.is_file() else {}
    cells = load_cells()
    for seed in args.seeds:
        for kind in TYPES:
            name, folder = f"{kind}, seed {seed}", args.output / f"seed_{seed}"
            if name not in known:
                write_cells(folder / "data", cells, kind, seed, PARTS)
                known[name] = figures(*run_cells(folder, kind, seed))
                atomic_write_text(target, json.dumps(known, indent=1) + "\n")
    columns = list(next(iter(known.values())))
    rows = [[name, *(f"{of[column]:.3f}" for column in columns)] for name, of in sorted(known.items())]
    print(tabulate(rows, ["cells", *columns], tablefmt="pipe", disable_numparse=True))
    return FINE


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 2 refused."""
    parser = Parser(prog="solar_cells.py", description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("solar"), metavar="OUT", help="folder for everything")
    text = "of the draw of cells"
    parser.add_argument("--seeds", type=number(int, 0), nargs="+", default=[0], metavar="N", help=text)
    return run_command("solar_cells.py", parser.parse_args(argv), try_cells)


if __name__ == "__main__":
    sys.exit(main())
