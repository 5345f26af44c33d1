"""Judges the facts of a category's parts: finds faults and warnings, and how a run has to read the files."""

import json
from pathlib import Path
from statistics import median
from typing import NamedTuple, Optional

from data.organised_clouds import Reading, missing_text
from data.pairing import GOOD, Part
from data.part_facts import MASK_SIZE, Facts
from data.units import UNITS, unit_fault

OTHER_UNIT = 5.0  # a part this many times as large and as far away as the training parts is in another unit
ENOUGH = 100  # fewest points for a meaningful extent
LOST = 0.001  # warn if more than this share of the points has a coordinate of exactly 0
ASPECT, HALF = 1.02, 0.5
FAR, SPREADS, REACH, EMPTY = 3.0, 10.0, 10.0, 0.05  # limits of unusual parts, see unusual_parts
CONVENTIONS = {"metres": None, "millimetres": "millimetres", "pixels": "the pixel's row and column, and z as measured"}
SHOWN_COPIES, MANY_VALUES = 3, 8


class Options(NamedTuple):
    """The options of a run that an examination depends on."""

    img_size: int = 224  # side that clouds are resized to
    min_points: int = 1024  # fewest points that a part should have; 0: the method does not read clouds
    unit: Optional[str] = None  # a key of UNITS; None: metres, and coordinates that do not look like metres are a fault
    zero_points: bool = False  # --fix zero_points


class TestedPart(NamedTuple):
    """An examined part."""

    __test__ = False

    split: str
    defect: str
    path: Path  # path of the picture; if there is none, of the first file of the part
    files: Part
    mask: Optional[Path] = None  # the examined mask; a run does not read a good part's mask
    facts: Facts = Facts()


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
    """Judge a category.

    Args:
        root: folder of the data set.
        name: name of the category.
        rows: Rows with facts.
        options: Options.
        missing: see ``settle_missing``.

    Returns:
        ([(level, kind, text)], Reading); the level is "fault", "warning" or "note".
    """
    parts = [part for row in rows if row.used for part in row.parts]
    convention = CONVENTIONS.get(read_convention(root))
    found = [finding for part in parts for finding in _judge_part(part, options, convention)]
    tested = {part.defect != GOOD for part in parts if part.split == "test"}
    if len(tested) == 1:
        found.append(
            (
                "warning",
                "one class",
                f"{root / name / 'test'}: no {'good' if True in tested else 'defective'} parts: "
                "metrics that need them are undefined",
            )
        )
    if options.min_points:
        others = _mixed(parts)
        found += others or _unit(root / name, parts, options, convention)
        known = [(str(p.files.xyz), p.split == "train", p.facts) for p in parts if p.files.xyz]
        found += (
            [
                ("warning", "unusual", text)
                for text in unusual_parts(
                    [p[::2] for p in known if p[1]],
                    [p[::2] for p in known if not p[1]],
                    UNITS[options.unit or "m"],
                    options,
                )
            ]
            if not others
            else []
        )
    found += _copies(parts)
    bits = max(
        (part.facts.picture_bits for part in parts if part.facts.picture and part.facts.picture.endswith("16 bits")),
        default=16,
    )
    return found, Reading(options.unit or "m", missing, options.zero_points, bits, True)


def read_convention(root):
    """The coordinates' convention in a data set's ``preprocessing.json``: a key of CONVENTIONS, or None."""
    try:
        content = json.loads((Path(root) / "preprocessing.json").read_text(encoding="utf-8"))
        if (
            "coordinates" not in content and content["program"] == "preprocess_realiad_d3.py"
        ):  # written by an earlier version
            return "pixels" if content["options"]["xyz"] == "pixel" else "millimetres"
        return content.get("coordinates")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def counted(facts, zero_points):
    """(number of a part's points at the run's size, number of distinct points).

    Without ``zero_points``, as released, points with any coordinate 0 do not count.
    """
    return (facts.points or 0) + zero_points * facts.edge_points, facts.distinct + zero_points * facts.edge_distinct


