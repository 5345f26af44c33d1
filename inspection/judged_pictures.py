"""Files to look at for a judged part: a PNG that says PASS, FAIL or CANNOT JUDGE from three metres away and shows
where; a PLY with the coloured cloud."""

import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.files import atomic_path
from inspection.judgement import region_text
from inspection.regions import measured_pixels

LARGE, SMALL, GAP, BANNER, TEXT, LINE = 720, 400, 16, 132, 20, 27  # pixels
PAPER, INK, WHITE, UNMEASURED = (255, 255, 255), (20, 20, 20), (255, 255, 255), (70, 70, 70)
OUTLINE = (255, 0, 200)
VERDICT_COLOURS = {"pass": (0, 120, 40), "fail": (190, 0, 0), "cannot judge": (176, 106, 0)}
SHOWN = 5  # regions that are described; the rest is counted
LEAST_MM = 0.5  # the colour scale of deviations reaches at least so far


def draw_judgement(path, title, judgement, normal=None):
    """Write a PNG of a judged part: verdict, the part with its regions, how it deviates, and a normal part.

    Args:
        path: the PNG to write.
        title: the part's name.
        judgement: ``inspection.judgement.Judgement``.
        normal: picture [S, S, 3] uint8 of a normal part in the same frame; None: the panel is left out.
    """
    lines = _lines(judgement)
    width = 3 * GAP + LARGE + SMALL
    height = BANNER + max(LARGE, 2 * (SMALL + LINE)) + (len(lines) + 1) * LINE + 3 * GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    _banner(draw, width, title, judgement)
    top = BANNER + GAP
    sheet.paste(_overlay(judgement), (GAP, top))
    left = 2 * GAP + LARGE
    for text, panel in _side(judgement, normal):
        draw.text((left, top), text, INK, _font(TEXT - 2))
        sheet.paste(panel, (left, top + LINE))
        top += SMALL + LINE + GAP // 2
    top = BANNER + max(LARGE, 2 * (SMALL + LINE)) + 2 * GAP
    for number, line in enumerate(lines):
        draw.text((GAP, top + number * LINE), _plain(line), INK, _font(TEXT))
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG")


def _banner(draw, width, title, judgement):
    draw.rectangle((0, 0, width, BANNER), VERDICT_COLOURS[judgement.verdict])
    draw.text((GAP, 8), judgement.verdict.upper(), WHITE, _font(84))
    line = _plain(title)
    if judgement.score is not None:
        line += f"   score {judgement.score:.3g}, limit {judgement.threshold:.3g}, p {judgement.p_value:.2g}"
    draw.text((GAP, BANNER - 30), line, WHITE, _font(TEXT))


def _lines(judgement):
    """What is said below the pictures: the regions, one line each, or why there is none."""
    if not judgement.regions:
        return textwrap.wrap(judgement.reason or judgement.explanation.text, width=(LARGE + SMALL) // 10)
    lines = [f"{n}  {region_text(region)}" for n, region in enumerate(judgement.regions[:SHOWN], 1)]
    more = len(judgement.regions) - SHOWN
    lines += [f"and {more} more region{'s' * (more > 1)}"] if more > 0 else []
    doubt = judgement.explanation.text.rpartition("; the pose is not certain")
    lines += [f"the pose is not certain{doubt[2]}"] if doubt[1] else []
    return [part for line in lines for part in textwrap.wrap(line, width=(LARGE + SMALL) // 10)]


def _side(judgement, normal):
    """[(title, panel)] beside the part: how it deviates, and a normal part."""
    if judgement.height_mm is not None:
        limit = max(LEAST_MM, float(np.nanpercentile(np.abs(judgement.height_mm), 99.8)))
        yield f"height against good parts: blue {-limit:.1f} to red +{limit:.1f} mm", _deviation(judgement, limit)
    elif judgement.cloud is not None:
        yield "cloud: depth, near is bright", depth_picture(judgement.cloud)
    if normal is not None:
        yield "a normal part", _resized(normal, SMALL)


def _deviation(judgement, limit):
    import matplotlib

    values = judgement.height_mm
    shade = np.nan_to_num(values / (2 * limit) + 0.5, nan=0.5)
    colours = (matplotlib.colormaps["RdBu_r"](np.clip(shade, 0, 1))[..., :3] * 255).astype(np.uint8)
    colours[np.isnan(values)] = UNMEASURED
    return _resized(colours, SMALL)


def depth_picture(cloud, size=SMALL):
    """A cloud's depth in colour as a PIL picture: near is bright, grey is not measured."""
    import matplotlib

    there = measured_pixels(cloud)
    z = cloud[..., 2]
    colours = np.full((*z.shape, 3), UNMEASURED, np.uint8)
    if there.any():
        low, high = np.quantile(z[there], (0.01, 0.99))
        shade = np.clip((high - z) / max(high - low, 1e-9), 0, 1)
        colours[there] = (matplotlib.colormaps["viridis"](shade[there])[:, :3] * 255).astype(np.uint8)
    return _resized(colours, size)


def write_ply(path, judgement):
    """Write the part's cloud as PLY in metres, with the picture's colours and the anomaly map blended in.

    Args:
        judgement: ``inspection.judgement.Judgement``.
    """
    import matplotlib
    import trimesh

    cloud, there = judgement.cloud, measured_pixels(judgement.cloud)
    size = cloud.shape[1], cloud.shape[0]
    colours = np.asarray(Image.fromarray(judgement.picture).resize(size, Image.BILINEAR))
    if judgement.map is not None:
        low, high = float(np.median(judgement.map)), judgement.pixel_threshold
        heat = np.clip((judgement.map - low) / max(high - low, 1e-30), 0, 1)[..., None] ** 2
        hot = matplotlib.colormaps["inferno"](0.25 + 0.6 * heat[..., 0])[..., :3] * 255
        colours = (colours * (1 - 0.65 * heat) + hot * 0.65 * heat).astype(np.uint8)
    content = trimesh.PointCloud(cloud[there], colours[there]).export(file_type="ply")
    with atomic_path(path) as temporary:
        Path(temporary).write_bytes(content)


def _overlay(judgement):
    """The part, large, with numbered outlines of its regions."""
    panel = _resized(judgement.picture, LARGE)
    draw = ImageDraw.Draw(panel)
    for number, region in enumerate(judgement.regions, 1):
        scale = LARGE / judgement.map.shape[0]
        for line in region.contours:
            draw.line([tuple(point) for point in (np.asarray(line) + 0.5) * scale], OUTLINE, 4)
        if number <= SHOWN:
            x, y = region.box[2] * scale + 4, region.box[1] * scale - 8
            spot = min(max(x, 0), LARGE - 28), min(max(y, 0), LARGE - 36)
            draw.text(spot, str(number), OUTLINE, _font(32), stroke_width=2, stroke_fill=WHITE)
    return panel


def _resized(picture, size):
    return Image.fromarray(np.ascontiguousarray(picture)).resize((size, size), Image.BILINEAR)


def _font(size):
    return ImageFont.load_default(size)


def _plain(text):
    """``text`` without the characters that the built-in font lacks."""
    for sign, plain in (("mm²", "square mm"), ("–", "-"), ("−", "-"), ("°", " degrees"), ("…", "..."), ("±", "+/-")):
        text = text.replace(sign, plain)
    return text.encode("latin-1", "replace").decode("latin-1")
