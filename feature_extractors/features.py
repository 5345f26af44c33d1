"""The base class of every method: a sample's patches are compared with memory banks, which gives its score and map."""

import logging
from typing import NamedTuple

import numpy as np
import torch

from common.errors import InputError
from feature_extractors.coreset import pick
from feature_extractors.extraction import PATCHES_PER_PART
from feature_extractors.late_fusion import LateFusion
from feature_extractors.memory_bank import NEEDED, NO_PART, MemoryBank, anomaly_map
from feature_extractors.released import ReleasedNames
from feature_extractors.row_store import BYTES, RowStore, require_space
from feature_extractors.settings import Fixes, Settings
from part_frame.finding import VALID
from part_frame.reference import MOST, PlaceReference, unpacked
from scoring.evaluation import TrainingParts
from scoring_addon import DEFAULTS

FIXED_MAP_SIZE = 224
IN_MEMORY = 2 * 2**30  # bytes of training rows that are kept in memory; more go to a file in ``spool_dir``


class BankScores(NamedTuple):
    """A part measured against each bank, in bank order."""

    scores: dict  # {bank: float}
    maps: dict  # {bank: [S, S] float32 array}


class Judged(NamedTuple):
    """A part scored by a method; the map is [S, S]."""

    score: float
    map: np.ndarray
    banks: BankScores


