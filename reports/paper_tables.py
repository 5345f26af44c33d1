"""The result tables of Xu et al. (Appl. Sci. 2026, 16, 5483): each row's scoring, and its published means over
categories of image ROCAUC, pixel ROCAUC and AU-PRO.
"""

from typing import NamedTuple, Optional

from data import names
from data.names import same_name

MULTISCALE = "multiscale"  # a row that needs a second run: --group_size 64 --num_group 784 --multiscale
ONE_MAP = (
    "The paper's pixel figures differ between 'Disagreement Only' and the later rows, though score calibration cannot "
    "change a map: its rows cannot all come from one M_pix, and ours share one."
)


class PaperRow(NamedTuple):
    """A row: its title, the scoring that computes it (None: the row is only quoted), the published values."""

    title: str
    scoring: Optional[str]
    published: tuple


class PaperTable(NamedTuple):
    """A table of the paper and the data set it is about."""

    number: int
    title: str
    dataset: str
    rows: tuple
    note: str = ""


RELEASED, PROPOSED, ONLY = (0.779, 0.975, 0.915), (0.800, 0.980, 0.926), (0.774, 0.981, 0.930)
PARTIAL = (0.799, 0.980, 0.926)
BASELINE = PaperRow("released-code baseline", "baseline", RELEASED)
ADDON = PaperRow("proposed add-on", "disagreement", PROPOSED)
SENSITIVITY = (
    PaperRow("baseline, fusion score, group 128, num 1024", "baseline", RELEASED),
    PaperRow("baseline, pixel-max score", "pixel_max", (0.754, 0.975, 0.915)),
    PaperRow("baseline, pixel-TopK score", "pixel_topk", (0.731, 0.975, 0.915)),
    PaperRow("baseline, fusion score, group 64, num 784, multiscale", MULTISCALE, (0.781, 0.976, 0.917)),
    ADDON,
)
MODULES = (
    BASELINE,
    PaperRow("+ disagreement modulation", "disagreement_only", ONLY),
    PaperRow("+ reliability-aware score calibration", "partial", PARTIAL),
    PaperRow("final proposed setting", "disagreement", PROPOSED),
)
ABLATION = (
    BASELINE,
    PaperRow("disagreement only", "disagreement_only", ONLY),
    PaperRow("disagreement + score calibration", "disagreement_base", (0.765, 0.980, 0.926)),
    PaperRow("partial statistical calibration", "partial", PARTIAL),
    PaperRow("full statistical calibration", "full", (0.793, 0.980, 0.926)),
)
QUOTED = PaperRow("reported by M3DM (CVPR 2023)", None, (0.945, 0.992, 0.964))


def both(baseline, proposed):
    """The rows of a table that compares the two."""
    return BASELINE._replace(published=baseline), ADDON._replace(published=proposed)


TABLES = (
    PaperTable(3, "Parameter sensitivity on MVTec 3D-AD", "mvtec3d", SENSITIVITY),
    PaperTable(4, "Overall comparison on MVTec 3D-AD", "mvtec3d", (QUOTED, BASELINE, ADDON)),
    PaperTable(5, "Eyecandies, public test split", "eyecandies", both((0.810, 0.963, 0.849), (0.794, 0.971, 0.870))),
    PaperTable(6, "Real-IAD D3, three categories", "realiad_d3", both((0.963, 0.979, 0.921), (0.980, 0.988, 0.941))),
    PaperTable(7, "Module progression on MVTec 3D-AD", "mvtec3d", MODULES, ONE_MAP),
    PaperTable(8, "Ablation on MVTec 3D-AD", "mvtec3d", ABLATION, ONE_MAP),
)

# categories of the paper's runs, by data set; in the spelling of same_name
OF_PAPER = {**names.CATEGORIES, "realiad_d3": ("fork_crimp_terminal", "knob-cap", "limit-switch")}
CATEGORIES = {dataset: tuple(map(same_name, members)) for dataset, members in OF_PAPER.items()}


def dataset_of(categories):
    """The data set to which more than half of ``categories`` belong; None if there is none."""
    asked = {same_name(c) for c in categories}
    known = {dataset: len(asked & set(members)) for dataset, members in CATEGORIES.items()}
    best = max(known, key=known.get)
    return best if 2 * known[best] > len(asked) else None
