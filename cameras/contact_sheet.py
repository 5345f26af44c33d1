"""A contact sheet: each part's picture, its depth in colour, and the scan's outline drawn on the picture.

It lets a person see whether picture and scan fit.
"""

from concurrent.futures import ProcessPoolExecutor
from itertools import islice, repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from tqdm import tqdm

from cameras.part_size import part_pixels, part_size, size_text
from common.files import atomic_path
from common.signals import begin_worker, beginning_workers

LINE, DEFECT, MISSING = (
    (255, 0, 200),
    (255, 220, 0),
    (70, 70, 70),
)  # colours of the outline, of the mask, and of pixels that were not measured
PAPER, INK, FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)
GAP, TEXT = 14, 15  # pixels
FRAME_WIDTH = 36  # pixels: least width of the map of the whole frame
PANEL_GAP = 3
ROOM = 1.6  # the shown window is this many times as large as the measured area, so that misplaced parts are visible
BROAD = 240  # panels of at least this width have lines of three pixels, narrower ones of one
EDGE = 0.06  # width of the frame in which the ground is expected, as a share of the shorter side
GROUND = 0.3  # share of the frame's pixels that has to be measured; otherwise no ground is searched
CLEAR = 6.0  # the part begins at this many times the ground's spread
# the part begins at least at this share of the height that separates ground and part best, so that the outline runs
# along its foot
FOOT = 0.1


class Page(NamedTuple):
    """Layout of a page: width of a panel in pixels, number of parts side by side, number of parts in a column."""

    panel: int
    columns: int
    rows: int


class Tile(NamedTuple):
    """One part on the sheet."""

    panels: np.ndarray  # [h, 3 w + gaps, 3] uint8
    texts: tuple  # lines of text below the panels


def layout_for(count):
    """Page for ``count`` parts; fewer parts are shown larger."""
    return (
        Page(460, 1, 1)
        if count == 1
        else Page(320, 1, 4)
        if count <= 4
        else Page(240, 2, 5)
        if count <= 10
        else Page(176, 3, 8)
    )


def write_contact_sheet(folder, names, title, labels, workers=1):
    """Write contact_sheet.png into ``folder``, or contact_sheet_1.png … for several pages; older pages are deleted.

    Args:
        folder: a defect folder of the layout, with rgb, xyz and perhaps gt.
        names: file names of the parts, without suffix.
        title: first line of each page.
        labels: {name: text beside the name}.
        workers: number of processes.

    Returns:
        List of the pages' paths.
    """
    folder, page = Path(folder), layout_for(len(names))
    count = page.columns * page.rows
    pages = [names[i : i + count] for i in range(0, len(names), count)]
    paths = [
        folder / ("contact_sheet.png" if len(pages) == 1 else f"contact_sheet_{i}.png")
        for i in range(1, len(pages) + 1)
    ]
    pool = ProcessPoolExecutor(workers, initializer=begin_worker) if workers > 1 and len(names) > 8 else None
    try:
        with beginning_workers():
            tiles = (pool.map if pool else map)(
                make_tile, repeat(folder), names, repeat(page.panel), [labels.get(name, "") for name in names]
            )
        tiles = iter(tqdm(tiles, total=len(names), desc="contact sheet", disable=None, leave=False, unit="part"))
        for number, path in enumerate(paths, 1):
            sheet = draw_page(
                list(islice(tiles, len(pages[number - 1]))),
                page,
                title + (f" · page {number} of {len(paths)}" if len(paths) > 1 else ""),
            )
            with atomic_path(path) as temporary:
                sheet.save(temporary, format="PNG")
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)
    for old in set(folder.glob("contact_sheet*.png")) - set(paths):
        old.unlink()
    return paths


def make_tile(folder, name, width, label=""):
    """Tile of the part ``name`` in ``folder`` with panels of ``width`` pixels."""
    with Image.open(folder / "rgb" / f"{name}.png") as file:
        picture = file.convert("RGB")
    xyz = tifffile.imread(folder / "xyz" / f"{name}.tiff")
    measured = (xyz != 0).any(2)
    height = round(width * picture.height / picture.width)
    left, top, share = window(measured)
    rows = ((top + share * (np.arange(height) + 0.5) / height) * xyz.shape[0]).astype(int)
    columns = ((left + share * (np.arange(width) + 0.5) / width) * xyz.shape[1]).astype(int)
    small, seen = xyz[rows][:, columns], measured[rows][:, columns]
    box = [left * picture.width, top * picture.height, (left + share) * picture.width, (top + share) * picture.height]
    photo = np.asarray(picture.resize((width, height), Image.LANCZOS, box=box))
    line = outline(small, seen)
    line = ndimage.binary_dilation(line) if width >= BROAD else line
    overlay = np.where(line[..., None], LINE, photo).astype(np.uint8)
    mask = folder / "gt" / f"{name}.png"
    if mask.exists():
        with Image.open(mask) as file:
            defect = np.asarray(file.convert("L").resize((width, height), Image.BOX, box=box)) > 0
        overlay[defect & ~ndimage.binary_erosion(defect)] = DEFECT
    photo = _with_frame(photo, xyz.shape, (left, top, share), part_pixels(xyz))
    between = np.full((height, PANEL_GAP, 3), PAPER, np.uint8)
    panels = np.concatenate([photo, between, in_colour(small[..., 2], seen), between, overlay], axis=1)
    return Tile(
        panels,
        (
            f"{name}   {label}".rstrip(),
            facts(xyz, measured) + (f" · enlarged {1 / share:.1f} times" if share < 1 else ""),
        ),
    )


