"""What can be wrong with a data set: judges the facts of its parts, and finds how a run has to read the files."""

import json
from math import dist
from pathlib import Path
from statistics import median
from typing import NamedTuple, Optional

from data.organised_clouds import Reading, missing_text
from data.pairing import GOOD, Part
from data.part_facts import MASK_SIZE, Facts
from data.splits import GREY, differences
from data.units import metres_of, unit_fault

LEVELS = {  # the kinds of findings
    # would stop a run, or make its numbers wrong
    "fault": "pairing,folders,unreadable,picture,cloud,mask,no points,no clouds,unit,mixed units",
    # may spoil them
    "warning": "broken,missing,zero points,few points,mask empty,mask large,mask of good,mask background,aspect,"
    "outline,orientation,twice,unusual,other recording,one class,folder skipped,files not read,no masks",
    # assumptions
    "note": "paired by number,16-bit picture,tiff layout,convention,pictures alone",
}
LEVEL_OF = {kind: level for level, kinds in LEVELS.items() for kind in kinds.split(",")}
OTHER_UNIT = 5.0  # a part this many times as large and as far away as the training parts is in another unit
ENOUGH = 100  # fewest points for a meaningful extent
LOST = 0.001  # warn if more than this share of the points has a coordinate of exactly 0
ASPECT, HALF = 1.02, 0.5
FAR, SPREADS, REACH, EMPTY = 3.0, 10.0, 10.0, 0.05  # limits of unusual parts, see unusual_parts
# what normal parts have in common, and the least spread of it that counts: a share, or grey levels for the brightness
STEADY = {"extent": 0.05, "distance": 0.02, "spacing": 0.05, "brightness": 4.0}
WHY = {
    "test": "scores that normalise over the test set may be ruled by it",
    "train": "what is measured in training counts as normal",
}
WHY_OTHERS = "the parts that calibrate decide on the threshold"
CONVENTIONS = {"metres": None, "millimetres": "millimetres", "pixels": "the pixel's row and column, and z as measured"}
SHOWN_COPIES, MANY_VALUES = 3, 8
CALIBRATION = "calibration"  # the split of the parts in --calibration_dir
SPLIT_NAMES = {"train": "training", CALIBRATION: "--calibration_dir"}


class Options(NamedTuple):
    """The options of a run that an examination depends on."""

    img_size: int = 224  # side that clouds are resized to
    min_points: int = 1024  # fewest points that a part should have; 0: the method does not read clouds
    unit: Optional[str] = None  # see data.units; None: metres, and coordinates that do not look like metres are a fault
    zero_points: bool = False  # --fix zero_points


class TestedPart(NamedTuple):
    """An examined part. Its files have the mask that is examined; a run does not read a good part's mask."""

    __test__ = False

    split: str
    defect: str
    files: Part
    facts: Facts = Facts()

    @property
    def path(self) -> Path:
        """Path of the picture; if there is none, of the first file of the part."""
        return next(path for path in self.files if path)


class Row(NamedTuple):
    """A defect folder: its split and name, {kind: number of files}, whether a run reads it, and its TestedParts."""

    split: str
    defect: str
    counts: dict
    used: bool
    parts: tuple


def settle_missing(facts):
    """Values that mean "not measured" in a category's Facts: a sorted tuple; None if there are too many of them."""
    values = {value for fact in facts for value in fact.missing}
    return None if len(values) > MANY_VALUES else tuple(sorted(values, key=str))


def judge(root, name, rows, options, missing):
    """([(kind of LEVELS, text)], Reading) of the category ``name`` in the folder ``root``, whose Rows have facts;
    ``missing``: see ``settle_missing``."""
    parts, convention = [part for row in rows for part in row.parts], read_convention(root)
    found = [finding for part in parts for finding in judge_part(part, options, convention)]
    tested = {part.defect != GOOD for part in parts if part.split == "test"}
    if len(tested) == 1:
        text = f"no {'good' if True in tested else 'defective'} parts: metrics that need them are undefined"
        found.append(("one class", f"{root / name / 'test'}: {text}"))
    units = _units(root / name, parts, options, convention) if options.min_points else []
    if not any(kind == "mixed units" for kind, _ in units):
        found += [("unusual", text) for text in unusual_parts(parts, options)]
        found += [("other recording", text) for text in differences(rows, bool(options.min_points))]
    deep = [part.facts.picture_bits for part in parts if (part.facts.picture or "").endswith("16 bits")]
    return [*units, *found, *_copies(parts)], Reading(
        options.unit or "m", missing, options.zero_points, max(deep, default=16), True
    )


def read_convention(root):
    """The coordinates' convention in a data set's ``preprocessing.json``: a key of CONVENTIONS, or None."""
    try:
        return json.loads((Path(root) / "preprocessing.json").read_text(encoding="utf-8")).get("coordinates")
    except (OSError, ValueError, AttributeError):
        return None


