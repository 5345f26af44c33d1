"""The base class of every method: a sample's patches are compared with memory banks, which gives its score and map."""

from typing import NamedTuple

import numpy as np
import torch

from common.errors import InputError
from feature_extractors.extraction import PATCHES_PER_PART
from feature_extractors.memory_bank import MemoryBank, anomaly_map
from feature_extractors.released import ReleasedNames
from feature_extractors.row_store import BYTES, require_space
from feature_extractors.settings import Fixes, Settings
from part_frame.finding import VALID
from part_frame.reference import MOST, PlaceReference, unpacked
from scoring.evaluation import TrainingParts
from scoring_addon import DEFAULTS

FIXED_MAP_SIZE = 224
IN_MEMORY = 2 * 2**30  # bytes of training rows that are kept in memory; more go to a file in ``spool_dir``
ROWS_NEEDED = 3  # fewest rows of a memory bank that can score


class BankScores(NamedTuple):
    """A part measured against each bank, in bank order: scores {bank: float}, maps {bank: [S, S] float32 array}, and
    {bank: [P] int64 array, each patch's nearest row}; the comparison in place has no rows."""

    scores: dict
    maps: dict
    nearest: dict


class Judged(NamedTuple):
    """A part scored by a method: its image score, its map [S, S], and the scores and maps of the single banks."""

    score: float
    map: np.ndarray
    banks: BankScores


