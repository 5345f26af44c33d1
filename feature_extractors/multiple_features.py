"""The methods: the memory banks of each, how they are prepared, and how their scores are combined."""

import torch

from feature_extractors.extraction import RGB_GRID, to_xyz_grid
from feature_extractors.features import Features
from feature_extractors.settings import METHOD_BANKS, REFERENCE
from part_frame.reference import MAPS

SINGLE_MODALITY_EPS = 1e-5  # added to the denominator of the score's weight


class RGBFeatures(Features):
    """DINO: one RGB bank, scaled by its own mean and std."""

    bank_names = METHOD_BANKS["DINO"]
    weight_eps = SINGLE_MODALITY_EPS

    def scaling(self, name):
        return self.stores[name].mean_std()


class PointFeatures(Features):
    """Point_MAE and FPFH: one xyz bank, unscaled; with --rm_zero_for_project one zero row stands for all rows that
    contain a zero."""

    bank_names = METHOD_BANKS["Point_MAE"]
    weight_eps = SINGLE_MODALITY_EPS

    def rows_that_count(self, store):
        rows = super().rows_that_count(store)
        if self.settings.rm_zero_for_project:
            rows = rows[torch.cat([(block != 0).all(1) for block in store.blocks(rows)])]
        return rows

    def background(self, name, mean, std):
        return 0.0 if self.settings.rm_zero_for_project else None


class FusionFeatures(Features):
    """Fusion: one bank of UFF outputs, unscaled."""

    bank_names = METHOD_BANKS["Fusion"]
    fixed_map_size = None


class DoubleRGBPointFeatures(Features):
    """DINO+Point_MAE and DINO+FPFH: an xyz and an RGB bank, joined by late fusion; scores are divided by 1000."""

    bank_names = METHOD_BANKS["DINO+Point_MAE"]
    divisor = 1000.0
    learns = True

    def lambdas(self):
        """The late fusion's factors, one per bank: (of the scores, of the maps)."""
        given = self.settings.score_lambdas, self.settings.map_lambdas
        return tuple([of[name] for name in self.bank_names] for of in given)

    def parts_taken(self, name, parts):
        limit = self.settings.asy_memory_bank
        return parts if name == "rgb" or limit is None else min(parts, limit)

    def rows_kept(self, rows):
        kept = super().rows_kept(rows)
        if not self.fixes.coreset_sizes:  # as released, the other banks' sizes are a share of the reduced xyz bank
            kept = {name: count if name == "xyz" else self.share(kept["xyz"]) for name, count in kept.items()}
        return kept

    def scaling(self, name):
        """The xyz bank's mean and the RGB bank's std for all banks; with --fix scaling, each bank's own. So always with
        FPFH, whose per cents, divided by the RGB bank's std, would overflow the score's exponentials."""
        if self.fixes.scaling or self.extractor.fpfh:
            return self.stores[name].mean_std()
        return self.stores["xyz"].mean_std()[0], self.stores["rgb"].mean_std()[1]

    def feature_to_save(self, patches):
        """xyz patches beside RGB patches [3136, C]; as released, the RGB patches are in a wrong order (defect 7)."""
        rgb = patches["rgb"]
        if self.fixes.save_feature:
            rgb = to_xyz_grid(rgb)
        else:
            rgb = rgb[(torch.arange(len(rgb)) * 4 + torch.arange(4)[:, None]).flatten() % RGB_GRID**2]
        return torch.cat([patches["xyz"], rgb], dim=1)


class DoubleRGBPointFeatures_add(DoubleRGBPointFeatures):
    """DINO+Point_MAE+add: scores and maps of both banks are added; no lambdas, no division."""

    bank_names = METHOD_BANKS["DINO+Point_MAE+add"]
    fixed_map_size = None
    divisor = 1.0
    learns = False

    @property
    def needs_late_fusion_pass(self):
        """As in the base class, and in train mode: the release's unused pass draws random numbers there."""
        return not self.fixes.eval_mode or self.settings.training_maps


class TripleFeatures(DoubleRGBPointFeatures):
    """DINO+Point_MAE+Fusion, the full setting: xyz, RGB and fusion banks, joined by late fusion."""

    bank_names = METHOD_BANKS["DINO+Point_MAE+Fusion"]
    fixed_map_size = None
    divisor = 1.0

    def feature_to_save(self, patches):
        return patches["fusion"]

    def background(self, name, mean, std):
        if name != "xyz":
            return None
        # as released, the row is 0 although all rows are scaled; scaled background is (0 - mean) / std
        return (0 - mean) / std if self.fixes.zero_row else 0.0


class ReferenceFeatures(Features):
    """Reference: no bank and no network, the comparison in place alone; its maps are added."""

    bank_names = METHOD_BANKS[REFERENCE]
    fixed_map_size = None
    decides_by = MAPS


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
