"""The steps of tools/predict.py for each part (reading in another process, its row, its pictures); the evaluation."""

import time
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate
from torch.utils.data import Dataset

from common.errors import InputError, show_warnings
from common.files import atomic_write_text
from data.pairing import GOOD
from data.pictures import read_mask
from data.scans import read_scan
from dataset import RGB_SIZE, Loader
from inspection import verdict
from inspection.judged_pictures import draw_judgement, write_ply
from inspection.one_part import Prepared
from inspection.saved_model import reading_of
from scoring import decision_metrics

RATES = (0.0, 0.01, 0.05, 0.1)  # rates of escapes and of false alarms at which PG and PB are reported


class _Parts(Dataset):
    def __init__(self, parts, reading, preparation):
        self._parts, self._reading, self._preparation = parts, reading, preparation

    def __len__(self):
        return len(self._parts)

    def __getitem__(self, index):
        start, part = time.perf_counter(), self._parts[index]
        try:
            prepared = self._preparation(read_scan(part.rgb, part.xyz, self._reading))
        except InputError as error:
            prepared = Prepared((), None, None, str(error))
        return prepared, time.perf_counter() - start


def _as_it_is(item):
    return item


def load_parts(parts, inspector, workers):
    """Yield (Prepared, seconds) for each of ``parts`` [PartFiles], read in ``workers`` processes."""
    data = _Parts(parts, reading_of(inspector.model), inspector.preparation)
    return Loader(data, batch_size=None, num_workers=workers, collate_fn=_as_it_is, worker_init_fn=show_warnings)


def label_of(part):
    """0 for a part in the folder ``good``, 1 for a part in any other (defect) folder."""
    return int(Path(part.rgb).parent.parent.name != GOOD)


def row_of(part, judgement, milliseconds, files, label, problem):
    """A part's dict for verdicts.jsonl and verdicts.csv."""
    row = {"path": part.name, **judgement.as_json(), "milliseconds": milliseconds, "files": files}
    if label is not None:
        row["label"] = label
        if label and part.gt is not None and judgement.map is not None:
            row["defect_hit"] = _hit(part.gt, judgement)
    if problem:
        row["problem"] = problem
    return row


def _hit(gt, judgement):
    """Whether any region overlaps the defect."""
    side = judgement.map.shape[0]
    mask = read_mask(gt, RGB_SIZE)[None]
    mask = torch.nn.functional.interpolate(mask, size=(side, side), mode="nearest")[0, 0].numpy() != 0
    return any(
        bool(mask[t:b, left:r][region.mask].any()) for region in judgement.regions for left, t, r, b in [region.box]
    )


def extra_paths(args, part):
    """{"pictures" or "ply": path} of the extra files that the options ask for, for one part."""
    name = part.name if args.folder is not None else Path(part.name).name
    asked = {"pictures": (args.pictures, ".png"), "ply": (args.ply, ".ply")}
    return {
        kind: args.output / kind / Path(name).with_suffix(suffix) for kind, (wanted, suffix) in asked.items() if wanted
    }


def write_extras(args, part, judgement, inspector):
    """Write the extra files of a part. Returns why some could not be written; "" if all were."""
    if judgement.picture is None:
        return ""
    problems = []
    for kind, path in extra_paths(args, part).items():
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
    """Write evaluation.md (confusion table, rates with intervals, PG and PB); returns its text."""
    labels = [row["label"] for row in rows]
    text = verdict.outcome_text(verdict.outcome([row["verdict"] for row in rows], labels))
    judged = [row for row in rows if row["score"] is not None]
    scores, known = np.array([row["score"] for row in judged]), np.array([row["label"] for row in judged])
    lines = []
    for rate in sorted({*RATES, false_alarm}):
        pg = decision_metrics.good_passed(known, scores, rate) if len(judged) else None
        pb = decision_metrics.defective_failed(known, scores, rate) if len(judged) else None
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
