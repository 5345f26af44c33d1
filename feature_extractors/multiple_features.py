"""The methods: the memory banks of each, how they are prepared, and how their scores are combined."""

import logging

import numpy as np
import torch

from common.errors import InputError
from feature_extractors.extraction import PATCHES_PER_PART, RGB_GRID, to_xyz_grid
from feature_extractors.features import Features
from feature_extractors.late_fusion import LateFusion
from feature_extractors.settings import METHOD_BANKS, REFERENCE
from part_frame.reference import MAPS

SINGLE_MODALITY_EPS = 1e-5  # added to the denominator of the score's weight


class RGBFeatures(Features):
    """DINO: one RGB bank, scaled by its own mean and std."""

    bank_names = METHOD_BANKS["DINO"]
    weight_eps = SINGLE_MODALITY_EPS

    def prepare_banks(self):
        bank = self.banks["rgb"]
        bank.scale(*bank.store.mean_std())
        self.thin_out("rgb", self.rows_kept("rgb"))


class PointFeatures(Features):
    """Point_MAE and FPFH: one xyz bank, unscaled; --rm_zero_for_project drops its rows that contain a zero."""

    bank_names = METHOD_BANKS["Point_MAE"]
    weight_eps = SINGLE_MODALITY_EPS

    def prepare_banks(self):
        bank, clean = self.banks["xyz"], self.settings.rm_zero_for_project
        if clean:
            bank.drop_rows_with_zero()
        self.thin_out("xyz", self.rows_kept("xyz"))
        if clean:
            bank.drop_rows_with_zero()
            bank.append_row(0.0)


class FusionFeatures(Features):
    """Fusion: one bank of UFF outputs, unscaled."""

    bank_names = METHOD_BANKS["Fusion"]
    fixed_map_size = None

    def prepare_banks(self):
        self.thin_out("fusion", self.rows_kept("fusion"))


class DoubleRGBPointFeatures(Features):
    """DINO+Point_MAE and DINO+FPFH: an xyz and an RGB bank, joined by late fusion; scores are divided by 1000."""

    bank_names = METHOD_BANKS["DINO+Point_MAE"]
    divisor = 1000.0
    learns = True

    def __init__(self, extractor, *args, **settings):
        super().__init__(extractor, *args, **settings)
        self.late_fusion = LateFusion(*self.lambdas(), nu=self.settings.ocsvm_nu, max_iter=self.settings.ocsvm_maxiter)

    def lambdas(self):
        """The late fusion's factors, one per bank: (of the scores, of the maps)."""
        return tuple(
            [of[name] for name in self.bank_names] for of in (self.settings.score_lambdas, self.settings.map_lambdas)
        )

    def rows_expected(self, parts):
        limit = parts if self.settings.asy_memory_bank is None else min(parts, self.settings.asy_memory_bank)
        rows = {name: (parts if name == "rgb" else limit) * PATCHES_PER_PART[name] for name in self.bank_names}
        kept = {name: self.share(count) for name, count in rows.items()}
        if (
            not self.fixes.coreset_sizes and self.settings.f_coreset < 1
        ):  # as released, the other banks' sizes are a share of the reduced xyz bank
            kept = {name: count if name == "xyz" else self.share(kept["xyz"]) for name, count in kept.items()}
        return kept

    def has_room(self, name):
        limit = self.settings.asy_memory_bank
        return name == "rgb" or limit is None or self.added < limit

    def feature_to_save(self, patches):
        """xyz patches beside RGB patches [3136, C]; as released, the RGB patches are in a wrong order (defect 7)."""
        rgb = patches["rgb"]
        if self.fixes.save_feature:
            rgb = to_xyz_grid(rgb)
        else:
            rgb = rgb[(torch.arange(len(rgb)) * 4 + torch.arange(4)[:, None]).flatten() % RGB_GRID**2]
        return torch.cat([patches["xyz"], rgb], dim=1)

    def prepare_banks(self):
        self.scale_banks()
        for name in self.bank_names:
            # as released, the other banks' sizes are a share of the already reduced xyz bank (defect 3)
            self.thin_out(name, self.rows_kept(name if self.fixes.coreset_sizes else "xyz"))

    def scale_banks(self):
        """Scale all banks by the xyz bank's mean and the RGB bank's std; with --fix scaling, each by its own.

        With FPFH, which the release does not have, each bank is always scaled by its own: FPFH values are in per cent,
        and divided by the RGB bank's std they would overflow the score's exponentials.
        """
        shared = self.banks["xyz"].store.mean_std()[0], self.banks["rgb"].store.mean_std()[1]
        own = self.fixes.scaling or self.extractor.fpfh is not None
        for bank in self.banks.values():
            bank.scale(*(bank.store.mean_std() if own else shared))

    @property
    def detect_fuser(self):
        """The late fusion's SVM for image scores."""
        return self.late_fusion.score_model

    @property
    def seg_fuser(self):
        """The late fusion's SVM for pixels."""
        return self.late_fusion.pixel_model

    @property
    def needs_late_fusion_pass(self):
        return True

    def learn(self, scores, maps):
        """Give one training part's scores and maps to the late fusion."""
        self.late_fusion.add([*scores.values()], [*maps.values()])

    def fit_late_fusion(self):
        """Fit the late fusion to the training parts given to :meth:`learn`."""
        if self.settings.f_coreset >= 1 and self.extractor.steady and not self.fixes.late_fusion:
            logging.warning(
                "with --f_coreset 1 in eval mode the training parts lie in the banks themselves: the late fusion "
                "learns from rounding noise (defect 15); use a smaller --f_coreset or --fix late_fusion"
            )
        weights = self.late_fusion.fit().weights
        for kind, values in weights.items():
            if min(values) < 0:
                logging.warning(
                    "the late fusion's %s weights are partly negative: %s: where a map is negative, disagreement "
                    "lowers it",
                    kind,
                    dict(zip(self.bank_names, values)),
                )

    def combine(self, scores, maps):
        return self.late_fusion.predict([*scores.values()], [*maps.values()])

    @property
    def weights(self):
        return tuple(dict(zip(self.bank_names, of)) for of in self.late_fusion.factors)


