"""The steps of tools/predict.py for each part (reading in another process, its row, its pictures); the evaluation."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from common.errors import InputError
from common.files import atomic_write_text
from data.examination import examine_scans
from data.pictures import read_defect, read_mask
from data.scans import PartFiles, fingerprint, read_scan
from dataset import RGB_SIZE, Loader, begin_loading
from inspection import verdict
from inspection.inspector import Inspector
from inspection.judged_pictures import draw_judgement, write_ply
from inspection.judgement import Judgement
from inspection.one_part import Prepared
from inspection.saved_model import SavedModel, examined_with, reading_of
from part_frame.placement import Placed


class Read(NamedTuple):
    """What reading a part's files has found: whether they could be read, texts of warnings, the scan's fingerprint."""

    complete: bool
    warnings: tuple[str, ...] = ()
    fingerprint: str = ""


Loaded = tuple[Prepared, Read, float]  # the last: seconds


class _Parts(Dataset[Loaded]):
    """Prepared parts; their tensors as arrays, which reach another process without shared memory."""

    def __init__(self, parts: Sequence[PartFiles], inspector: Inspector) -> None:
        self._parts, self._reading = parts, reading_of(inspector.model)
        self._preparation, (self._options, self._usual) = inspector.preparation, examined_with(inspector.model)

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int) -> Loaded:
        start, part = time.perf_counter(), self._parts[index]
        try:
            scan = read_scan(part.rgb, part.xyz, self._reading)
        except InputError as error:
            return Prepared((), None, None, str(error)), Read(False), time.perf_counter() - start
        found = examine_scans([part], self._reading, self._options, self._usual)[0]
        faults = [text for level, kind, text in found if level == "fault" and kind != "no points"]  # the gate says that
        warnings = tuple(
            text.removeprefix(f"{part.rgb}: ").removeprefix(f"{part.xyz}: ")
            for level, _, text in found
            if level == "warning"
        )
        prepared = self._preparation(scan, faults[0] if faults else "")
        prepared = prepared._replace(sample=tuple(of.numpy() for of in prepared.sample))
        return prepared, Read(True, warnings, fingerprint(scan)), time.perf_counter() - start


def _as_it_is(item: Any) -> Any:
    return item


def load_parts(parts: Sequence[PartFiles], inspector: Inspector, workers: int) -> Iterator[Loaded]:
    """Yield (Prepared, Read, seconds) for each of ``parts``, read in ``workers`` processes."""
    data = _Parts(parts, inspector)
    loader = Loader(data, batch_size=None, num_workers=workers, collate_fn=_as_it_is, worker_init_fn=begin_loading)
    for prepared, read, seconds in loader:
        yield prepared._replace(sample=tuple(map(torch.from_numpy, prepared.sample))), read, seconds


def fitted_with(model: SavedModel) -> dict[str, str]:
    """{fingerprint: "training" or "calibration"} of the parts that the model was fitted or calibrated with."""
    calibration, training = model.meta["calibration"]["fingerprints"], model.meta["training_parts"]["fingerprints"]
    return {**dict.fromkeys(calibration, "calibration"), **dict.fromkeys(training, "training")}


def row_of(
    part: PartFiles, judgement: Judgement, milliseconds: float, placed: Placed | None, label: int | None
) -> dict[str, Any]:
    """A part's dict for verdicts.jsonl and verdicts.csv.

    Args:
        placed: the part in its frame, if there is one.
        label: 1 for a defective part, 0 for a good one; None: not known.
    """
    row = {"path": part.name, **judgement.as_json(), "milliseconds": milliseconds}
    if label is not None:
        row["label"] = label
        if label and part.gt is not None and judgement.map is not None:
            row["defect_hit"] = _hit(part.gt, judgement, judgement.map.shape[0], placed)
    return row


def _hit(gt: Path, judgement: Judgement, side: int, placed: Placed | None) -> bool:
    """Whether any region overlaps the defect."""
    if placed is not None:
        mask: NDArray[Any] = placed.laid.laid(read_defect(gt), placed.shape)
    else:
        small = torch.nn.functional.interpolate(read_mask(gt, RGB_SIZE)[None], size=(side, side), mode="nearest")
        mask = small[0, 0].numpy() != 0
    boxes = [(region.mask, *region.box) for region in judgement.regions]
    return any(bool(mask[top:bottom, left:right][own].any()) for own, left, top, right, bottom in boxes)


def write_extras(
    output: Path, names: Mapping[str, str], part: PartFiles, judgement: Judgement, inspector: Inspector
) -> str:
    """Write the extra files of a part: ``names`` {"pictures" or "ply": name below that folder of ``output``}.

    Returns why some could not be written; "" if all were.
    """
    if judgement.picture is None:
        return ""
    problems = []
    for kind, name in names.items():
        path = output / kind / name
        try:
            if kind == "pictures":
                draw_judgement(path, part.name, judgement, normal_picture(judgement, inspector))
            else:
                write_ply(path, judgement)
        except OSError as error:
            problems.append(f"{error.filename or path}: {error.strerror or error}")
    return "; ".join(problems)


def normal_picture(judgement: Judgement, inspector: Inspector) -> NDArray[Any]:
    """Picture of a normal part beside which the judged one is shown: the one with the patch nearest to the first
    region, else the first training part."""
    match = judgement.regions[0].nearest if judgement.regions else None
    return inspector.picture_of(match.part if match is not None and match.place is not None else 0)


def evaluation_text(output: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """Write evaluation.md (confusion table, rates with intervals); returns its text.

    Parts that the model was fitted or calibrated with are left out.
    """
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
