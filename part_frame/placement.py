"""Where the parts lie: settled once from the training parts, then the same for every scan.

The fit learns how the part is found, the frame's size, whether the parts have to be turned and shifted into one pose,
the reference that they are turned to, and what is usual (size, distance between points, share of the border). ``place``
then lays any scan of such a part into the frame, or says why it cannot be judged.
"""

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from part_frame.comparison import Appearance, appearance
from part_frame.finding import PICTURE, TABLE, VALID, VIEW, NotFound, find_part, measured
from part_frame.frame import Frame, Laid, Pose, around, coordinates, lay, spacing_of
from part_frame.light import Light, fault, light_of, usual
from part_frame.pose import FINE, Image, Noise, Registration, image_of, warped, without

NONE, SMALL, FREE = "none", "small turns", "free turns"
ALIGNED = "aligned"  # asks for SMALL or FREE, whichever fits better
TURNS = {SMALL: 30.0, FREE: 180.0}  # degrees
PAYS = 0.85  # an alignment is used if it leaves less than this share of what differs without it
SHOWN = 0.01  # mm, degrees: a finer repeatability of the registration says nothing about a part
REPEATS = 3.0  # degrees: turns that two halves of the parts do not agree on better are no poses
ROUNDS = 3  # of registration to the mean of the parts
MARGIN = 0.06  # of the part's length: added on each side of the frame
NO_PART, TWO_PARTS = 0.05, 1.6  # of the usual area: less is no part, more in two pieces is two
SAME_SIZE = 0.6  # two pieces of at least this share of a usual part are two parts
SPACING = 1.25  # points this much closer or farther apart than at the fit: another camera or distance
TOUCHES = 0.02  # of the border: a part that covers this much more of it than any training part is cut off
CONFIDENT = 0.25  # of the least difference between the two best turns of the training parts
NOISE_FLOOR = 0.05, 0.02  # mm, logarithm: of the reference
FIRST_NOISE = Noise(*(np.float32(2 * floor) for floor in NOISE_FLOOR))  # before the parts have shown theirs
DEPTH_FOOT = 2.0  # percentile of the heights of a part without a table that stands for its foot
HOW = {
    TABLE: "the part is what lies above the table",
    VALID: "the part is where there are points (the background was cut out)",
    PICTURE: "the part is what the picture shows on its background",
    VIEW: "the part fills the view",
}


class CannotPlace(Exception):
    """The scan cannot be laid into the frame; the text is one clear line for the person at the line."""


class Staged(NamedTuple):
    """A scan whose part was found: ``places`` [h, w, 3] mm and ``mask`` [h, w] around the part, the ``corner`` of these
    in the cloud of ``shape``, the part's middle as a Pose, and the picture."""

    rgb: np.ndarray
    places: np.ndarray
    mask: np.ndarray
    middle: Pose
    spacing: float
    area: float
    pieces: tuple
    border: float
    corner: tuple
    shape: tuple


class Placed(NamedTuple):
    """A scan in the frame: its Laid, picture [P, P, 3] uint8, Appearance; ``cost``: how far it is from the reference,
    in noise widths; ``doubt``: a sentence if the pose is not certain, else ""; ``shape``: (h, w) of the cloud."""

    laid: Laid
    picture: np.ndarray
    appearance: Appearance
    cost: float
    doubt: str
    shape: tuple


