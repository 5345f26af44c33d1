"""The picture of a judged part: a PNG that says PASS, FAIL or CANNOT JUDGE from three metres away and shows where."""

import textwrap
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from common.files import atomic_path
from inspection.judgement import Judgement, region_text
from inspection.regions import measured_pixels

SMALL, GAP, BANNER, BAR, TEXT, LINE = 400, 16, 140, 12, 20, 30  # pixels
LARGE = 2 * (SMALL + LINE)
PAPER, INK, WHITE, UNMEASURED = (255, 255, 255), (20, 20, 20), (255, 255, 255), (70, 70, 70)
OUTLINE = (255, 0, 200)
VERDICT_COLOURS = {"pass": (0, 120, 40), "fail": (190, 0, 0), "cannot judge": (176, 106, 0)}
SHOWN = 5  # regions that are described; the rest is counted
LEAST_MM = 0.5  # the colour scale of deviations reaches at least so far


def draw_judgement(path: Path, title: str, judgement: Judgement, normal: NDArray[Any] | None = None) -> None:
    """Write a PNG of a judged part: verdict, the part with its regions, how it deviates, and the picture [S, S, 3]
    uint8 of a ``normal`` part in the same frame."""
    lines = _lines(judgement)
    width, height = 3 * GAP + LARGE + SMALL, BANNER + LARGE + (len(lines) + 1) * LINE + 2 * GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((0, 0, width, BANNER), VERDICT_COLOURS[judgement.verdict])
    draw.text((GAP, 0), judgement.verdict.upper(), WHITE, _font(84, bold=True))
    if judgement.score is not None:
        title += f"   score {judgement.score:.3g}, limit {judgement.threshold:.3g}, p {judgement.p_value:.2g}"
    title = title.encode("utf-8", "replace").decode()  # a file's name may hold bytes that are no UTF-8
    while draw.textlength(title, _font(TEXT)) > width - 2 * GAP:
        title = "…" + title[2:]  # of a long path the end tells more
    draw.text((GAP, BANNER - 34), title, WHITE, _font(TEXT))
    top, left = BANNER + GAP, 2 * GAP + LARGE
    sheet.paste(outlined(judgement), (GAP, top))
    for text, panel in _side(judgement, normal):
        draw.text((left, top), text, INK, _font(TEXT - 3))
        sheet.paste(panel, (left, top + LINE))
        top += SMALL + LINE
    for number, line in enumerate(lines):
        draw.text((GAP, BANNER + LARGE + 2 * GAP + number * LINE), line, INK, _font(TEXT))
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG")


def _lines(judgement: Judgement) -> list[str]:
    """What is said below the pictures: the regions, one line each, or why there is none."""
    if not judgement.regions:
        return textwrap.wrap(judgement.reason or judgement.explanation.text, width=(LARGE + SMALL) // 11)
    lines = [f"{n}  {region_text(region)}" for n, region in enumerate(judgement.regions[:SHOWN], 1)]
    more = len(judgement.regions) - SHOWN
    lines += [f"and {more} more region{'s' * (more > 1)}"] if more > 0 else []
    doubt = judgement.explanation.text.rpartition("; the pose is not certain")
    lines += [f"the pose is not certain{doubt[2]}"] if doubt[1] else []
    return [part for line in lines for part in textwrap.wrap(line, width=(LARGE + SMALL) // 11)]


def _side(judgement: Judgement, normal: NDArray[Any] | None) -> Iterator[tuple[str, Image.Image]]:
    """Yield (title, panel) beside the part: how it deviates, and a normal part."""
    if judgement.height_mm is not None:
        values = judgement.height_mm
        limit = max(LEAST_MM, float(np.nanpercentile(np.abs(values), 99.8)))
        panel = _coloured(values / (2 * limit) + 0.5, ~np.isnan(values), "RdBu_r", SMALL)
        bar = np.tile(np.linspace(0, 1, SMALL), (BAR, 1))
        panel.paste(_coloured(bar, bar >= 0, "RdBu_r", (SMALL, BAR)), (0, SMALL - BAR))
        yield f"height: −{limit:.1f} mm blue, +{limit:.1f} mm red", panel
    elif judgement.cloud is not None:
        yield "cloud: depth, near is bright", depth_picture(judgement.cloud)
    if normal is not None:
        yield "a normal part", _resized(normal, SMALL)


def depth_picture(cloud: NDArray[Any], size: int = SMALL) -> Image.Image:
    """A cloud's depth in colour as a PIL picture: near is bright, grey is not measured."""
    there, z = measured_pixels(cloud), cloud[..., 2]
    low, high = np.quantile(z[there], (0.01, 0.99)) if there.any() else (0.0, 1.0)
    return _coloured((high - z) / max(high - low, 1e-9), there, "viridis", size)


def _coloured(shades: NDArray[Any], there: NDArray[np.bool_], colours: str, size: int | tuple[int, int]) -> Image.Image:
    """Of shades [H, W] from 0 to 1; grey where they are not ``there``."""
    from matplotlib import colormaps  # slow to load, and without pictures nothing needs it

    picture = np.asarray(colormaps[colours](np.nan_to_num(np.clip(shades, 0, 1)))[..., :3] * 255)
    return _resized(np.where(np.expand_dims(there, -1), picture, UNMEASURED).astype(np.uint8), size)


def outlined(judgement: Judgement, side: int = LARGE) -> Image.Image:
    """The part as a PIL picture [side, side], with numbered outlines of its regions."""
    panel, scale = _resized(judgement.picture, side), 1.0 if judgement.map is None else side / len(judgement.map)
    draw, taken = ImageDraw.Draw(panel), list[tuple[float, float]]()
    for number, region in enumerate(judgement.regions, 1):
        for line in region.contours:
            draw.line([tuple(point) for point in (np.asarray(line) + 0.5) * scale], OUTLINE, 4)
        if number <= SHOWN:
            x, y = min(max(region.box[2] * scale + 4, 0), side - 28), max(region.box[1] * scale - 8, 0)
            while any(abs(x - other[0]) < 24 and abs(y - other[1]) < 34 for other in taken):
                y += 34
            taken.append((x, min(y, side - 40)))
            draw.text(taken[-1], str(number), OUTLINE, _font(32), stroke_width=2, stroke_fill=WHITE)
    return panel


def _resized(picture: NDArray[Any] | None, size: int | tuple[int, int]) -> Image.Image:
    size = (size, size) if isinstance(size, int) else size
    return Image.fromarray(np.ascontiguousarray(picture, np.uint8)).resize(size, Image.Resampling.BILINEAR)


@lru_cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    from matplotlib import get_data_path

    fonts = Path(get_data_path()) / "fonts" / "ttf"  # DejaVu has every sign of the texts
    return ImageFont.truetype(fonts / f"DejaVuSans{'-Bold' * bold}.ttf", size)
