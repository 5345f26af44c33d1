"""Files to look at for a judged part: a PNG with picture, cloud, map with outlines and matched normal part; a PLY with
the coloured cloud."""

import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.files import atomic_path
from inspection.regions import measured_pixels

PANEL, GAP, TEXT = 336, 12, 15  # pixels
PAPER, INK, UNMEASURED = (255, 255, 255), (20, 20, 20), (70, 70, 70)
OUTLINE, MARK = (255, 0, 200), (0, 220, 90)
VERDICT_COLOURS = {"pass": (0, 120, 40), "fail": (190, 0, 0), "cannot judge": (150, 90, 0)}
TITLES = ("picture", "cloud: depth", "map and outlines", "nearest normal part")


def draw_judgement(path, title, judgement, matched=None):
    """Write a PNG of a judged part.

    Args:
        path: the PNG to write.
        title: the part's name.
        judgement: ``inspection.judgement.Judgement``.
        matched: picture [224, 224, 3] uint8 of the training part that has the patch nearest to the first region; None:
            the panel is left out.
    """
    panels = [_resized(judgement.picture), depth_picture(judgement.cloud)]
    if judgement.map is not None:
        panels.append(_overlay(judgement))
    if matched is not None:
        panels.append(_matched(matched, judgement))
    font = ImageFont.load_default(TEXT)
    numbers = (
        ""
        if judgement.score is None
        else (f", p {judgement.p_value:.3g}, score {judgement.score:.4g}, threshold {judgement.threshold:.4g}")
    )
    width = len(TITLES) * (PANEL + GAP) + GAP
    below = textwrap.wrap(judgement.explanation.text, width=width // 8)
    height = 4 * GAP + 2 * (TEXT + 6) + PANEL + len(below) * (TEXT + 4)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), _plain(title), INK, font)
    draw.text((GAP, GAP + TEXT + 4), judgement.verdict + numbers, VERDICT_COLOURS[judgement.verdict], font)
    top = 2 * GAP + 2 * (TEXT + 4)
    for number, panel in enumerate(panels):
        left = GAP + number * (PANEL + GAP)
        draw.text((left, top), TITLES[number], INK, font)
        sheet.paste(panel, (left, top + TEXT + 4))
    for number, line in enumerate(below):
        draw.text((GAP, top + TEXT + PANEL + GAP + number * (TEXT + 4)), _plain(line), INK, font)
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG")


def depth_picture(cloud):
    """A cloud's depth in colour as a PIL picture: near is bright, grey is not measured."""
    import matplotlib

    there = measured_pixels(cloud)
    z = cloud[..., 2]
    colours = np.full((*z.shape, 3), UNMEASURED, np.uint8)
    if there.any():
        low, high = np.quantile(z[there], (0.01, 0.99))
        shade = np.clip((high - z) / max(high - low, 1e-9), 0, 1)
        colours[there] = (matplotlib.colormaps["viridis"](shade[there])[:, :3] * 255).astype(np.uint8)
    return _resized(colours)


def write_ply(path, judgement):
    """Write the part's cloud as PLY in metres, with the picture's colours and the anomaly map blended in.

    Args:
        judgement: ``inspection.judgement.Judgement``.
    """
    import trimesh

    cloud, there = judgement.cloud, measured_pixels(judgement.cloud)
    size = cloud.shape[1], cloud.shape[0]
    colours = np.asarray(Image.fromarray(judgement.picture).resize(size, Image.BILINEAR))
    if judgement.map is not None:
        colours = _heated(colours, judgement)
    points = trimesh.PointCloud(cloud[there], colours[there])
    content = points.export(file_type="ply")
    with atomic_path(path) as temporary:
        Path(temporary).write_bytes(content)


def _heated(picture, judgement):
    """``picture`` (of the map's size) with heat colours blended in. The heat rises from the map's median, where it is
    0, to the pixel threshold, from which on it is full."""
    import matplotlib

    low, high = float(np.median(judgement.map)), judgement.pixel_threshold
    heat = np.clip((judgement.map - low) / max(high - low, 1e-30), 0, 1)[..., None] ** 2
    colours = matplotlib.colormaps["inferno"](0.25 + 0.6 * heat[..., 0])[..., :3] * 255
    return (picture * (1 - 0.65 * heat) + colours * 0.65 * heat).astype(np.uint8)


def _overlay(judgement):
    size = judgement.map.shape[1], judgement.map.shape[0]
    picture = np.asarray(Image.fromarray(judgement.picture).resize(size, Image.BILINEAR))
    panel = _resized(_heated(picture, judgement))
    draw = ImageDraw.Draw(panel)
    scale = PANEL / judgement.map.shape[0]
    for region in judgement.regions:
        for line in region.contours:
            draw.line([tuple(point) for point in (np.asarray(line) + 0.5) * scale], OUTLINE, 2)
    if judgement.regions:
        _mark(draw, judgement.regions[0].place, scale)
    return panel


def _matched(picture, judgement):
    panel = _resized(picture)
    match = judgement.regions[0].nearest if judgement.regions else None
    if match is not None and match.place is not None:
        _mark(ImageDraw.Draw(panel), match.place, PANEL / judgement.map.shape[0])
    return panel


def _mark(draw, place, scale):
    y, x = ((p + 0.5) * scale for p in place)
    draw.ellipse((x - 9, y - 9, x + 9, y + 9), outline=MARK, width=2)


def _resized(picture):
    return Image.fromarray(np.ascontiguousarray(picture)).resize((PANEL, PANEL), Image.BILINEAR)


def _plain(text):
    """``text`` without the characters that the built-in font lacks."""
    for sign, plain in (("mm²", "square mm"), ("–", "-"), ("°", " degrees"), ("…", "...")):
        text = text.replace(sign, plain)
    return text.encode("latin-1", "replace").decode("latin-1")
