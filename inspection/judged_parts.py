"""The steps of tools/predict.py for each part: reading in another process, its row; the evaluation of all."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from common.errors import InputError
from common.files import atomic_write_text
from data.examination import examine_scan
from data.pictures import read_defect, read_mask
from data.scans import PartFiles, fingerprint, read_contents, scan_in
from dataset import RGB_SIZE, Loader, begin_loading
from inspection import verdict
from inspection.inspector import Inspector
from inspection.judgement import Judgement
from inspection.one_part import Prepared
from inspection.saved_model import examined_with, reading_of
from part_frame.placement import Placed


class Loaded(NamedTuple):
    """A part that was read; ``complete``: whether its files could be."""

    prepared: Prepared
    seconds: float
    complete: bool = False
    warning: str = ""
    fingerprint: str = ""


class _Parts(Dataset[Loaded]):
    """Loaded parts; their tensors as arrays, which reach another process without shared memory."""

    def __init__(self, parts: Sequence[PartFiles], inspector: Inspector, marked: bool) -> None:
        self._parts, self._reading = parts, reading_of(inspector.model)
        self._preparation, self._examined = inspector.preparation, examined_with(inspector.model)
        self._marked = marked

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int) -> Loaded:
        start, part = time.perf_counter(), self._parts[index]
        try:
            contents = read_contents(part.rgb, part.xyz, self._reading)
            scan = scan_in(contents, part.rgb, self._reading)
        except InputError as error:
            return Loaded(Prepared((), None, None, str(error)), time.perf_counter() - start)
        found = examine_scan(part, self._reading, *self._examined, contents)
        faults = [text for level, kind, text in found if level == "fault" and kind != "no points"]  # the gate says that
        warnings = [text for level, _, text in found if level == "warning"]
        warning = "; ".join(text.removeprefix(f"{part.rgb}: ").removeprefix(f"{part.xyz}: ") for text in warnings)
        prepared = self._preparation(scan, faults[0] if faults else "")
        prepared = prepared._replace(sample=tuple(of.numpy() for of in prepared.sample))
        mark = fingerprint(scan) if self._marked else ""
        return Loaded(prepared, time.perf_counter() - start, True, warning, mark)


def _as_it_is(item: Any) -> Any:
    return item


def load_parts(parts: Sequence[PartFiles], inspector: Inspector, workers: int, marked: bool) -> Iterator[Loaded]:
    """Yield each of ``parts`` Loaded, read in ``workers`` processes; ``marked``: with its fingerprint."""
    data = _Parts(parts, inspector, marked)
    for loaded in Loader(
        data, batch_size=None, num_workers=workers, collate_fn=_as_it_is, worker_init_fn=begin_loading
    ):
        prepared = loaded.prepared
        yield loaded._replace(prepared=prepared._replace(sample=tuple(map(torch.from_numpy, prepared.sample))))


def row_of(
    part: PartFiles, loaded: Loaded, inspector: Inspector, label: int | None
) -> tuple[dict[str, Any], Judgement]:
    """(a part's dict for verdicts.jsonl and verdicts.csv, its Judgement); ``label``: 1 for a defective part, 0 for a
    good one."""
    started = time.perf_counter()
    judgement = inspector.judge_prepared(loaded.prepared)
    milliseconds = 1000 * (loaded.seconds + time.perf_counter() - started)
    row = {"path": part.name, **judgement.as_json(), "milliseconds": milliseconds}
    if loaded.warning:
        row["warning"] = loaded.warning
        if row["reason"]:  # another resolution is the cause of what was found first
            row["reason"] = f"{loaded.warning}: {row['reason']}"
    if label is not None:
        row["label"] = label
        for kind, key in (("calibration", "calibration"), ("training", "training_parts")):
            if loaded.fingerprint in inspector.model.meta[key]["fingerprints"]:
                row["known"] = kind  # the model was fitted or calibrated with it
        if label and part.gt is not None and judgement.map is not None:
            row["defect_hit"] = _hit(part.gt, judgement, judgement.map.shape[0], loaded.prepared.placed)
    return row, judgement


def _hit(gt: Path, judgement: Judgement, side: int, placed: Placed | None) -> bool:
    """Whether any region overlaps the defect."""
    if placed is not None:
        mask: NDArray[Any] = placed.laid.laid(read_defect(gt), placed.shape)
    else:
        small = torch.nn.functional.interpolate(read_mask(gt, RGB_SIZE)[None], size=(side, side), mode="nearest")
        mask = small[0, 0].numpy() != 0
    return any(bool(region.inside(mask).any()) for region in judgement.regions)


def evaluation_text(output: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """Write evaluation.md (confusion table, rates with intervals); returns its text. Parts that the model was fitted or
    calibrated with are left out."""
    known, rows = [row for row in rows if "known" in row], [row for row in rows if "known" not in row]
    text = ""
    if known:
        shown = ", ".join(row["path"] for row in known[:3]) + (", ..." if len(known) > 3 else "")
        text = f"{len(known)} parts that the model was fitted or calibrated with are left out of the rates: {shown}\n\n"
    text += verdict.outcome_text(verdict.outcome([row["verdict"] for row in rows], [row["label"] for row in rows]))
    hits = [row["defect_hit"] for row in rows if "defect_hit" in row]
    if hits:
        text += f"\nA region lies on the defect in {sum(hits)} of {len(hits)} defective parts with a mask.\n"
    atomic_write_text(output / "evaluation.md", text)
    return text
