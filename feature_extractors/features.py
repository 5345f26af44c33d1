"""The base of every method: one sample → patches → banks → score and map."""

from typing import NamedTuple

import numpy as np
import torch

from evaluation import TrainingParts
from feature_extractors.extraction import PATCHES_PER_PART
from feature_extractors.memory_bank import MemoryBank, anomaly_map
from feature_extractors.released import ReleasedNames
from feature_extractors.row_store import BYTES, require_space
from feature_extractors.settings import Fixes, Settings
from scoring_addon import DEFAULTS
from utils.errors import InputError

FIXED_MAP_SIZE = 224
IN_MEMORY = 2 * 2**30  # bytes of training rows that are kept in memory, more are spooled
ROWS_NEEDED = 3  # of a memory bank, to score with


class Measured(NamedTuple):
    """A part against a method's banks: {bank: float} and {bank: [S, S] float32 array}, in the banks' order."""

    scores: dict
    maps: dict


class Judged(NamedTuple):
    """A part scored by a method: image score, map [S, S], and what its banks measured."""

    score: float
    map: np.ndarray
    banks: Measured


class Features(ReleasedNames):
    """A method: a patch extractor, memory banks, and how the banks' scores combine.

    A subclass names its banks and says how they are prepared and how their scores combine. Calls come in the order
    ``add_sample_to_mem_bank`` (each training part), ``run_coreset``, and, where ``needs_late_fusion_pass``,
    ``add_sample_to_late_fusion_mem_bank`` (each again) and ``run_late_fusion``; then ``judge`` (each test part).

    Args:
        extractor: PatchExtractor with patches for all of ``bank_names``.
        fixes: Fixes.
        settings: of ``feature_extractors.settings.Settings``.

    Raises:
        InputError: the extractor lacks a backbone or the fusion module.
    """

    bank_names = ()
    fixed_map_size = FIXED_MAP_SIZE  # or None: maps have ``img_size``
    weight_eps, divisor = 0.0, 1.0
    learns = False  # whether a late fusion learns from the training parts measured

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
        self._unseen = []  # Measured of the training parts, each without its own rows
        super().__init__()

    def extract(self, sample):
        """Unscaled patches of one sample, see ``PatchExtractor.extract``."""
        return self.extractor.extract(sample, self.bank_names, self.fixes.zero_points)

    # ------------------------------------------------------------ training

    def reserve(self, parts):
        """Prepare for ``parts`` training parts: rows that would take much memory are spooled to ``spool_dir``.

        Raises:
            InputError: there is no room for them, or so few rows would be kept that no bank could score.
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
        """{bank: the most rows it can keep of ``parts`` training parts}, as far as they are known before extraction."""
        return {name: self.share(parts * PATCHES_PER_PART[name]) for name in self.bank_names}

    def _empty_banks(self, spool_dir=None):
        s = self.settings
        return {
            name: MemoryBank(self.weight_eps, self.divisor, spool_dir, s.bank_shards, s.shard_engine)
            for name in self.bank_names
        }

    def add_sample_to_mem_bank(self, sample, class_name=None):
        """Extract one training part and add it; ``class_name`` is shown in progress bars."""
        self.class_name = class_name or ""
        self.add_patches(self.extract(sample))

    def add_patches(self, patches):
        """Add one training part whose patches are known."""
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
        if not (self.needs_late_fusion_pass and self.keeps_patches):
            self.release_patches()

    def prepare_banks(self):
        """Scale, thin out and gather the banks."""
        raise NotImplementedError

    def thin_out(self, name, count):
        """Reduce the bank ``name`` to a coreset of ``count`` rows, all of them at ``f_coreset`` 1, and gather it."""
        s, bank = self.settings, self.banks[name]
        if s.f_coreset < 1:
            bank.thin_out(
                count,
                s.coreset_eps,
                s.random_state,
                self.device,
                f"{self.class_name}: coreset of the {name} bank",
                s.half_coreset,
                s.coreset_partitions,
            )
        bank.gather()

    def share(self, rows):
        """The number of rows that ``f_coreset`` keeps of ``rows``."""
        return int(self.settings.f_coreset * rows)

    def rows_kept(self, name):
        """f_coreset of the rows that the bank ``name`` has now."""
        return self.share(len(self.banks[name]))

    @property
    def needs_late_fusion_pass(self):
        """Whether the training parts have to be measured against the banks: here only for a scoring that asks for
        it."""
        return self.settings.training_maps

    @property
    def keeps_patches(self):
        """Whether :meth:`kept_patches` gives what extracting the training parts again would.

        That is so where every bank took every part, in eval mode, and with networks that have no other. In train mode,
        as released, a part's features differ each time it is seen.
        """
        return self.extractor.steady and all(bank.store.parts == self.added for bank in self.banks.values())

    def kept_patches(self, number):
        """Patches of the training part ``number``, as :meth:`extract` gave them."""
        return {name: bank.store.part(number).to(self.device) for name, bank in self.banks.items()}

    def release_patches(self):
        """Give the memory or disk of the training rows back."""
        for bank in self.banks.values():
            bank.store.close()

    def add_sample_to_late_fusion_mem_bank(self, sample):
        """Extract and measure one training part for the late fusion; parts come in the order of the first pass."""
        self.add_patches_to_late_fusion(self.extract(sample))

    def add_patches_to_late_fusion(self, patches):
        """The same for a part whose patches are known."""
        alone = self.added < 2  # of a single training part nothing is left without its own rows
        if alone and self.fixes.late_fusion and self.learns:
            raise InputError(
                "a single training part cannot be measured without its own rows, which --fix late_fusion does; "
                "give at least two"
            )
        if self.settings.training_maps and not alone:
            seen, unseen = self.measure_both(patches, self.measured)
            self._unseen.append(unseen)
            self.learn(*(unseen if self.fixes.late_fusion else seen))
        elif self.learns:
            self.learn(*self.measure(patches, self.measured if self.fixes.late_fusion else None))
        self.measured += 1

    def learn(self, scores, maps):
        """Show one training part's scores and maps to the late fusion: here there is none."""

    def fit_late_fusion(self):
        """Fit to the training parts shown to :meth:`learn`."""

    def run_late_fusion(self, paths=None, parameters=DEFAULTS):
        """Fit the late fusion to the training parts measured.

        With ``training_maps`` the attribute ``training`` becomes what the finished method makes of them unseen.

        Args:
            paths: the training parts' paths, for ``TrainingParts``.
            parameters: of the scoring, for the statistics in it.
        """
        self.release_patches()
        self.fit_late_fusion()
        if self._unseen:
            decision = [self.combine(*part)[1] for part in self._unseen]
            paths = [str(i) for i in range(len(decision))] if paths is None else paths
            self.training = TrainingParts.of(paths, decision, [part.maps for part in self._unseen], parameters)
            self._unseen = []

    # ------------------------------------------------------------ test

    def judge(self, sample):
        """Judged of one test part; ``sample`` as a loader gives it."""
        return self.judge_patches(self.extract(sample))

    def judge_patches(self, patches):
        """The same for a part whose patches are known."""
        banks = self.measure(patches)
        score, pixels = self.combine(*banks)
        return Judged(float(score[0]), pixels, banks)

    @torch.no_grad()
    def judge_with_nearest(self, patches, excluding_part=None):
        """The same, and which normal patches were nearest.

        Args:
            patches: {bank: [P, C]}.
            excluding_part: leave out the rows of this training part.

        Returns:
            (Judged, {bank: [P] int64 array of rows of ``banks[bank]``}).
        """
        found = {name: bank.measure_with_nearest(patches[name], excluding_part) for name, bank in self.banks.items()}
        banks = self._measured(patches, [measured for measured, _ in found.values()])
        score, pixels = self.combine(*banks)
        return Judged(float(score[0]), pixels, banks), {name: index.cpu().numpy() for name, (_, index) in found.items()}

    @torch.no_grad()
    def measure(self, patches, excluding_part=None):
        """Measured of one sample's patches; ``excluding_part``: leave out the rows of this training part."""
        return self._measured(
            patches, [bank.measure(patches[name], excluding_part) for name, bank in self.banks.items()]
        )

    @torch.no_grad()
    def measure_both(self, patches, part):
        """(Measured against all rows, Measured without the rows of the training part ``part``)."""
        both = [bank.measure_both(patches[name], part) for name, bank in self.banks.items()]
        return tuple(self._measured(patches, results) for results in zip(*both))

    def _measured(self, patches, results):
        """Measured of [(score, distance [P])], one per bank."""
        values = torch.cat(
            [torch.cat([score[None], distance]) for score, distance in results]
        ).cpu()  # one transfer per sample
        scores, maps = {}, {}
        for name, of in zip(self.banks, values.split([1 + len(patches[name]) for name in self.banks])):
            scores[name] = float(of[0])
            maps[name] = anomaly_map(of[1:], self.map_size, float_blur=self.fixes.float_maps)
        return Measured(scores, maps)

    def combine(self, scores, maps):
        """The method's image score [1] and map [S, S] from its banks'; here those of its only bank."""
        (name,) = self.bank_names
        return np.array([scores[name]]), maps[name]

    @property
    def weights(self):
        """What :meth:`combine` multiplies the banks' scores and maps with before it adds them: two {bank: float}."""
        return dict.fromkeys(self.bank_names, 1.0), dict.fromkeys(self.bank_names, 1.0)