@dataclass(frozen=True)
class Placement:
    """What the fit settled about where parts lie.

    Attributes:
        way: how the part is found, see ``finding``.
        frame: Frame.
        picture: cells per side of the picture in the frame.
        alignment: NONE, SMALL or FREE.
        centre: (x, y) of the frame in mm, where the way is VIEW; else (0, 0), the part's own middle counts.
        area, border: usual area in mm² (median), largest share of the view's border.
        margin: least difference in cost between the two best turns of training parts; infinity where there was one.
        repeats: (mm, degrees) by which two references, each of half of the parts, differ in the pose, or None.
        reference, noise: Image and Noise of the training parts; None if not aligned.
        light: usual Light of the training pictures; pictures too unlike it cannot be compared.
        still: Image that stays in the view while parts turn freely; it is taken away before they are compared.
    """

    way: str
    frame: Frame
    picture: int
    alignment: str
    centre: tuple = (0.0, 0.0)
    area: float = 0.0
    border: float = 0.0
    margin: float = np.inf
    repeats: tuple | None = None
    reference: Image | None = None
    noise: Noise | None = None
    still: Image | None = None
    light: Light | None = None

    def __post_init__(self):
        registration = None
        if self.reference is not None:
            pitch = self.frame.side / FINE
            registration = Registration(self.reference, self.noise, TURNS[self.alignment], pitch)
        object.__setattr__(self, "_registration", registration)

    def describe(self):
        """Sentences on what was settled, for the person who fits."""
        frame, how = self.frame, HOW.get(self.way, HOW[PICTURE])
        text = f"{how}; frame {frame.side:.0f} mm wide, {frame.pitch:.2f} mm per cell"
        text += f" (points are {frame.spacing:.2f} mm apart)"
        if self.alignment == NONE:
            return text + "; parts are not turned: they do not have one shape that can be laid onto another"
        shift, turn = (max(of, SHOWN) for of in self.repeats)
        return text + (
            f"; parts {'turn freely' if self.alignment == FREE else 'turn a little'}; registration repeats to "
            f"{shift:.2g} mm and {turn:.2g}°"
        )

    def place(self, rgb, xyz, pose=None):
        """The :class:`Placed` of a raw scan.

        Args:
            rgb: [H, W, 3] uint8.
            xyz: [h, w, 3] mm, 0 or not finite where nothing was measured.
            pose: its Pose where that is known already (of a training part); None: it is found.

        Raises CannotPlace: there is no part, or two, or it is cut off, or the points are not as dense as at the fit.
        """
        staged = self._checked(_stage(rgb, xyz, self.way))
        middle = Pose(*self.centre) if self.way == VIEW else staged.middle
        laid, picture = self.lay(staged, middle if pose is None else pose)
        unlike = self.light and fault(self._light(laid, picture), self.light)
        if unlike:
            raise CannotPlace(unlike)
        if self._registration is None or pose is not None:
            return Placed(laid, picture, appearance(laid, picture), 0.0, "", staged.shape)
        found = self._registration.find(without(image_of(laid, picture), self.still), middle)
        laid, picture = self.lay(staged, found.pose)
        doubt = ""
        if found.second - found.cost < CONFIDENT * self.margin and np.isfinite(self.margin):
            doubt = f"the pose is not certain: turned by {found.turn:.0f}° it fits nearly as well"
        return Placed(laid, picture, appearance(laid, picture), found.cost, doubt, staged.shape)

    # ------------------------------------------------------------ as arrays

    def state(self):
        """({name: array}, JSON-able dict) from which :meth:`restored` makes it again."""
        facts = {
            name: getattr(self, name) for name in ("way", "picture", "alignment", "centre", "area", "border", "repeats")
        }
        facts["light"] = self.light and self.light._asdict()
        facts.update(frame=self.frame._asdict(), margin=self.margin if np.isfinite(self.margin) else None)
        arrays = {}
        for name in ("reference", "noise", "still"):
            of = getattr(self, name)
            if of is not None:
                arrays.update({f"{name}.{field}": np.asarray(getattr(of, field), np.float32) for field in of._fields})
        return arrays, facts

    @classmethod
    def restored(cls, arrays, facts):
        """The Placement of a :meth:`state`.
        Raises KeyError, TypeError: something is missing."""
        images = {}
        for name, kind in (("reference", Image), ("noise", Noise), ("still", Image)):
            if f"{name}.{kind._fields[0]}" in arrays:
                images[name] = kind(*(np.array(arrays[f"{name}.{field}"]) for field in kind._fields))
        known = dict(facts)
        known.update(
            frame=Frame(**facts["frame"]),
            margin=np.inf if facts["margin"] is None else facts["margin"],
            centre=tuple(facts["centre"]),
            light=facts["light"]
            and Light(**{k: tuple(v) if isinstance(v, list) else v for k, v in facts["light"].items()}),
            repeats=facts["repeats"] and tuple(facts["repeats"]),
        )
        return cls(**known, **images)

    # ------------------------------------------------------------ steps of ``place``

    def lay(self, staged, pose):
        """(Laid, picture) of a Staged scan at a Pose."""
        laid = lay(staged.places, staged.mask, self.frame, pose, staged.corner, staged.shape)
        return laid, laid.picture(staged.rgb, self.picture, staged.shape)

    def _light(self, laid, picture):
        return light_of(picture, laid.part, laid.seen, self.way in (TABLE, PICTURE))

    def _checked(self, staged):
        if self.way == VIEW:
            return staged
        share = staged.area / self.area
        if share < NO_PART:
            raise CannotPlace(f"no part: what is found covers {staged.area:.0f} mm², a part about {self.area:.0f} mm²")
        second = staged.pieces[1] / sum(staged.pieces) * share if len(staged.pieces) > 1 else 0
        if share > TWO_PARTS and second > SAME_SIZE:
            raise CannotPlace(
                f"more than one part is in view: {len(staged.pieces)} pieces, together {share:.1f} times a part's area"
            )
        if staged.border > self.border + TOUCHES:
            raise CannotPlace("the part is cut off by the edge of the view")
        ratio = staged.spacing / self.frame.spacing
        if not 1 / SPACING < ratio < SPACING:
            raise CannotPlace(
                f"points on the part are {staged.spacing:.2f} mm apart, at the fit {self.frame.spacing:.2f} mm: "
                "another camera, resolution, distance or unit"
            )
        return staged


