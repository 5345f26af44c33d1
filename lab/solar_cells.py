"""Real pictures for lab/evidence.py: solar cells, 2,624 electroluminescence pictures, good and defective.

pip install elpv-dataset (91 MB, CC BY-NC-SA 4.0) brings them; they are not part of this project. Per type of cell
(mono- and polycrystalline) and seed 60 good cells train; 240 good and 200 certainly defective ones are scored by the
one-bank RGB method. Of the 240, 40 are drawn to calibrate, 200 times; the other good ones and the defective are judged.
"""

import csv

import numpy as np
from PIL import Image

from common.errors import InputError
from common.files import atomic_path
from inspection.verdict import rank
from lab.evidence_page import RATE, failed_shares
from scoring.metrics import roc_auc
from scoring.scorings import CALIBRATED

TYPES = ("mono", "poly")
PARTS = {"train/good": 60, "test/good": 240, "test/defective": 200}
CALIBRATION = 40


def load_cells():
    """(pictures [n][300, 300] uint8, defect probabilities [n], types [n]) of the package; InputError without it."""
    try:
        from elpv_dataset.utils import load_dataset
    except ImportError:
        raise InputError("elpv-dataset is not installed; pip install elpv-dataset (91 MB)") from None
    return load_dataset()


def write_cells(folder, cells, kind, seed):
    """Write PARTS of the cells of one type below ``folder``/``kind``, as pictures without clouds. Good cells have a
    defect probability of 0, defective ones of 1; which ones is drawn by ``seed``."""
    pictures, probabilities, types = cells
    rng = np.random.default_rng(seed)
    good, bad = (list(rng.permutation(np.flatnonzero((types == kind) & (probabilities == p)))) for p in (0, 1))
    for split, count in PARTS.items():
        members = good if split.endswith("good") else bad
        for i in range(count):
            with atomic_path(folder / kind / split / "rgb" / f"{i:03d}.png") as temporary:
                Image.fromarray(pictures[members.pop()]).convert("RGB").save(temporary, format="PNG")


def figures(path):
    """{figure: value} of the scores_<type>.csv at ``path``: image ROCAUC, and the mean shares that fail."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    labels, scores = np.array([int(row["label"]) for row in rows]), np.array([float(row[CALIBRATED]) for row in rows])
    shares = failed_shares(scores[labels == 0], {"defective": scores[labels == 1]}, CALIBRATION)
    return {
        "image_rocauc": roc_auc(labels, scores),
        "good_failed": float(shares["good"].mean()),
        "promised": rank(CALIBRATION, RATE) / (CALIBRATION + 1),
        "defective_failed": float(shares["defective"].mean()),
    }