class DoubleRGBPointFeatures_add(DoubleRGBPointFeatures):
    """DINO+Point_MAE+add: scores and maps of both banks are added; no lambdas, no division."""

    bank_names = METHOD_BANKS["DINO+Point_MAE+add"]
    fixed_map_size = None
    divisor = 1.0

    def lambdas(self):
        return [1.0] * len(self.bank_names), [1.0] * len(self.bank_names)

    @property
    def needs_late_fusion_pass(self):
        """As in the base class, and in train mode: the release's unused pass draws random numbers there."""
        return not self.fixes.eval_mode or self.settings.training_maps

    def learn(self, scores, maps):
        """Do nothing: this method uses no late fusion."""

    def fit_late_fusion(self):
        """Do nothing: this method uses no late fusion."""

    def combine(self, scores, maps):
        return np.array([sum(scores.values())]), sum(maps.values())

    @property
    def weights(self):
        return dict.fromkeys(self.bank_names, 1.0), dict.fromkeys(self.bank_names, 1.0)


class TripleFeatures(DoubleRGBPointFeatures):
    """DINO+Point_MAE+Fusion, the full setting: xyz, RGB and fusion banks, joined by late fusion."""

    bank_names = METHOD_BANKS["DINO+Point_MAE+Fusion"]
    fixed_map_size = None
    divisor = 1.0

    def feature_to_save(self, patches):
        return patches["fusion"]

    def prepare_banks(self):
        super().prepare_banks()
        bank = self.banks["xyz"]
        bank.drop_rows_with_zero()
        # as released, the row is 0 although all rows are scaled; scaled background is (0 - mean) / std
        bank.append_row((0 - bank.mean) / bank.std if self.fixes.zero_row else 0.0)


class ReferenceFeatures(Features):
    """Reference: no bank and no network, the comparison in place alone; its maps are added."""

    bank_names = METHOD_BANKS[REFERENCE]
    fixed_map_size = None

    def prepare_banks(self):
        if self.reference is None:
            raise InputError(
                "the method Reference compares parts in their frame: it needs --frame part, aligned or auto"
            )

    def _own(self, banks):
        return banks.scores, banks.maps

    def combine(self, scores, maps):
        return np.array([sum(scores.values())]), sum(maps.values())

    @property
    def weights(self):
        return dict.fromkeys(MAPS, 1.0), dict.fromkeys(MAPS, 1.0)


METHODS = {
    "DINO": RGBFeatures,
    "Point_MAE": PointFeatures,
    "Fusion": FusionFeatures,
    "DINO+Point_MAE": DoubleRGBPointFeatures,
    "DINO+Point_MAE+Fusion": TripleFeatures,
    "DINO+Point_MAE+add": DoubleRGBPointFeatures_add,
    "DINO+FPFH": DoubleRGBPointFeatures,
    "FPFH": PointFeatures,
    REFERENCE: ReferenceFeatures,
}