def _stage(rgb, xyz, way):
    """The Staged of a raw scan; raises CannotPlace if no part is found."""
    there = measured(xyz)
    try:
        found = find_part(rgb, xyz, way)
    except NotFound as error:
        raise CannotPlace(str(error)) from None
    window = around(found.mask)
    there, whole = there[window], found.mask[window]
    places = coordinates(xyz[window], found, there)
    mask = whole & there if found.way != VIEW else there
    inside = places[mask]
    if not len(inside):
        raise CannotPlace("no part: it has no measured point")
    if found.way == VALID:  # heights count from the part's foot, so that background at 0 is like a table
        foot = np.percentile(inside[:, 2], DEPTH_FOOT)
        places[..., 2] -= foot
    spacing = spacing_of(places, mask)
    middle = Pose(float(inside[:, 0].mean()), float(inside[:, 1].mean()))
    facts = middle, spacing, float(whole.sum() * spacing**2), found.pieces, found.border
    return Staged(rgb, places, whole, *facts, (window[0].start, window[1].start), found.mask.shape)


def learn(scans, cells, picture, alignment=None):
    """The :class:`Placement` of training parts, and each part laid into it.

    Args:
        scans: function () → iterable of (name, rgb [H, W, 3] uint8, xyz [h, w, 3] mm); called once.
        cells, picture: cells per side of the frame, and of the picture in it.
        alignment: NONE or ALIGNED to force it; None: what the parts show.

    Returns:
        (Placement, [(name, Staged, Pose)], [(name, reason)] of parts in which no part was found).

    Raises CannotPlace: no part is found in any scan.
    """
    scans = list(scans())
    way = _common_way(scans)
    staged, lost = [], []
    for name, rgb, xyz in scans:
        try:
            staged.append((name, _stage(rgb, xyz, way)))
        except CannotPlace as error:
            lost.append((name, str(error)))
    if not staged:
        raise CannotPlace(lost[0][1])
    parts = [part for _, part in staged]
    spacing = float(np.median([part.spacing for part in parts]))
    base = Placement(
        way,
        Frame(cells, _side(parts, way, None) / cells, spacing),
        picture,
        NONE,
        area=float(np.median([part.area for part in parts])),
        border=max(part.border for part in parts),
    )
    if way == VIEW:
        middle = np.median([part.middle[:2] for part in parts], 0)
        placement = dataclasses.replace(base, centre=(float(middle[0]), float(middle[1])))
        poses = [Pose(*placement.centre)] * len(parts)
    else:
        placement, poses = _aligned(base, parts, alignment)
        placement = dataclasses.replace(placement, frame=Frame(cells, _side(parts, way, poses) / cells, spacing))
        if placement.alignment != NONE:  # the reference anew, in the frame's final size
            placement, poses, _ = _register(placement, parts, _images(placement, parts), placement.alignment)
    lights = [placement._light(*placement.lay(part, pose)) for part, pose in zip(parts, poses)]
    placed = [(name, part, pose) for (name, part), pose in zip(staged, poses)]
    return dataclasses.replace(placement, light=usual(lights)), placed, lost