def counted(facts, zero_points):
    """(number of a part's points at the run's size, of distinct points). Without ``zero_points``, as released, points
    with any coordinate 0 do not count."""
    return (facts.points or 0) + zero_points * facts.edge_points, facts.distinct + zero_points * facts.edge_distinct


def judge_part(part, options, convention=None):
    """Yield the findings (kind, text) on one TestedPart."""
    facts, files, defective = part.facts, part.files, part.defect != GOOD
    for kind, text in (*facts.errors, *facts.notes):
        yield ("mask of good" if kind == "mask" and not defective else kind), text
    if facts.points is not None and options.min_points:
        for kind, text in _judge_cloud(facts, options, convention):
            yield kind, f"{files.xyz}: {text}"
    if facts.mask_share is not None:
        for kind, text in _judge_mask(facts, options, defective):
            yield kind, f"{files.gt}: {text}"
    sizes = {"picture": facts.picture_size, "point cloud": facts.tiff_size, "mask": facts.mask_size}
    sizes = {what: size for what, size in sizes.items() if size}
    aspects = [height / width for height, width in sizes.values()]
    if aspects and max(aspects) > ASPECT * min(aspects):
        shown = ", ".join(f"{what} {height}×{width}" for what, (height, width) in sizes.items())
        yield "aspect", f"{part.path}: {shown}: different aspect, so pixels do not lie on each other"
    elif facts.misfit and options.min_points:
        why = "the cloud may be mirrored, shifted or cropped against the picture"
        yield "outline", f"{files.xyz}: {facts.misfit}: {why}"


def _judge_cloud(facts, options, convention):
    count, distinct = counted(facts, options.zero_points)
    if not count:
        text = "no valid point is left (x, y and z non-zero and finite); remove or rescan this part"
        yield "no points", text
        return
    if facts.broken:
        left = f"{count:,} points are left at {options.img_size}×{options.img_size}"
        yield "broken", f"{facts.broken:,} pixels with NaN or inf are taken as background; {left}"
    if distinct < options.min_points:
        what = f"{count:,} valid points" if count == distinct else f"{count:,} valid points, {distinct:,} distinct"
        text = f"{what}, fewer than the {options.min_points:,} that its 3D features take: they say little of it"
        yield "few points", text
    if facts.hidden:
        share = f"{facts.hidden / options.img_size**2:.1%} of the pixels: not measured, taken as background"
        yield "missing", f"{missing_text(facts.missing)} fills {share}"
    total = facts.points + facts.edge_points
    if not options.zero_points and facts.edge_points > LOST * total and convention != "pixels":
        text = f"{facts.edge_points:,} of {total:,} points have a coordinate that is exactly 0 and are lost, as in the "
        yield "zero points", text + "release; --fix zero_points keeps them"


def _judge_mask(facts, options, defective):
    if not defective:
        if facts.mask_share:
            yield "mask of good", "mask of a good part is not empty; a run takes the part as good"
        return
    if not facts.mask_share:
        yield "mask empty", f"mask of a defective part is empty at {MASK_SIZE}×{MASK_SIZE}, as a run reads it"
        return
    if facts.mask_background:
        text = f"nothing in it is black or transparent; {facts.mask_background}, which fills most of it, is taken as "
        yield "mask background", text + "background"
    measured = facts.points is not None and options.min_points
    surface = (facts.points + facts.edge_points) / options.img_size**2 if measured else 1
    if facts.mask_share > HALF:
        yield "mask large", f"covers {facts.mask_share:.0%} of the picture; is it inverted?"
    elif facts.mask_share > surface > 0:
        yield "mask large", f"covers {facts.mask_share:.0%} of the picture, the part's points {surface:.0%}"


def _units(folder, parts, options, convention):
    """[(kind, text)]: parts in another unit than the training parts, else coordinates in an unexpected one."""
    sized = [p for p in parts if p.facts.extent and (p.facts.points or 0) + p.facts.edge_points >= ENOUGH]
    if not sized:
        return []
    reference = [p.facts for p in sized if p.split == "train"] or [p.facts for p in sized]
    extent, distance = median(f.extent for f in reference), median(f.distance for f in reference)
    told = [(part, times_as_large(part.facts, extent, distance)) for part in sized]
    why = "the data set mixes units; convert it to one"
    if mixed := [("mixed units", f"{part.files.xyz}: {text}: {why}") for part, text in told if text]:
        return mixed
    if options.unit is None and CONVENTIONS.get(convention):
        text = f"coordinates are {CONVENTIONS[convention]}, as preprocessing.json says; they are not changed"
        return [("convention", f"{folder}: {text}")]
    fault = unit_fault(extent, distance, options.unit)
    return [("unit", f"{folder}: {fault} (median of {len(reference)} parts)")] if fault else []