def _with_frame(photo, size, shown, part):
    """``photo`` [h, w, 3] with the whole frame in its corner, as a small map of the part in it; as it is where the
    photo shows the whole frame."""
    if shown[2] >= 1:
        return photo
    wide = max(FRAME_WIDTH, photo.shape[1] // 5)
    tall = max(2, round(wide * size[0] / size[1]))
    rows, columns = (np.arange(n) * side // n for n, side in zip((tall, wide), size[:2]))
    small = np.where(part[rows][:, columns][..., None], PAPER, INK).astype(np.uint8)
    small[[0, -1]], small[:, [0, -1]] = FAINT, FAINT
    out = photo.copy()
    out[:tall, :wide] = small
    return out


def window(measured):
    """(left, top, share) of the image, each from 0 to 1: a square window around the measured pixels [H, W].

    If the window would cover more than three quarters of the image's side, it is the whole image.
    """
    rows, columns = np.flatnonzero(measured.any(1)), np.flatnonzero(measured.any(0))
    if not len(rows):
        return 0.0, 0.0, 1.0
    ends = np.array([[columns[0], columns[-1] + 1], [rows[0], rows[-1] + 1]]) / np.array(
        [[measured.shape[1]], [measured.shape[0]]]
    )
    share = float(ROOM * (ends[:, 1] - ends[:, 0]).max())
    if share > 0.75:
        return 0.0, 0.0, 1.0
    left, top = np.clip(ends.mean(1) - share / 2, 0, 1 - share)
    return float(left), float(top), share


def facts(xyz, measured):
    """One line of text on a scan: its size, that of the part in it, extents in millimetres, range of z."""
    text = f"{xyz.shape[0]}×{xyz.shape[1]} · {size_text(part_size(xyz))}"
    if not measured.any():
        return text
    low, high = np.percentile(xyz[measured], [1, 99], axis=0)
    wide, tall = (high - low)[:2] * 1000
    return f"{text} · {_figure(wide)} × {_figure(tall)} mm · z {low[2] * 1000:.1f} to {high[2] * 1000:.1f} mm"


def in_colour(z, measured):
    """Depth [h, w] as colours [h, w, 3] uint8, scaled to its middle 96 %: red is near, blue far, grey not measured."""
    from matplotlib import colormaps

    if not measured.any():
        return np.full((*z.shape, 3), MISSING, np.uint8)
    low, high = np.percentile(z[measured], [2, 98])
    scaled = np.clip((z - low) / max(high - low, 1e-9), 0, 1)
    colours = (colormaps["turbo"](1 - 0.92 * scaled - 0.04)[..., :3] * 255).astype(np.uint8)
    return np.where(measured[..., None], colours, np.uint8(MISSING))


def outline(xyz, measured):
    """Outline [h, w] bool of a scan: of the pixels that stand off the ground; without a ground, of all measured pixels.

    The ground is the plane through the frame at the image's edge. The height that best splits the pixels into two
    classes decides what stands off it (Otsu, IEEE Transactions on Systems, Man, and Cybernetics 9, 1979).
    """
    solid = ndimage.binary_opening(
        ndimage.binary_closing(np.pad(measured, 2, mode="edge"), np.ones((3, 3))), np.ones((3, 3))
    )[2:-2, 2:-2]
    edge = max(2, round(EDGE * min(measured.shape)))
    frame = np.ones(measured.shape, bool)
    frame[edge:-edge, edge:-edge] = False
    part = solid
    if measured[frame].mean() >= GROUND:
        above = _off_ground(xyz, measured, frame)
        if above is not None:
            part = above
    inside = np.pad(part, 1, mode="edge")  # the image's own edge is no outline
    return part & ~ndimage.binary_erosion(inside, np.ones((3, 3)))[1:-1, 1:-1]


def _off_ground(xyz, measured, frame):
    """[h, w] bool: pixels off the plane through the frame; None where nothing stands off clearly."""
    points = xyz[measured & frame].astype(np.float64)
    use = np.ones(len(points), bool)
    for _ in range(5):  # repeated least squares without the outliers
        design = np.column_stack([points[:, :2], np.ones(len(points))])
        plane = np.linalg.lstsq(design[use], points[use, 2], rcond=None)[0]
        off = np.abs(points[:, 2] - design @ plane)
        spread = 1.4826 * np.median(off)
        use = off <= 3 * spread + 1e-9
    height = np.abs(xyz[..., 2] - xyz[..., :2] @ plane[:2] - plane[2])
    height = ndimage.median_filter(np.where(measured, height, 0).astype(np.float32), 3)
    split = _otsu(height[measured])
    above = height[measured & (height > split)]
    if not len(above) or np.median(above) < 2 * CLEAR * spread:
        return None
    part = measured & (height > max(CLEAR * spread, FOOT * split))
    if part.mean() > 0.9:
        return None
    return ndimage.binary_opening(ndimage.binary_closing(part, np.ones((3, 3)), iterations=2), np.ones((3, 3)))


def _otsu(values):
    counts, edges = np.histogram(np.minimum(values, np.percentile(values, 99.5)), 128)
    middles = (edges[1:] + edges[:-1]) / 2
    below, mass = np.cumsum(counts), np.cumsum(counts * middles)
    above = below[-1] - below
    with np.errstate(all="ignore"):
        between = below * above * (mass / below - (mass[-1] - mass) / above) ** 2
    return edges[1:][np.nanargmax(between[:-1])]


def draw_page(tiles, page, title):
    """PIL image of a page with ``tiles``."""
    wide = 3 * page.panel + 2 * PANEL_GAP
    columns, small = min(page.columns, len(tiles)), min(TEXT, 12 + page.panel // 80)
    width = max(columns * (wide + GAP) + GAP, 760)
    texts = [[_wrapped(text, small, wide) for text in tile.texts] for tile in tiles]
    lines = max(sum(map(len, text)) for text in texts)
    head = [(line, TEXT + 2, INK, True) for line in _wrapped(title, TEXT + 2, width - 2 * GAP, True)]
    legend = "left: picture, small in it the whole frame · middle: depth, red near, blue far, grey not measured"
    legend += " · right: both"
    head += [(line, TEXT, FAINT, False) for line in _wrapped(legend, TEXT, width - 2 * GAP)]
    step, top = max(t.panels.shape[0] for t in tiles) + lines * (small + 4) + GAP, GAP + (len(head) + 1) * (TEXT + 7)
    sheet = Image.new("RGB", (width, top + GAP + -(-len(tiles) // page.columns) * step + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (line, size, colour, bold) in enumerate(head):
        draw.text((GAP, GAP + number * (TEXT + 7)), line, font=_font(size, bold), fill=colour)
    x, y = GAP, GAP + len(head) * (TEXT + 7)
    for colour, text in ((LINE, "outline of the scan: it has to follow the part in the picture"), (DEFECT, "mask")):
        draw.line((x, y + TEXT // 2 + 1, x + 22, y + TEXT // 2 + 1), fill=colour, width=3)
        draw.text((x + 30, y), text, font=_font(TEXT), fill=FAINT)
        x += 30 + int(_font(TEXT).getlength(text)) + 24
    for number, tile in enumerate(tiles):
        x, y = GAP + number % columns * (wide + GAP), top + GAP + number // columns * step
        sheet.paste(Image.fromarray(tile.panels), (x, y))
        y += tile.panels.shape[0] + 3
        for place, text in enumerate(texts[number]):
            for line in text:
                draw.text((x, y), line, font=_font(small), fill=FAINT if place else INK)
                y += small + 3
    return sheet


def _wrapped(text, size, width, bold=False):
    """``text`` as lines that are at most ``width`` pixels wide; it is broken at blanks and slashes, if possible."""
    text, font, lines = text.encode("utf-8", "replace").decode(), _font(size, bold), []
    while text:
        end = fitting = next((n for n in range(len(text), 1, -1) if font.getlength(text[:n]) <= width), 1)
        if end < len(text):
            end = max(text.rfind(" ", 0, end + 1), text.rfind("/", 0, end) + 1)
        end = end if end > 0 else fitting
        lines.append(text[:end].strip())
        text = text[end:].strip()
    return lines


def _font(size, bold=False):
    import matplotlib

    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{'-Bold' * bold}.ttf"), size
    )


def _figure(value):
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