def _images(placement, parts):
    """Images of the parts, laid around their middles and not turned."""
    return [image_of(*placement.lay(part, part.middle)) for part in parts]


def _common_way(scans):
    """The way by which most parts are found."""
    ways = Counter()
    for _, rgb, xyz in scans:
        try:
            ways[find_part(rgb, xyz).way] += 1
        except NotFound:
            ways[None] += 1
    return ways.most_common(1)[0][0]


def _side(parts, way, poses):
    """Length of the frame's side in mm: it holds every part in its pose (in any, if it is not known), with a margin."""
    reach = []
    for k, part in enumerate(parts):
        pose = part.middle if poses is None else poses[k]
        x, y = (part.places[part.mask][:, i] - c for i, c in ((0, pose.x), (1, pose.y)))
        if poses is None and way != VIEW:
            reach.append(np.nanpercentile(np.hypot(x, y), 99.8))
        else:
            angle = np.deg2rad(pose.angle)
            turned = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
            reach.append(max(np.nanpercentile(np.abs(a), 99.8) for a in turned))
    return 2 * float(max(reach)) * (1 + 2 * MARGIN)


def _aligned(base, parts, forced):
    """(Placement, poses): as much turn as pays, by what differs between the parts afterwards."""
    middles = [part.middle for part in parts]
    if len(parts) < 2 or forced == NONE:
        return base, middles
    images = _images(base, parts)
    tried = {a: _register(base, parts, images, a) for a in (SMALL, FREE)}
    still = tried[FREE][0].still
    bare = [without(one, still) for one in images]  # light that stays while parts turn must not speak for small turns
    small, free = (_cost(bare, tried[a][2], base.frame.side / FINE) for a in (SMALL, FREE))
    choice = FREE if _span(tried[FREE][1]) > TURNS[SMALL] and free < small + np.log(PAYS) else SMALL
    placement, poses, warps = tried[choice]
    shown = images if choice == SMALL else bare
    left, differs = _differs(shown), _differs([warped(one, w) for one, w in zip(shown, warps)])
    sure = placement.repeats[1] < REPEATS or differs < PAYS**2 * left  # equal poses do not repeat, but pay
    return (placement, poses) if forced == ALIGNED or (differs < PAYS * left and sure) else (base, middles)


def _cost(images, warps, pitch):
    """Median cost of the parts at their warps, each against the mean of the others."""
    laid = [warped(one, warp) for one, warp in zip(images, warps)]
    return float(
        np.median(
            [
                Registration(_mean_without(laid, k), FIRST_NOISE, 0.0, pitch).cost(one, warp)
                for k, (one, warp) in enumerate(zip(images, warps))
            ]
        )
    )