def times_as_large(facts, extent, distance):
    """Text, if a part is so much larger and farther away than the training parts that it is in another unit."""
    ratios = facts.extent / extent, facts.distance / max(distance, 1e-30)
    factor = min(ratios) if min(ratios) > 1 else max(ratios)
    if 1 / OTHER_UNIT <= factor <= OTHER_UNIT:
        return None
    value = max(factor, 1 / factor)
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"coordinates are {shown} times {'as large' if factor > 1 else 'smaller'} as those of the training parts"


def unusual_parts(parts, options=Options()):
    """Yield texts that name TestedParts unlike the training parts: far from their centre (3 times their extent, and 10
    times their usual spread), reaching too far (the outermost points, a few are enough, 10 times their extent), nearly
    empty (fewer than a twentieth of their points). Of training and calibration parts also those whose extent, distance,
    point spacing or brightness lies more than 10 usual spreads from the middle, or that alone have no colour."""
    told: dict = {}
    for number, text in (*(_misplaced(parts, options) if options.min_points else ()), *_stretching(parts, options)):
        told.setdefault(number, []).append(text)
    for number, texts in sorted(told.items()):
        part = parts[number]
        yield f"{part.files.xyz or part.path}: {'; '.join(texts)}: {WHY.get(part.split, WHY_OTHERS)}"


def _misplaced(parts, options):
    known = [p.facts for p in parts if p.split == "train" and p.facts.centre]
    if not known:
        return
    factor = metres_of(options.unit or "m")
    middle = [median(values) for values in zip(*(facts.centre for facts in known))]
    extent = median(facts.extent for facts in known)
    usual = median(counted(facts, options.zero_points)[0] for facts in known)
    spread = median(dist(facts.centre, middle) for facts in known)
    size = f"{extent * factor:.3g} m"
    for i, facts in ((i, part.facts) for i, part in enumerate(parts) if part.facts.centre):
        away, count = dist(facts.centre, middle), counted(facts, options.zero_points)[0]
        if away > max(FAR * extent, SPREADS * spread):
            yield i, f"its centre lies {away * factor:.3g} m from the training parts', whose extent is {size}"
        if facts.reach > REACH * max(extent, 1e-30):
            span = f"its points reach over {facts.reach * factor:.3g} m"
            yield i, f"{span}, the middle 98 % of those of the training parts over {size}"
        if 0 < count < EMPTY * usual:
            yield i, f"nearly empty: {count:,} points are left, the training parts have {usual:,.0f}"


def _stretching(parts, options):
    clouds = bool(options.min_points)
    normal = [(i, p.facts) for i, p in enumerate(parts) if p.split != "test" and (p.files.xyz or not clouds)]
    for what, least in STEADY.items() if clouds else [("brightness", STEADY["brightness"])]:
        values = {i: getattr(facts, what) for i, facts in normal if getattr(facts, what) is not None}
        if len(values) < 4:
            continue
        middle, levels = median(values.values()), what == "brightness"
        spread = 1.4826 * median(abs(value - middle) for value in values.values())
        usual = max(spread, least if levels else least * middle)
        factor, unit = (1.0, " of 255") if levels else (metres_of(options.unit or "m"), " m")
        for i, value in values.items():
            if abs(value - middle) > SPREADS * usual:
                yield i, f"{what} {value * factor:.3g}{unit}, the others have {middle * factor:.3g}{unit}"
    coloured = [(i, facts.chroma >= GREY) for i, facts in normal if facts.chroma is not None]
    if sum(has for _, has in coloured) > len(coloured) / 2:
        yield from ((i, "its picture has no colour, those of the others have") for i, has in coloured if not has)


def _copies(parts):
    seen = {}
    for part in parts:
        for kind in ("tiff_hash", "picture_hash"):
            if getattr(part.facts, kind):
                seen.setdefault((kind, getattr(part.facts, kind)), []).append(part)
    for (kind, _), same in seen.items():
        pictures, clouds = ({getattr(p.facts, what) for p in same} for what in ("picture_hash", "tiff_hash"))
        told_already = kind == "picture_hash" and len(clouds) == 1 and None not in clouds
        if len(same) < 2 or told_already:
            continue
        part = len(pictures) == len(clouds) == 1
        what = "part" if part else "point cloud" if kind == "tiff_hash" else "picture"
        names = " = ".join(str(part.path) for part in same[:SHOWN_COPIES])
        more = f" and {len(same) - SHOWN_COPIES} more" if len(same) > SHOWN_COPIES else ""
        splits = list(dict.fromkeys(SPLIT_NAMES.get(p.split, p.split) for p in same))
        where = f" in {' and '.join(splits)}" if len(splits) > 1 else ""
        yield "twice", f"{names}{more}: the same {what}{where}"
