"""What a method can be told: which banks each has, its settings, and which defects of the release are switched off.

Values without torch, so that a command line can be checked before the networks' libraries are loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Optional

# method → its banks, in the order of the late fusion's columns
METHOD_BANKS = {
    "DINO": ("rgb",),
    "Point_MAE": ("xyz",),
    "Fusion": ("fusion",),
    "DINO+Point_MAE": ("xyz", "rgb"),
    "DINO+Point_MAE+Fusion": ("xyz", "rgb", "fusion"),
    "DINO+Point_MAE+add": ("xyz", "rgb"),
    "DINO+FPFH": ("xyz", "rgb"),
    "FPFH": ("xyz",),
}
FPFH = "FPFH"  # the xyz backbone that is no network
FPFH_METHODS = ("DINO+FPFH", "FPFH")  # ours: methods whose xyz backbone is always FPFH
FPFH_POINTS = 100  # points that a histogram is made of


TRAIN_MODE = (
    "--save_model needs --eval_mode: in train mode, as released, a part's features differ each time it is seen, so the "
    "same part would get another score and perhaps another verdict each time"
)


def needed_backbones(bank_names):
    """Names of the backbones ("rgb", "xyz") that the banks are made from; the fusion bank needs both."""
    return {"rgb", "xyz"} if "fusion" in bank_names else set(bank_names)


@dataclass(frozen=True)
class Fixes:
    """Defects of the release that are switched off; False is as released. Each is described in
    ``utils.main_arguments.FIXES``."""

    eval_mode: bool = False
    scaling: bool = False
    coreset_sizes: bool = False
    float_maps: bool = False
    max_sample: bool = False
    zero_row: bool = False
    late_fusion: bool = False
    save_feature: bool = False
    zero_points: bool = False

    @classmethod
    def of(cls, names):
        """Fixes with these names switched on; "all" means every one.

        Raises:
            TypeError: a name that is no fix.
        """
        names = [f.name for f in fields(cls)] if "all" in names else names
        return cls(**dict.fromkeys(names, True))

    @property
    def names(self):
        """Sorted names of those that are switched on."""
        return sorted(f.name for f in fields(self) if getattr(self, f.name))


def _lambdas(**values):
    return field(default_factory=lambda: MappingProxyType(values))


@dataclass(frozen=True)
class Settings:
    """How a method builds its banks and combines their scores; the defaults are the release's.

    Attributes:
        seed: of random, numpy and torch, set when the method is made.
        f_coreset: kept fraction of the rows, in (0, 1].
        coreset_eps: allowed distortion of distances in the random projection, in (0, 1).
        half_coreset: pick the coreset in half precision, row by row, as the release does (slow, for comparison).
        coreset_partitions: pick the coreset in so many parts and then among their picks: others than of all rows at
            once; None: of all rows at once.
        bank_shards: places that each bank's rows are split over; shard_engine: where, see ``shards.ENGINES``. The
            results are those of one place.
        random_state: seed of the random projection; None: numpy's global generator.
        img_size: side of the maps in pixels, for the methods whose maps are not always 224.
        asy_memory_bank: at most so many parts in the xyz and fusion banks; None: all.
        rm_zero_for_project: Point_MAE method: drop all rows that hold a zero.
        ocsvm_nu, ocsvm_maxiter: of the late fusion's one-class SVMs.
        score_lambdas, map_lambdas: {bank: factor} of the late fusion's inputs.
        training_maps: measure the training parts without their own rows and keep the result.
        spool_dir: folder for training rows that would take much memory; None: all stay in memory.
    """

    seed: int = 0
    f_coreset: float = 0.1
    coreset_eps: float = 0.9
    half_coreset: bool = False
    coreset_partitions: Optional[int] = None
    bank_shards: int = 1
    shard_engine: str = "devices"
    random_state: Optional[int] = None
    img_size: int = 224
    asy_memory_bank: Optional[int] = None
    rm_zero_for_project: bool = False
    ocsvm_nu: float = 0.5
    ocsvm_maxiter: int = 1000
    score_lambdas: Mapping = _lambdas(xyz=1.0, rgb=0.1, fusion=1.0)
    map_lambdas: Mapping = _lambdas(xyz=1.0, rgb=0.1, fusion=1.0)
    training_maps: bool = False
    spool_dir: Optional[str] = None
