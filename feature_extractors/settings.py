"""The options of a method: the banks of each method, its settings, and its fixes of the release's defects. It does not
import torch, so a command line can be checked before torch is loaded, which takes seconds."""

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
    "Reference": (),
}
REFERENCE = "Reference"  # the method without banks: the comparison in place alone
FPFH = "FPFH"  # the xyz backbone that is not a network
FPFH_METHODS = ("DINO+FPFH", "FPFH")  # methods with FPFH as xyz backbone; the release has none
FPFH_POINTS = 100  # nearest points that a histogram is made of


TRAIN_MODE = (
    "--save_model needs --eval_mode: in train mode, as released, a part's features differ each time it is seen, so the "
    "same part would get another score and perhaps another verdict each time"
)


def needed_backbones(bank_names):
    """Names of the backbones ("rgb", "xyz") that the banks need; the fusion bank needs both."""
    return {"rgb", "xyz"} if "fusion" in bank_names else set(bank_names)


@dataclass(frozen=True)
class Fixes:
    """Fixes of the release's defects; False is as released. ``runs.flags.FIXES`` describes each."""

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
        """Fixes with these names switched on; "all" switches on every one. TypeError: a name is not that of a fix."""
        names = [f.name for f in fields(cls)] if "all" in names else names
        return cls(**dict.fromkeys(names, True))

    @property
    def names(self):
        """Sorted names of the fixes that are switched on."""
        return sorted(f.name for f in fields(self) if getattr(self, f.name))


def _lambdas(**values):
    return field(default_factory=lambda: MappingProxyType(values))


@dataclass(frozen=True)
class Settings:
    """How a method builds its banks and combines their scores; the defaults are the release's."""

    seed: int = 0  # of random, numpy and torch, set when the method is made
    f_coreset: float = 0.1  # fraction of the rows that the coreset keeps, in (0, 1]
    coreset_eps: float = 0.9  # allowed distortion of distances in the random projection, in (0, 1)
    random_state: Optional[int] = None  # seed of the random projection; None: numpy's global generator
    img_size: int = 224  # side of the maps in pixels, for the methods whose maps are not always 224
    max_rows: Optional[int] = None  # largest number of rows of a bank, whatever their share
    max_memory: Optional[float] = None  # GiB to pick a coreset in, chunk by chunk if need be; None: no limit
    asy_memory_bank: Optional[int] = None  # largest number of parts in the xyz and fusion banks
    rm_zero_for_project: bool = False  # Point_MAE method: drop all rows that contain a zero
    ocsvm_nu: float = 0.5  # of the late fusion's one-class SVMs, as the next
    ocsvm_maxiter: int = 1000
    score_lambdas: Mapping = _lambdas(xyz=1.0, rgb=0.1, fusion=1.0)  # {bank: factor} of the late fusion's inputs
    map_lambdas: Mapping = _lambdas(xyz=1.0, rgb=0.1, fusion=1.0)
    training_maps: bool = False  # measure the training parts without their own rows and keep the result
    spool_dir: Optional[str] = None  # folder for training rows that would take much memory; None: all stay in memory