def _span(poses):
    """Largest turn in degrees between a pose and the middle of all."""
    angles = np.deg2rad([pose.angle for pose in poses])
    middle = np.arctan2(np.sin(angles).mean(), np.cos(angles).mean())
    return float(np.rad2deg(np.abs(np.angle(np.exp(1j * (angles - middle)))).max()))


def _register(base, parts, images, alignment):
    """(Placement with a reference, poses, warps) from the Images of the parts."""
    pitch, turns, still = base.frame.side / FINE, TURNS[alignment], None
    if alignment == FREE:
        nothing = np.zeros_like(images[0].part)
        # the median: where a few parts happen to lie alike, their print stands in a mean, and would be taken for light
        still = Image(nothing, np.median([one.light for one in images], 0).astype(np.float32), nothing)
        images = [without(one, still) for one in images]
    noise = FIRST_NOISE
    tried = []  # poses relative to the training part that the others are most like, of the first few
    for first in images[:3]:
        registration = Registration(first, noise, turns, pitch)
        tried.append([registration.find(one, part.middle) for one, part in zip(images, parts)])
    found = min(tried, key=lambda poses: float(np.median([of.cost for of in poses])))
    laid = [warped(one, of.warp) for one, of in zip(images, found)]
    for _ in range(ROUNDS):
        found = [  # each against the mean of the others
            Registration(_mean_without(laid, k), noise, turns, pitch).find(one, part.middle)
            for k, (one, part) in enumerate(zip(images, parts))
        ]
        laid = [warped(one, of.warp) for one, of in zip(images, found)]
        mean, few = _mean(laid), np.sqrt((len(parts) + 1) / max(len(parts) - 1, 1))
        residuals = (np.sqrt(np.mean([(of[k] - mean[k]) ** 2 for of in laid], 0)) * few for k in (0, 1))
        noise = Noise(*(_noise_map(r, mean.part, floor) for r, floor in zip(residuals, NOISE_FLOOR)))
    placement = dataclasses.replace(
        base,
        alignment=alignment,
        reference=mean,
        noise=noise,
        still=still,
        margin=min((of.second - of.cost for of in found if np.isfinite(of.second)), default=np.inf),
        repeats=_repeats(parts, images, laid, alignment, noise, pitch),
    )
    return placement, [of.pose for of in found], [of.warp for of in found]


def _repeats(parts, images, laid, alignment, noise, pitch):
    """(mm, degrees): difference between a part's poses relative to two references, each of half of the others: the
    median of the shifts, and what 80 % of the turns stay below."""
    turns, shifts = [], []
    for k, (one, part) in enumerate(zip(images, parts)):
        halves = [[laid[j] for j in range(len(parts)) if j != k and j % 2 == half] for half in (0, 1)]
        if not all(halves):
            return (0.0, 0.0)  # two or three parts have no two halves
        first, second = (
            Registration(_mean(half), noise, TURNS[alignment], pitch).find(one, part.middle).pose for half in halves
        )
        turns.append(abs((first.angle - second.angle + 180) % 360 - 180))
        shifts.append(np.hypot(first.x - second.x, first.y - second.y))
    return float(np.median(shifts)), float(np.percentile(turns, 80))


def _mean(images):
    return Image(*(np.mean(of, 0).astype(np.float32) for of in zip(*images)))


def _mean_without(images, k):
    return _mean(images[:k] + images[k + 1 :])


def _differs(images):
    """Share of the parts' height and light that is not common to them, 0 to about 1."""
    where = np.mean([one.part for one in images], 0) > 0.2
    shares = []
    for name in ("height", "light"):
        values = np.stack([getattr(one, name)[where] for one in images])
        shares.append(float(values.var(0).mean() / max(values.var(), 1e-12)))
    return float(np.mean(shares))


def _noise_map(residual, part, floor):
    """Spread per cell: at least the median on the part, so that few parts do not look certain anywhere."""
    usual = float(np.median(residual[part > 0.5])) if (part > 0.5).any() else floor
    return np.maximum(residual, max(usual, floor)).astype(np.float32)