class Features(ReleasedNames):
    """A method: a patch extractor, memory banks, and a rule that combines the banks' scores.

    A subclass names its banks and says how they are scaled, how many rows they keep, and whether a late fusion combines
    their scores; otherwise these are added. Calls come in this order: ``add_sample_to_mem_bank`` for each training
    part, ``run_coreset``; if ``needs_late_fusion_pass``, ``add_sample_to_late_fusion_mem_bank`` for each training part
    again and ``run_late_fusion``; ``judge`` for each test part."""

    bank_names = ()
    fixed_map_size = FIXED_MAP_SIZE  # None: maps have the side ``img_size``
    weight_eps, divisor = 0.0, 1.0  # of the memory banks
    learns = False  # whether a late fusion is fitted to the training parts

    def __init__(self, extractor, fixes=Fixes(), **settings):
        self.extractor, self.fixes, self.settings = extractor, fixes, Settings(**settings)
        extractor.train(not fixes.eval_mode)
        extractor.reseed(self.settings.seed)
        self.device = extractor.device
        self.stores = {name: RowStore() for name in self.bank_names}  # all training rows, unscaled
        self.banks = {}  # {bank: MemoryBank}, set by run_coreset
        self.map_size = self.fixed_map_size or self.settings.img_size
        self.class_name, self.added, self.measured = "", 0, 0
        self.training = self.late_fusion = None
        if self.learns:
            options = {"nu": self.settings.ocsvm_nu, "max_iter": self.settings.ocsvm_maxiter}
            self.late_fusion = LateFusion(*self.lambdas(), **options)
        self.placement = self.reference = None  # where parts lie and the comparison in place, if there is a frame
        self._unseen = []  # one BankScores per training part, measured without its own rows
        super().__init__()

    def use_frame(self, placement):
        """Compare parts in place too: samples then carry a part's appearance, see ``dataset.placed_sample``."""
        self.placement = placement
        frame = placement.frame
        self.reference = PlaceReference(frame.spacing / frame.pitch, placement.way == VALID, frame.pitch)

    def extract(self, sample):
        """Unscaled patches of one sample, see ``PatchExtractor.extract``; "appearance" is the part in its frame."""
        patches = self.extractor.extract(sample, self.bank_names, self.fixes.zero_points)
        if self.reference is not None:
            patches["appearance"] = unpacked(sample[3][0])
        return patches

    # ------------------------------------------------------------ training

    def reserve(self, parts):
        """Prepare for ``parts`` training parts; rows that would take much memory go to a file in ``spool_dir``.
        InputError: the disk has too little space, or a bank would keep too few rows to score."""
        rows = {name: PATCHES_PER_PART[name] * self.parts_taken(name, parts) for name in self.bank_names}
        for name, count in self.rows_kept(rows).items():
            if count < NEEDED:
                raise InputError(
                    f"the {name} bank would keep {count} rows of {parts} training parts, {NEEDED} are needed to "
                    "score: raise --f_coreset or give more training parts"
                )
        folder = self.settings.spool_dir
        needed = parts * sum(PATCHES_PER_PART[name] * self.extractor.widths[name] * BYTES for name in self.bank_names)
        if folder is not None and needed > IN_MEMORY:
            require_space(folder, needed)
            self.stores = {name: RowStore(folder) for name in self.bank_names}

    def add_sample_to_mem_bank(self, sample, class_name=None):
        """Extract one training part and add it to the banks; progress bars show ``class_name``."""
        self.class_name = class_name or ""
        self.add_patches(self.extract(sample))

    def add_patches(self, patches, measured=True):
        """Add one training part's extracted patches to the banks; ``measured``: whether it will be measured."""
        self.added += 1
        for name, store in self.stores.items():
            if self.parts_taken(name, self.added) == self.added:
                store.append(patches[name])
        if self.reference is not None:
            self.reference.add(patches["appearance"] if measured or self.added <= MOST else None)

    def feature_to_save(self, patches):
        """[3136, C] tensor that --save_feature writes for a part; here UFF's output, as released."""
        return patches["fusion"]

    def run_coreset(self):
        """Turn the collected patches into the final banks: scale them, and reduce them to their coresets."""
        if not self.added:
            raise InputError("the memory banks are empty: no training part was added")
        found = {name: self.rows_that_count(store) for name, store in self.stores.items()}
        kept = self.rows_kept({name: len(rows) for name, rows in found.items()})
        self.banks = {name: self._reduced(name, rows, kept[name]) for name, rows in found.items()}
        if self.reference is not None:
            self.reference.finish()
        if not (self.needs_late_fusion_pass and self.keeps_patches):
            self.release_patches()

    def _reduced(self, name, rows, count):
        """The MemoryBank of ``count`` of a store's rows at the positions ``rows``, or of all if the options say so."""
        s, store, (mean, std) = self.settings, self.stores[name], self.scaling(name)
        if s.f_coreset < 1 or s.max_rows is not None and count < len(rows):
            label = f"{self.class_name}: coreset of the {name} bank"
            size, options = (len(rows), store.width), (s.coreset_eps, s.random_state, s.max_memory, self.device, label)
            rows = rows[pick(store.blocks(rows, mean, std), *size, count, *options)]
        values, start = torch.empty(len(rows), store.width), 0
        for block in store.blocks(rows, mean, std):
            values[start : start + len(block)] = block
            start += len(block)
        part = store.origin(rows)
        background = self.background(name, mean, std)
        if background is not None:  # it takes the place of all rows that hold an exact zero
            filled = (values != 0).all(1)
            values = torch.cat([values[filled], values.new_full((1, store.width), background)])
            part = torch.cat([part[filled], part.new_full((1,), NO_PART)])
        return MemoryBank(values.to(self.device), part, mean, std, self.weight_eps, self.divisor)

    # what a subclass decides about its banks

    def parts_taken(self, name, parts):
        """How many of ``parts`` training parts, the first ones, go into the bank ``name``."""
        return parts

    def rows_that_count(self, store):
        """Positions [R] int64 of a store's rows that a bank can be made of."""
        return torch.arange(len(store))

    def rows_kept(self, rows):
        """{bank: number of rows that ``f_coreset`` and ``max_rows`` keep} of ``rows``, {bank: number of rows}."""
        return {name: self.share(count) for name, count in rows.items()}

    def share(self, rows):
        """The number of rows that ``f_coreset`` and ``max_rows`` keep of ``rows``."""
        count, most = int(self.settings.f_coreset * rows), self.settings.max_rows
        return count if most is None else min(count, most)

    def scaling(self, name):
        """(mean, std): a bank holds each patch v as (v - mean) / std."""
        return 0.0, 1.0

    def background(self, name, mean, std):
        """The value of all columns of the one row that stands for background; None: there is no such row."""
        return None

    # ------------------------------------------------------------ training parts measured against the banks

    @property
    def needs_late_fusion_pass(self):
        """Whether the training parts have to be measured against the banks: for the late fusion or for a scoring."""
        return self.learns or self.settings.training_maps

    @property
    def keeps_patches(self):
        """Whether :meth:`kept_patches` gives the same patches as a second extraction of the training parts: every bank
        took every part, and a part's features are the same each time."""
        return self.extractor.steady and all(store.parts == self.added for store in self.stores.values())

    def kept_patches(self, number):
        """Patches of the training part ``number``, as :meth:`extract` gave them."""
        kept = {name: store.part(number).to(self.device) for name, store in self.stores.items()}
        if self.reference is not None:
            kept["appearance"] = self.reference.kept(number)
        return kept

    def release_patches(self):
        """Free the memory or disk space of the training rows."""
        for store in self.stores.values():
            store.close()

    def add_sample_to_late_fusion_mem_bank(self, sample):
        """Extract and measure one training part for the late fusion; parts come in the same order as before."""
        self.add_patches_to_late_fusion(self.extract(sample))

    def add_patches_to_late_fusion(self, patches, number=None):
        """As :meth:`add_sample_to_late_fusion_mem_bank`, for the extracted patches of training part ``number``; None:
        one more than the last call's."""
        number = self.measured if number is None else number
        self.measured = number + 1
        own_left_out = self.learns and self.fixes.late_fusion
        unseen = None
        if self.added > 1 and (self.settings.training_maps or own_left_out):
            unseen = self.measure(patches, number)
            if self.settings.training_maps:
                self._unseen.append(unseen)
        elif own_left_out:  # without the rows of the only training part, the banks are empty
            raise InputError(
                "a single training part cannot be measured without its own rows, which --fix late_fusion does; "
                "give at least two"
            )
        if self.learns:
            scores, maps = self._own(unseen if own_left_out else self.measure(patches))
            self.late_fusion.add([*scores.values()], [*maps.values()])

    def run_late_fusion(self, paths=None, parameters=DEFAULTS):
        """Fit the late fusion to the measured training parts. With ``training_maps``, the attribute ``training`` is
        set: the TrainingParts, each measured without its own rows, under ``paths``, and the statistics for
        ``parameters``."""
        self.release_patches()
        if self.learns:
            self._fit_late_fusion()
        if self._unseen:
            decision = [self.combine(*self._own(part))[1] for part in self._unseen]
            paths = [str(i) for i in range(len(decision))] if paths is None else paths
            self.training = TrainingParts.of(paths, decision, [part.maps for part in self._unseen], parameters)
            self._unseen = []

    def _fit_late_fusion(self):
        if self.settings.f_coreset >= 1 and self.extractor.steady and not self.fixes.late_fusion:
            logging.warning(
                "with --f_coreset 1 in eval mode the training parts lie in the banks themselves: the late fusion "
                "learns from rounding noise (defect 15); use a smaller --f_coreset or --fix late_fusion"
            )
        for kind, values in self.late_fusion.fit().weights.items():
            if min(values) < 0:
                logging.warning(
                    "the late fusion's %s weights are partly negative: %s: where a map is negative, disagreement "
                    "lowers it",
                    kind,
                    dict(zip(self.bank_names, values)),
                )

    # ------------------------------------------------------------ test

    def judge(self, sample):
        """Score one test part: Judged; ``sample`` as a loader gives it."""
        return self.judge_patches(self.extract(sample))

    def judge_patches(self, patches, excluding_part=None):
        """As :meth:`judge`, for a part's extracted patches."""
        banks = self.measure(patches, excluding_part)
        score, pixels = self.combine(*self._own(banks))
        return Judged(float(score[0]), pixels, banks)

    @torch.no_grad()
    def measure(self, patches, excluding_part=None):
        """BankScores of one sample's patches, without the rows of the training part ``excluding_part``, if given."""
        results = {name: self.banks[name].measure(patches[name], excluding_part) for name in self.bank_names}
        scores, maps = {}, {}
        if results:  # one transfer per sample
            values = torch.cat([torch.cat([score[None], of.distance]) for score, of in results.values()]).cpu()
            for name, of in zip(results, values.split([1 + len(of.distance) for _, of in results.values()])):
                scores[name] = float(of[0])
                maps[name] = anomaly_map(of[1:], self.map_size, float_blur=self.fixes.float_maps)
        if self.reference is not None:
            in_place = self.reference.maps(patches["appearance"], excluding_part)
            scores, maps = scores | in_place[0], maps | in_place[1]
            if self.reference.ignored is not None:
                maps = {name: np.where(self.reference.ignored, of.dtype.type(0), of) for name, of in maps.items()}
        return BankScores(scores, maps)

    @property
    def decides_by(self):
        """Names of the maps that the decision is made of: the banks; the comparison in place is not among them."""
        return self.bank_names

    def _own(self, banks):
        return tuple({name: of[name] for name in self.decides_by} for of in (banks.scores, banks.maps))

    def combine(self, scores, maps):
        """The method's image score [1] and map [S, S] from the scores and maps that it decides by: their late fusion,
        else their sums."""
        if self.learns:
            return self.late_fusion.predict([*scores.values()], [*maps.values()])
        return np.array([sum(scores.values())]), sum(maps.values())

    @property
    def map_weights(self):
        """{bank: factor} of the maps in :meth:`combine`, which adds the products."""
        factors = self.late_fusion.map_factors if self.learns else [1.0] * len(self.decides_by)
        return dict(zip(self.decides_by, factors))
