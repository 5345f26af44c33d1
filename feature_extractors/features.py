"""The base of every method: one sample → patches → banks → score and map → metrics."""
import random
from array import array
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import scoring_addon
from feature_extractors.alignment import GRID, align
from feature_extractors.memory_bank import MemoryBank, anomaly_map
from feature_extractors.row_store import BYTES, require_space
from models.checkpoints import UFF, require
from models.feature_fusion import FeatureFusionBlock
from models.models import XYZ_DIM, Model
from utils.errors import InputError
from utils.files import atomic_path
from utils.scored_metrics import scored_metrics
from utils.mvtec3d_util import valid_points

RGB_GRID = 28
FIXED_MAP_SIZE = 224
IN_MEMORY = 2 * 2**30  # bytes of training rows that are kept in memory, more are spooled


def set_seeds(seed):
    """Seed random, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class Features(nn.Module):
    """A method: networks, memory banks and, during evaluation, what was predicted.

    A subclass names its banks and says how they are prepared and how their scores combine. Calls come in the
    order ``add_sample_to_mem_bank`` (each training part), ``run_coreset``, and, for methods with late fusion,
    ``add_sample_to_late_fusion_mem_bank`` (each again) and ``run_late_fusion``; then ``predict`` (each test
    part) and ``calculate_metrics``.

    Attributes after ``calculate_metrics`` (``None`` where the test split leaves a metric undefined):
        image_rocauc, pixel_rocauc, au_pro: of the first scoring asked for.
        scored, metrics: {scoring: image scores and maps}, {scoring: Metrics}; "baseline" always among them.
        bank_scores: {bank: score} of each test part, before the late fusion's lambdas.
    """

    bank_names = ()
    fixed_map_size = FIXED_MAP_SIZE  # or None: maps have --img_size
    weight_eps, divisor = 0.0, 1.0

    def __init__(self, args, device="cpu"):
        super().__init__()
        self.args, self.device = args, torch.device(device)
        if args.use_uff:
            require(args.fusion_module_path, UFF)  # before the backbones are loaded or downloaded
        needed = {"rgb", "xyz"} if "fusion" in self.bank_names else set(self.bank_names)
        self.deep_feature_extractor = Model(
            device, args.rgb_backbone_name if "rgb" in needed else None, args.xyz_backbone_name if "xyz" in needed else None,
            args.group_size, args.num_group, args.checkpoint_dir)
        self.rgb_dim = getattr(self.deep_feature_extractor, "rgb_dim", 768)  # of UFF's input, where there is no RGB backbone
        set_seeds(args.seed)  # here, since the fusion module's initialisation draws first in the release
        self.fusion = None
        if args.use_uff:
            self.fusion = FeatureFusionBlock.from_checkpoint(args.fusion_module_path, XYZ_DIM, self.rgb_dim).to(device)
        self.train(not args.eval_mode)
        self.banks = self._empty_banks()
        self.map_size = self.fixed_map_size or args.img_size
        self.class_name, self.added, self.measured = "", 0, 0
        self.image_preds, self.image_labels, self.predictions, self.gts = [], [], [], []
        self.pixel_preds, self.pixel_labels = array("d"), array("B")
        self.bank_scores = []

    # the released names of the banks' rows [R, C]
    patch_xyz_lib = property(lambda self: self.banks["xyz"].rows)
    patch_rgb_lib = property(lambda self: self.banks["rgb"].rows)
    patch_fusion_lib = property(lambda self: self.banks["fusion"].rows)
    patch_lib = property(lambda self: self.banks[self.bank_names[0]].rows)

    # ------------------------------------------------------------ one sample → patches

    @torch.no_grad()
    def extract(self, sample):
        """Unscaled patches of one sample.

        Args:
            sample: (rgb [1, 3, 224, 224], xyz [1, 3, S, S], depth) as a loader gives it.

        Returns:
            {"rgb": [784, C], "xyz": [3136, 1152], "fusion": [3136, 1152 + C]}, those the banks need.
        """
        rgb, xyz = sample[0], sample[1][0]
        model, patches = self.deep_feature_extractor, {}
        if model.rgb_backbone is not None:
            with self.mixed_precision():
                patches["rgb"] = model.forward_rgb_features(rgb.to(self.device))[0].float()
        if model.xyz_backbone is not None:
            valid = valid_points(xyz)
            points = xyz.flatten(1).T[valid].to(self.device)
            sizes = [self.args.group_size * scale for scale in ((1, 2) if self.args.multiscale else (1,))]
            aligned = []
            for size in sizes:
                with self.mixed_precision():
                    tokens, center = model.forward_xyz_features(points, size)
                aligned.append(align(tokens.float(), center, points, valid.to(self.device), xyz.shape[1]))
            patches["xyz"] = sum(aligned) / len(aligned) if self.args.multiscale else aligned[0]
        if "fusion" in self.bank_names:
            with self.mixed_precision():
                halves = self.fusion.xyz_branch(patches["xyz"]), to_xyz_grid(self.fusion.rgb_branch(patches["rgb"]))
            patches["fusion"] = torch.cat(halves, dim=1).float()
        return patches

    def mixed_precision(self):
        """Context of the networks: half precision where it is enough, with --amp."""
        return torch.autocast(self.device.type, enabled=self.args.amp)

    # ------------------------------------------------------------ training

    def expect(self, parts):
        """Prepare for ``parts`` training parts: rows that would take much memory are spooled to --spool_dir.

        Raises:
            InputError: there is no room for them.
        """
        widths = {"rgb": self.rgb_dim, "xyz": XYZ_DIM, "fusion": XYZ_DIM + self.rgb_dim}
        needed = parts * sum((RGB_GRID**2 if name == "rgb" else GRID**2) * widths[name] * BYTES for name in self.bank_names)
        if needed > IN_MEMORY:
            require_space(self.args.spool_dir, needed)
            self.banks = self._empty_banks(self.args.spool_dir)

    def _empty_banks(self, spool_dir=None):
        return {name: MemoryBank(self.weight_eps, self.divisor, spool_dir) for name in self.bank_names}

    def add_sample_to_mem_bank(self, sample, class_name=None):
        """Add one training part; ``class_name`` is for the file that --save_feature writes and for progress bars."""
        self.class_name = class_name or ""
        patches = self.extract(sample)
        if self.args.save_feature:
            with atomic_path(Path(self.args.save_feature_path) / f"{self.class_name}{self.added}.pt") as path:
                torch.save(self.feature_to_save(patches).cpu(), path)
        for name, bank in self.banks.items():
            if self.has_room(name):
                bank.add(patches[name], self.added)
        self.added += 1

    def has_room(self, name):
        """Whether the next training part enters the bank ``name``."""
        return True

    def feature_to_save(self, patches):
        """[3136, C] tensor that --save_feature writes of a part: UFF's output, as released."""
        return patches["fusion"]

    def run_coreset(self):
        """Turn the collected patches into the final banks."""
        if not self.added:
            raise InputError("the memory banks are empty: no training part was added")
        self.prepare_banks()
        for bank in self.banks.values():
            bank.finish(self.device)
        if not (self.needs_late_fusion_pass and self.remembers):
            self.forget()

    def prepare_banks(self):
        """Scale, thin out and gather the banks."""
        raise NotImplementedError

    def thin_out(self, name, count):
        """Reduce the bank ``name`` to a coreset of ``count`` rows, all of them at --f_coreset 1, and gather it."""
        args, bank = self.args, self.banks[name]
        if args.f_coreset < 1:
            bank.thin_out(count, args.coreset_eps, args.random_state, self.device, progress=f"{self.class_name}: coreset of the {name} bank")
        bank.gather()

    def rows_kept(self, name):
        """f_coreset of the rows that the bank ``name`` has now."""
        return int(self.args.f_coreset * len(self.banks[name]))

    @property
    def needs_late_fusion_pass(self):
        """Whether the training parts have to be measured against the banks."""
        return False

    @property
    def remembers(self):
        """Whether :meth:`recall` gives what extracting the training parts again would: in eval mode, where every bank took every part.

        In train mode, as released, a part's features differ each time it is seen.
        """
        return self.args.eval_mode and all(bank.store.parts == self.added for bank in self.banks.values())

    def recall(self, number):
        """Patches of the training part ``number``, as :meth:`extract` gave them."""
        return {name: bank.store.part(number).to(self.device) for name, bank in self.banks.items()}

    def forget(self):
        """Give the memory or disk of the training rows back."""
        for bank in self.banks.values():
            bank.store.close()

    # ------------------------------------------------------------ test

    @torch.no_grad()
    def measure(self, patches, without_owner=None):
        """Scores and maps of one sample's patches: ({bank: float}, {bank: [S, S] float32 array}), in the banks' order."""
        measured = [bank.measure(patches[name], without_owner) for name, bank in self.banks.items()]
        measured = torch.cat([torch.cat([score[None], distance]) for score, distance in measured]).cpu()  # one transfer a sample
        scores, maps = {}, {}
        for name, values in zip(self.banks, measured.split([1 + len(patches[name]) for name in self.banks])):
            scores[name] = float(values[0])
            maps[name] = anomaly_map(values[1:], self.map_size, float_blur="float_maps" in self.args.fix)
        return scores, maps

    def combine(self, scores, maps):
        """The method's image score [1] and map [S, S] from its banks'; here those of its only bank."""
        (name,) = self.bank_names
        return np.array([scores[name]]), maps[name]

    def predict(self, sample, mask, label):
        """Score one test part and keep the results for ``calculate_metrics``.

        Args:
            sample: as in :meth:`extract`.
            mask: [1, 1, H, W] tensor, 1 where defective.
            label: [1] tensor, 1 if defective.
        """
        scores, maps = self.measure(self.extract(sample))
        if "rgb" in maps and "xyz" in maps:
            scoring_addon.record(self, maps["rgb"], maps["xyz"], maps.get("fusion"))
        score, pixels = self.combine(scores, maps)
        if mask.shape[-1] != self.map_size:
            mask = F.interpolate(mask, size=(self.map_size, self.map_size), mode="nearest")
        gt = mask.reshape(self.map_size, self.map_size).numpy().astype(np.uint8)
        self.bank_scores.append(scores)
        self.image_preds.append(score)
        self.image_labels.append(label)
        self.predictions.append(pixels)
        self.gts.append(gt)
        self.pixel_preds.frombytes(np.ascontiguousarray(pixels, dtype=np.float64).tobytes())
        self.pixel_labels.frombytes(gt.tobytes())

    def calculate_metrics(self):
        """Metrics of every scoring asked for; see the class for the attributes it sets."""
        scoring_addon.apply(self)
        self.image_preds = np.stack(self.image_preds)
        self.image_labels = np.stack([np.asarray(label) for label in self.image_labels])
        self.pixel_preds, self.pixel_labels = np.asarray(self.pixel_preds), np.asarray(self.pixel_labels)
        self.metrics = scored_metrics(self.image_labels, self.gts, self.scored)
        first = scoring_addon.names_from(self.args)[0]
        self.image_rocauc, self.pixel_rocauc, self.au_pro = self.metrics[first]


def to_xyz_grid(rgb_patches):
    """RGB patches [784, C] on the xyz grid [3136, C]: each repeated 2×2, which is what adaptive pooling to 56×56 does."""
    repeat = GRID // RGB_GRID
    grid = rgb_patches.reshape(RGB_GRID, 1, RGB_GRID, 1, -1).expand(-1, repeat, -1, repeat, -1)
    return grid.reshape(GRID * GRID, -1)