def _judge_part(part, options, convention):
    facts, files, defective = part.facts, part.files, part.defect != GOOD
    for kind, text in facts.errors:
        yield ("fault" if kind != "mask" or defective else "warning"), kind, text
    for kind, text in facts.notes:
        yield "note", kind, text
    if facts.points is not None and options.min_points:
        yield from _judge_cloud(files.xyz, facts, options, convention)
    if facts.mask_share is not None:
        yield from _judge_mask(part.mask, facts, options, defective)
    sizes = {"picture": facts.picture_size, "point cloud": facts.tiff_size, "mask": facts.mask_size}
    sizes = {what: size for what, size in sizes.items() if size}
    aspects = [height / width for height, width in sizes.values()]
    if aspects and max(aspects) > ASPECT * min(aspects):
        shown = ", ".join(f"{what} {height}×{width}" for what, (height, width) in sizes.items())
        yield "warning", "aspect", f"{part.path}: {shown}: different aspect, so pixels do not lie on each other"
    elif facts.misfit and options.min_points:
        yield (
            "warning",
            "outline",
            (f"{files.xyz}: {facts.misfit}: the cloud may be mirrored, shifted or cropped against the picture"),
        )


def _judge_cloud(path, facts, options, convention):
    count, distinct = counted(facts, options.zero_points)
    if not count:
        yield (
            "fault",
            "no points",
            (f"{path}: no valid point is left (x, y and z non-zero and finite); remove or rescan this part"),
        )
        return
    if facts.broken:
        yield (
            "warning",
            "broken",
            (
                f"{path}: {facts.broken:,} pixels with NaN or inf are taken as background; {count:,} points "
                f"are left at "
                f"{options.img_size}×{options.img_size}"
            ),
        )
    if distinct < options.min_points:
        what = f"{count:,} valid points" if count == distinct else f"{count:,} valid points, {distinct:,} distinct"
        yield (
            "warning",
            "few points",
            (f"{path}: {what}, fewer than the {options.min_points:,} that its 3D features take: they say little of it"),
        )
    if facts.hidden:
        yield (
            "warning",
            "missing",
            (
                f"{path}: {missing_text(facts.missing)} fills {facts.hidden / options.img_size**2:.1%} of the pixels: "
                "not measured, taken as background"
            ),
        )
    total = facts.points + facts.edge_points
    if not options.zero_points and facts.edge_points > LOST * total and not (convention or "").startswith("the pixel"):
        yield (
            "warning",
            "zero points",
            (
                f"{path}: {facts.edge_points:,} of {total:,} points have a coordinate that is exactly 0 and "
                f"are lost, as "
                f"in the "
                "release; --fix zero_points keeps them"
            ),
        )


def _judge_mask(path, facts, options, defective):
    if not defective:
        if facts.mask_share:
            yield "warning", "mask of good", f"{path}: mask of a good part is not empty; a run takes the part as good"
        return
    if not facts.mask_share:
        yield (
            "warning",
            "mask empty",
            (
                f"{path}: mask of a defective part is empty at {MASK_SIZE}×{MASK_SIZE}, as a run reads it; "
                f"the largest value in the file is {facts.mask_largest:g}"
            ),
        )
        return
    if facts.mask_background:
        yield (
            "warning",
            "mask background",
            (
                f"{path}: nothing in it is black or transparent; {facts.mask_background}, which fills most "
                f"of it, is taken "
                "as background"
            ),
        )
    surface = (
        (facts.points + facts.edge_points) / options.img_size**2
        if facts.points is not None and options.min_points
        else 1
    )
    if facts.mask_share > HALF:
        yield "warning", "mask large", f"{path}: covers {facts.mask_share:.0%} of the picture; is it inverted?"
    elif facts.mask_share > surface > 0:
        yield (
            "warning",
            "mask large",
            (f"{path}: covers {facts.mask_share:.0%} of the picture, the part's points {surface:.0%}"),
        )


def _sized(parts):
    """(parts with enough points for an extent, the training parts of these, or all of these if there are none)."""
    sized = [
        part for part in parts if part.facts.extent and (part.facts.points or 0) + part.facts.edge_points >= ENOUGH
    ]
    return sized, [part for part in sized if part.split == "train"] or sized


