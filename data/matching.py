"""Which files of two kinds belong together: by their names, the numbers, words or times in them."""

import bisect
import re
import unicodedata
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple, Optional

# words that tell the kind of a file, not the part
MASK_WORDS = {"gt", "mask", "masks", "groundtruth", "truth", "label", "labels", "annotation", "annotations"}
KIND_WORDS = MASK_WORDS | {
    *("rgb", "color", "colour", "depth", "xyz", "cloud", "clouds", "pointcloud", "pcd", "ply", "ground"),
    *("image", "images", "img", "picture", "pictures", "aligned", "registered", "raw", "points", "point"),
    *("left", "right", "rect", "data", "frame", "frames", "ir"),
}
NEAR = 0.5  # files whose names are times belong together within this share of the shortest time between two parts
ALONE = 1.0  # seconds, where there is only one part
DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)\D?(\d\d)\D?(\d\d)\D{0,3}([01]\d|2[0-3])\D?([0-5]\d)\D?([0-5]\d)(?:\D?(\d{1,9}))?(?!\d)"
)
CLOCK = re.compile(r"(?<!\d)([01]\d|2[0-3])\D?([0-5]\d)\D?([0-5]\d)\D(\d{3,9})(?!\d)")
EPOCH = re.compile(r"(?<!\d)(\d{10,19})(?:\.(\d+))?(?!\d)")


class Match(NamedTuple):
    """Which of ``second`` belongs to which of ``first``."""

    partner: dict  # path of ``first`` → path of ``second``
    how: str  # "name", "number", "word" or "time": the rule that pairs all or, failing that, most; "" if none does
    missing: tuple  # paths of ``first`` without a partner
    extra: tuple  # paths of ``second`` without a partner
    doubles: tuple = ()  # two paths that answer to one key

    @property
    def complete(self) -> bool:
        """Whether each file has its partner."""
        return bool(self.how) and not self.missing and not self.extra


def match(first, second, root: Optional[Path] = None) -> Match:
    """The Match of two lists of paths. The first rule that pairs all files is used, else the one that pairs most. The
    numbers that differ only count if they pair all files of one kind.

    ``root``: files below it belong together within the same folder (words for kinds aside), or across folders if their
    names tell them apart; None: folders are not looked at.
    """
    best, doubles = Match({}, "", tuple(first), tuple(second)), ()
    for how, weak, (left, right) in _rules(first, second, root):
        keys = [_by_key(first, left), _by_key(second, right)]
        common = [key for key in keys[0] if key in keys[1]]
        twice = next((side[key] for side in keys for key in common if len(side[key]) > 1), None)
        if twice:
            doubles = doubles or tuple(twice[:2])
            continue
        partner = {keys[0][key][0]: keys[1][key][0] for key in common}
        taken = set(partner.values())
        missing = tuple(p for p in first if p not in partner)
        extra = tuple(p for p in second if p not in taken)
        found = Match(partner, how if partner else "", missing, extra)
        if found.complete:
            return found
        if not (weak and missing and extra) and len(partner) > len(best.partner):
            best = found
    return best._replace(doubles=doubles)


def stem(path) -> str:
    """A file's name without suffix; letters and their accents as one character (macOS stores them separately)."""
    return unicodedata.normalize("NFC", Path(path).stem)


def words(text):
    """Lower-case words and numbers of a name: "rs_ColorImage-007" → rs, color, image, 007."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+", text)]


def plain(text):
    """The words of a name that tell no kind."""
    return tuple(word for word in words(text) if word not in KIND_WORDS)


def numbers(text):
    """The numbers in a name: "img_0007_v2" → (7, 2)."""
    return tuple(int(digits) for digits in re.findall(r"\d+", text))


def time_of(text) -> Optional[float]:
    """Seconds of the time in a name (a date with a time, a time with fractions, or 10 digits and more: seconds since
    1970 and their decimals); None without one."""
    if found := DATE.search(text):
        try:
            *date, fraction = found.groups()
            return datetime(*map(int, date), tzinfo=timezone.utc).timestamp() + float(f"0.{fraction or 0}")
        except ValueError:
            return None
    if found := EPOCH.search(text):
        return float(f"{found[1][:10]}.{found[1][10:]}{found[2] or ''}")
    if found := CLOCK.search(text):
        return int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3]) + float(f"0.{found[4]}")
    return None


def _rules(first, second, root):
    """Yield (how, whether the rule is weak, (keys of ``first``, keys of ``second``)); a key of None is none."""
    sides = [[stem(path) for path in paths] for paths in (first, second)]

    def both(function):
        return [function(texts) for texts in sides]

    for folders in (True, False) if root is not None else (False,):
        where = [[_folder(path, root) if folders else () for path in paths] for paths in (first, second)]

        def within(keys, where=where):
            return [[None if k is None else (w, k) for w, k in zip(*side)] for side in zip(where, keys)]

        yield "name", False, within(sides)
        yield "number", False, within(both(lambda texts: [numbers(text) or None for text in texts]))
        alone = () if folders else None  # "7/rgb.png" with "7/depth.png": the folder tells
        yield "word", False, within(both(lambda texts, alone=alone: [plain(text) or alone for text in texts]))
        times = both(lambda texts: [time_of(text) for text in texts])
        if all(time is not None for side in times for time in side):
            yield "time", False, within(_same_time(*times))
            continue  # parts of times, such as the seconds alone, are no names
        yield "number", True, within(both(_differing))


def _by_key(paths, keys):
    found: dict = {}
    for path, key in zip(paths, keys):
        if key is not None:
            found.setdefault(key, []).append(path)
    return found


def _folder(path, root):
    parts = path.relative_to(root).parts[:-1]
    return tuple(plain(part) for part in parts if plain(part))


def _differing(texts):
    """The numbers of each text at the places where the texts' numbers differ."""
    found = [numbers(text) for text in texts]
    columns = list(zip(*found)) if len({len(n) for n in found}) == 1 else []
    places = [i for i, column in enumerate(columns) if len(set(column)) > 1]
    return [tuple(n[i] for i in places) or None for n in found]


def _same_time(first, second):
    """Keys that are equal for times of ``first`` and ``second`` that are nearest to each other, and near."""
    steps = [b - a for side in (sorted(first), sorted(second)) for a, b in zip(side, side[1:])]
    reach = NEAR * min(steps) if steps else ALONE
    ordered = sorted(second)
    keys = {}
    for time in first:
        at = bisect.bisect(ordered, time)
        near = min(ordered[max(0, at - 1) : at + 1], key=lambda other: abs(other - time))
        if abs(near - time) <= reach:
            keys[time] = near
    return [keys.get(time) for time in first], second