class Features(ReleasedNames):
    """A method: a patch extractor, memory banks, and a rule that combines the banks' scores.

    A subclass names its banks, prepares them, and combines their scores. Calls come in this order:

    1. ``add_sample_to_mem_bank`` for each training part, then ``run_coreset``;
    2. if ``needs_late_fusion_pass``: ``add_sample_to_late_fusion_mem_bank`` for each training part again, then
       ``run_late_fusion``;
    3. ``judge`` for each test part.

    Args:
        extractor: PatchExtractor that gives patches for all of ``bank_names``.
        fixes: Fixes.
        settings: fields of ``feature_extractors.settings.Settings``.

    Raises:
        InputError: the extractor lacks a backbone or the fusion module.
    """

    bank_names = ()
    fixed_map_size = FIXED_MAP_SIZE  # None: maps have the side ``img_size``
    weight_eps, divisor = 0.0, 1.0
    learns = False  # whether a late fusion is fitted to the training parts

    def __init__(self, extractor, fixes=Fixes(), **settings):
        extractor.check(self.bank_names)
        self.extractor, self.fixes, self.settings = extractor, fixes, Settings(**settings)
        extractor.train(not fixes.eval_mode)
        extractor.reseed(self.settings.seed)
        self.device = extractor.device
        self.banks = self._empty_banks()
        self.map_size = self.fixed_map_size or self.settings.img_size
        self.class_name, self.added, self.measured = "", 0, 0
        self.training = None
        self.placement = self.reference = None  # where parts lie and the comparison in place, if there is a frame
        self._unseen = []  # one BankScores per training part, measured without its own rows
        super().__init__()

    def use_frame(self, placement):
        """Compare parts in place too: samples then carry a part's appearance, see ``dataset.placed_sample``."""
        self.placement = placement
        frame = placement.frame
        self.reference = PlaceReference(frame.spacing / frame.pitch, placement.way == VALID)

    def extract(self, sample):
        """Unscaled patches of one sample, see ``PatchExtractor.extract``; "appearance" is the part in its frame."""
        patches = self.extractor.extract(sample, self.bank_names, self.fixes.zero_points)
        if self.reference is not None:
            patches["appearance"] = unpacked(sample[3][0])
        return patches

    # ------------------------------------------------------------ training

    def reserve(self, parts):
        """Prepare for ``parts`` training parts; rows that would take much memory go to a file in ``spool_dir``.

        Raises:
            InputError: the disk has too little space, or a bank would keep too few rows to score.
        """
        for name, count in self.rows_expected(parts).items():
            if count < ROWS_NEEDED:
                raise InputError(
                    f"the {name} bank would keep {count} rows of {parts} training parts, {ROWS_NEEDED} are needed to "
                    f"score: "
                    "raise --f_coreset or give more training parts"
                )
        needed = parts * sum(PATCHES_PER_PART[name] * self.extractor.widths[name] * BYTES for name in self.bank_names)
        if self.settings.spool_dir is not None and needed > IN_MEMORY:
            require_space(self.settings.spool_dir, needed)
            self.banks = self._empty_banks(self.settings.spool_dir)

    def rows_expected(self, parts):
        """{bank: largest number of rows it can keep of ``parts`` training parts}, estimated before extraction."""
        return {name: self.share(parts * PATCHES_PER_PART[name]) for name in self.bank_names}

    def _empty_banks(self, spool_dir=None):
        return {name: MemoryBank(self.weight_eps, self.divisor, spool_dir) for name in self.bank_names}

    def add_sample_to_mem_bank(self, sample, class_name=None):
        """Extract one training part and add it to the banks; progress bars show ``class_name``."""
        self.class_name = class_name or ""
        self.add_patches(self.extract(sample))

    def add_patches(self, patches, measured=True):
        """Add one training part's extracted patches to the banks; ``measured``: whether it will be measured."""
        for name, bank in self.banks.items():
            if self.has_room(name):
                bank.add(patches[name], self.added)
        if self.reference is not None:
            self.reference.add(patches["appearance"] if measured or self.added < MOST else None)
        self.added += 1

    def has_room(self, name):
        """Whether the bank ``name`` takes the next training part."""
        return True

    def feature_to_save(self, patches):
        """[3136, C] tensor that --save_feature writes for a part; here UFF's output, as released."""
        return patches["fusion"]

    def run_coreset(self):
        """Turn the collected patches into the final banks."""
        if not self.added:
            raise InputError("the memory banks are empty: no training part was added")
        self.prepare_banks()
        if self.reference is not None:
            self.reference.finish()
        for bank in self.banks.values():
            bank.finish(self.device)
        if not (self.needs_late_fusion_pass and self.keeps_patches):
            self.release_patches()

    def prepare_banks(self):
        """Scale the banks, reduce them to their coresets, and load the kept rows."""
        raise NotImplementedError

    def thin_out(self, name, count):
        """Reduce the bank ``name`` to a coreset of ``count`` rows, all if no fewer are asked for, and gather it."""
        s, bank = self.settings, self.banks[name]
        if s.f_coreset < 1 or s.max_rows is not None and count < len(bank):
            bank.thin_out(
                count,
                s.coreset_eps,
                s.random_state,
                self.device,
                f"{self.class_name}: coreset of the {name} bank",
                s.half_coreset,
                s.max_memory,
            )
        bank.gather()

    def share(self, rows):
        """The number of rows that ``f_coreset`` and ``max_rows`` keep of ``rows``."""
        count, most = int(self.settings.f_coreset * rows), self.settings.max_rows
        return count if most is None else min(count, most)

    def rows_kept(self, name):
        """The number of rows that :meth:`share` keeps of the bank ``name``'s present rows."""
        return self.share(len(self.banks[name]))

    @property
    def needs_late_fusion_pass(self):
        """Whether the training parts have to be measured against the banks; here only if a scoring needs that."""
        return self.settings.training_maps

    @property
    def keeps_patches(self):
        """Whether :meth:`kept_patches` gives the same patches as a second extraction of the training parts.

        This holds if every bank took every part, and the networks are in eval mode or do not depend on the mode. In
        train mode, as released, a part's features differ each time.
        """
        return self.extractor.steady and all(bank.store.parts == self.added for bank in self.banks.values())

    def kept_patches(self, number):
        """Patches of the training part ``number``, as :meth:`extract` gave them."""
        kept = {name: bank.store.part(number).to(self.device) for name, bank in self.banks.items()}
        if self.reference is not None:
            kept["appearance"] = self.reference.kept(number)
        return kept

    def release_patches(self):
        """Free the memory or disk space of the training rows."""
        for bank in self.banks.values():
            bank.store.close()

    def add_sample_to_late_fusion_mem_bank(self, sample):
        """Extract and measure one training part for the late fusion; parts come in the same order as before."""
        self.add_patches_to_late_fusion(self.extract(sample))

    def add_patches_to_late_fusion(self, patches, number=None):
        """As :meth:`add_sample_to_late_fusion_mem_bank`, for a part's extracted patches.

        number: the training part's; None: one more than the last call's.
        """
        number = self.measured if number is None else number
        alone = self.added < 2  # without the rows of the only training part, the banks are empty
        if alone and self.fixes.late_fusion and self.learns:
            raise InputError(
                "a single training part cannot be measured without its own rows, which --fix late_fusion does; "
                "give at least two"
            )
        unseen = None
        if not alone and (self.settings.training_maps or self.learns and self.fixes.late_fusion):
            unseen = self.measure(patches, number)
        if self.settings.training_maps and not alone:
            self._unseen.append(unseen)
        if self.learns:
            self.learn(*self._own(unseen if self.fixes.late_fusion else self.measure(patches)))
        self.measured = number + 1

    def learn(self, scores, maps):
        """Give one training part's scores and maps to the late fusion; here there is none."""

    def fit_late_fusion(self):
        """Fit the late fusion to the training parts given to :meth:`learn`; here there is none."""

    def run_late_fusion(self, paths=None, parameters=DEFAULTS):
        """Fit the late fusion to the measured training parts.

        With ``training_maps``, the attribute ``training`` is set: a TrainingParts with each training part's result,
        measured without its own rows.

        Args:
            paths: the training parts' paths, for ``TrainingParts``.
            parameters: ``scoring_addon.Parameters``, for the statistics in ``TrainingParts``.
        """
        self.release_patches()
        self.fit_late_fusion()
        if self._unseen:
            decision = [self.combine(*self._own(part))[1] for part in self._unseen]
            paths = [str(i) for i in range(len(decision))] if paths is None else paths
            self.training = TrainingParts.of(paths, decision, [part.maps for part in self._unseen], parameters)
            self._unseen = []

    # ------------------------------------------------------------ test

    def judge(self, sample):
        """Score one test part: Judged; ``sample`` as a loader gives it."""
        return self.judge_patches(self.extract(sample))

    def judge_patches(self, patches, excluding_part=None):
        """As :meth:`judge`, for a part's extracted patches; arguments as in :meth:`measure`."""
        banks = self.measure(patches, excluding_part)
        score, pixels = self.combine(*self._own(banks))
        return Judged(float(score[0]), pixels, banks)

    @torch.no_grad()
    def measure(self, patches, excluding_part=None):
        """BankScores of one sample's patches, without the rows of the training part ``excluding_part``, if given."""
        results = {name: bank.measure(patches[name], excluding_part) for name, bank in self.banks.items()}
        scores, maps = {}, {}
        if results:  # one transfer per sample
            values = torch.cat([torch.cat([of.score[None], of.distance]) for of in results.values()]).cpu()
            for name, of in zip(results, values.split([1 + len(of.distance) for of in results.values()])):
                scores[name] = float(of[0])
                maps[name] = anomaly_map(of[1:], self.map_size, float_blur=self.fixes.float_maps)
        if self.reference is not None:
            in_place = self.reference.maps(patches["appearance"], excluding_part)
            scores, maps = scores | in_place[0], maps | in_place[1]
            if self.reference.ignored is not None:
                maps = {name: np.where(self.reference.ignored, of.dtype.type(0), of) for name, of in maps.items()}
        return BankScores(scores, maps, {name: of.nearest.cpu().numpy() for name, of in results.items()})

    def _own(self, banks):
        """Scores and maps of the method's own banks, which its decision is made of; the comparison in place is not."""
        return tuple({name: of[name] for name in self.bank_names} for of in (banks.scores, banks.maps))

    def combine(self, scores, maps):
        """The method's image score [1] and map [S, S] from the banks' scores and maps; here those of its only bank."""
        (name,) = self.bank_names
        return np.array([scores[name]]), maps[name]

    @property
    def weights(self):
        """Factors of the banks' scores and maps in :meth:`combine`, which adds the products: two {bank: float}."""
        return dict.fromkeys(self.bank_names, 1.0), dict.fromkeys(self.bank_names, 1.0)