def _mixed(parts):
    sized, reference = _sized(parts)
    if not sized:
        return []
    extent, distance = (median(getattr(p.facts, what) for p in reference) for what in ("extent", "distance"))
    found = []
    for part in sized:
        ratios = part.facts.extent / extent, part.facts.distance / max(distance, 1e-30)
        factor = min(ratios) if min(ratios) > 1 else max(ratios)
        if factor > OTHER_UNIT or factor < 1 / OTHER_UNIT:
            times = f"{_figure(factor)} times as large" if factor > 1 else f"{_figure(1 / factor)} times smaller"
            found.append(
                (
                    "fault",
                    "mixed units",
                    f"{part.files.xyz}: coordinates are {times} as those of the training parts: the data "
                    f"set mixes units; "
                    "convert it to one",
                )
            )
    return found


def _figure(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _unit(folder, parts, options, convention):
    """[finding] if the coordinates do not look like the unit that they should be in, else []."""
    _, reference = _sized(parts)
    if not reference:
        return []
    extent, distance = (median(getattr(p.facts, what) for p in reference) for what in ("extent", "distance"))
    if options.unit is None and convention:
        return [
            (
                "note",
                "convention",
                f"{folder}: coordinates are {convention}, as preprocessing.json says; they are not changed",
            )
        ]
    fault = unit_fault(extent, distance, options.unit)
    return [("fault", "unit", f"{folder}: {fault} (median of {len(reference)} parts)")] if fault else []


def unusual_parts(training, test, factor=1.0, options=Options()):
    """Texts that name parts unlike the training parts.

    A part is unusual for one of three reasons:

    - It lies elsewhere: its centre is farther from the training parts' centre than 3 times their extent, and than 10
      times their usual spread.
    - It reaches too far: its outermost points are over 10 times the training parts' extent apart. A few outliers are
      enough.
    - It is nearly empty: it has fewer than a twentieth of the training parts' points.

    Args:
        training, test: sequences of (name, Facts).
        factor: metres per unit of the files.
    """
    known = [facts for _, facts in training if facts.centre]
    if not known:
        return []
    middle = [median(values) for values in zip(*(facts.centre for facts in known))]
    extent = median(facts.extent for facts in known)
    usual = median(counted(facts, options.zero_points)[0] for facts in known)
    spread = median(_distance(facts.centre, middle) for facts in known)
    found = []
    for number, (name, facts) in enumerate((*training, *test)):
        if not facts.centre:
            continue
        what, away, count = [], _distance(facts.centre, middle), counted(facts, options.zero_points)[0]
        if away > max(FAR * extent, SPREADS * spread):
            what.append(
                f"its centre lies {away * factor:.3g} m from the training parts', whose extent is "
                f"{extent * factor:.3g} m"
            )
        if facts.reach > REACH * max(extent, 1e-30):
            what.append(
                f"its points reach over {facts.reach * factor:.3g} m, the middle 98 % of those of the training parts "
                f"over {extent * factor:.3g} m"
            )
        if 0 < count < EMPTY * usual:
            what.append(f"nearly empty: {count:,} points are left, the training parts have {usual:,.0f}")
        if what:
            why = (
                "what is measured in training counts as normal"
                if number < len(training)
                else "scores that normalise over the test set may be ruled by it"
            )
            found.append(f"{name}: {'; '.join(what)}: {why}")
    return found


def _distance(one, other):
    return sum((a - b) ** 2 for a, b in zip(one, other)) ** 0.5


def _copies(parts):
    """Yield findings of files with the same content."""
    seen = {}
    for part in parts:
        if part.facts.tiff_hash:
            seen.setdefault((part.facts.tiff_hash, None), []).append(part)
        if part.facts.picture_hash:
            seen.setdefault((None, part.facts.picture_hash), []).append(part)
    for (cloud, _), same in seen.items():
        if len(same) < 2:
            continue
        pictures, clouds = ({getattr(p.facts, what) for p in same} for what in ("picture_hash", "tiff_hash"))
        if not cloud and len(clouds) == 1 and None not in clouds:
            continue  # already reported for the clouds
        what = (
            "the same part"
            if len(pictures) == len(clouds) == 1
            else "the same point cloud"
            if cloud
            else "the same picture"
        )
        names = [str(part.path) for part in same]
        shown = " = ".join(names[:SHOWN_COPIES]) + (
            f" and {len(names) - SHOWN_COPIES} more" if len(names) > SHOWN_COPIES else ""
        )
        where = " in training and test" if len({p.split for p in same}) > 1 else ""
        yield "warning", "twice", f"{shown}: {what}{where}"
