"""The pictures of a judged part that the page shows: the part with outlined regions, its depth, a normal part."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 672  # pixels; three times the networks' picture
OUTLINE, SHADOW = (255, 0, 200), (0, 0, 0)
QUALITY = 85  # of JPEG
PART, DEPTH, NORMAL = "part", "depth", "normal"


def draw(folder, judgement, inspector):
    """Write the pictures of a judgement into ``folder``; returns their names.

    Args:
        judgement: ``inspection.judgement.Judgement`` with a picture.
        inspector: that has made it, for the picture of a normal part.
    """
    from inspection.judged_parts import normal_picture
    from inspection.judged_pictures import depth_picture

    outlined = _square(judgement.picture)
    if judgement.map is not None:
        _outline(outlined, judgement)
    made = {PART: outlined, NORMAL: _square(normal_picture(judgement, inspector))}
    if judgement.cloud is not None:
        made[DEPTH] = depth_picture(judgement.cloud, SIDE)
    for name, picture in made.items():
        temporary = Path(folder) / f".{name}"
        picture.save(temporary, "JPEG", quality=QUALITY)
        temporary.replace(Path(folder) / f"{name}.jpg")
    return sorted(made)


def _square(picture):
    return Image.fromarray(np.ascontiguousarray(picture)).resize((SIDE, SIDE), Image.BICUBIC)


def _outline(picture, judgement):
    canvas, scale, font = ImageDraw.Draw(picture), SIDE / judgement.map.shape[0], ImageFont.load_default(26)
    for number, region in enumerate(judgement.regions, 1):
        for line in region.contours:
            points = [tuple(point) for point in (np.asarray(line) + 0.5) * scale]
            canvas.line(points, SHADOW, 9)
            canvas.line(points, OUTLINE, 5)
        left, top, right, _ = (value * scale for value in region.box)
        place = (min(right + 6, SIDE - 30), max(top - 8, 2))
        if number <= 9 and len(judgement.regions) > 1:
            canvas.text(place, str(number), OUTLINE, font, stroke_width=3, stroke_fill=SHADOW)
