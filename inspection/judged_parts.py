"""The steps of tools/predict.py for each part (reading in another process, its row, its pictures); the evaluation."""

import time
from typing import NamedTuple

import numpy as np
import torch
from tabulate import tabulate
from torch.utils.data import Dataset

from common.errors import InputError
from common.files import atomic_write_text
from data.examination import examine_scans
from data.pictures import read_defect, read_mask
from data.scans import fingerprint, read_scan
from dataset import RGB_SIZE, Loader, begin_loading
from inspection import verdict
from inspection.judged_pictures import draw_judgement, write_ply
from inspection.one_part import Prepared
from inspection.saved_model import examined_with, reading_of
from scoring import decision_metrics

RATES = (0.0, 0.01, 0.05, 0.1)  # rates of escapes and of false alarms at which PG and PB are reported


class Read(NamedTuple):
    """What reading a part's files has found: whether they could be read, texts of warnings, the scan's fingerprint."""

    complete: bool
    warnings: tuple = ()
    fingerprint: str = ""


class _Parts(Dataset):
    """Prepared parts; their tensors as arrays, which reach another process without shared memory."""

    def __init__(self, parts, model, preparation):
        self._parts, self._reading, self._preparation = parts, reading_of(model), preparation
        self._options, self._usual = examined_with(model)

    def __len__(self):
        return len(self._parts)

    def __getitem__(self, index):
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


def _as_it_is(item):
    return item


def load_parts(parts, inspector, workers):
    """Yield (Prepared, Read, seconds) for each of ``parts`` [PartFiles], read in ``workers`` processes."""
    data = _Parts(parts, inspector.model, inspector.preparation)
    loader = Loader(data, batch_size=None, num_workers=workers, collate_fn=_as_it_is, worker_init_fn=begin_loading)
    for prepared, read, seconds in loader:
        yield prepared._replace(sample=tuple(map(torch.from_numpy, prepared.sample))), read, seconds


def fitted_with(model):
    """{fingerprint: "training" or "calibration"} of the parts that the model was fitted or calibrated with."""
    calibration, training = model.meta["calibration"]["fingerprints"], model.meta["training_parts"]["fingerprints"]
    return {**dict.fromkeys(calibration, "calibration"), **dict.fromkeys(training, "training")}


def row_of(part, judgement, milliseconds, files, label, problem, placed=None):
    """A part's dict for verdicts.jsonl and verdicts.csv; ``placed``: the part in its frame, if there is one."""
    row = {"path": part.name, **judgement.as_json(), "milliseconds": milliseconds, "files": files}
    if label is not None:
        row["label"] = label
        if label and part.gt is not None and judgement.map is not None:
            row["defect_hit"] = _hit(part.gt, judgement, placed)
    if problem:
        row["problem"] = problem
    return row


def _hit(gt, judgement, placed):
    """Whether any region overlaps the defect."""
    side = judgement.map.shape[0]
    if placed is not None:
        mask = placed.laid.laid(read_defect(gt), placed.shape)
    else:
        mask = read_mask(gt, RGB_SIZE)[None]
        mask = torch.nn.functional.interpolate(mask, size=(side, side), mode="nearest")[0, 0].numpy() != 0
    return any(
        bool(mask[t:b, left:r][region.mask].any()) for region in judgement.regions for left, t, r, b in [region.box]
    )


def write_extras(output, names, part, judgement, inspector):
    """Write the extra files of a part: ``names`` {kind: name below ``output``/kind}.

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


def normal_picture(judgement, inspector):
    """Picture of a normal part beside which the judged one is shown: the one with the patch nearest to the first
    region, else the first training part."""
    match = judgement.regions[0].nearest if judgement.regions else None
    return inspector.picture_of(match.part if match is not None and match.place is not None else 0)


def evaluation_text(output, rows, false_alarm):
    """Write evaluation.md (confusion table, rates with intervals, PG and PB); returns its text.

    Parts that the model was fitted or calibrated with are left out.
    """
    known, rows = [row for row in rows if "known" in row], [row for row in rows if "known" not in row]
    text = ""
    if known:
        shown = ", ".join(row["path"] for row in known[:3]) + (", ..." if len(known) > 3 else "")
        text = f"{len(known)} parts that the model was fitted or calibrated with are left out of the rates: {shown}\n\n"
    labels = [row["label"] for row in rows]
    text += verdict.outcome_text(verdict.outcome([row["verdict"] for row in rows], labels))
    judged = [row for row in rows if row.get("score") is not None]
    scores, labels = np.array([row["score"] for row in judged]), np.array([row["label"] for row in judged])
    lines = []
    for rate in sorted({*RATES, false_alarm}):
        pg = decision_metrics.good_passed(labels, scores, rate) if len(judged) else None
        pb = decision_metrics.defective_failed(labels, scores, rate) if len(judged) else None
        lines.append([verdict.percent(rate), *("-" if p is None else verdict.percent(p[0]) for p in (pg, pb))])
    titles = [
        "rate",
        "PG: good parts that pass when this share of defective parts escapes",
        "PB: defective parts that fail when this share of good parts fails",
    ]
    text += "\nOf the parts that were judged, at the thresholds that fit this test split best:\n\n"
    text += tabulate(lines, titles, tablefmt="pipe", disable_numparse=True) + "\n"
    hits = [row["defect_hit"] for row in judged if "defect_hit" in row]
    if hits:
        text += f"\nA region lies on the defect in {sum(hits)} of {len(hits)} defective parts with a mask.\n"
    atomic_write_text(output / "evaluation.md", text)
    return text
