"""A contact sheet: each part's picture, its depth in colour, and the scan's outline drawn on the picture.

It lets a person see whether picture and scan fit.
"""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from tqdm import tqdm

from cameras.part_size import part_pixels, size_of, size_text
from common.files import atomic_path
from common.signals import begin_worker, beginning_workers

LINE, DEFECT, MISSING = (255, 0, 200), (255, 220, 0), (70, 70, 70)  # colours: outline, mask, not measured
PAPER, INK, FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)
GAP, PANEL_GAP, TEXT = 14, 3, 15  # pixels
FRAME_WIDTH = 36  # pixels: least width of the map of the whole frame
ROOM = 1.6  # the shown window is this many times as large as the measured area, so that misplaced parts are visible
BROAD = 240  # panels of at least this width have lines of three pixels, narrower ones of one
PAGES = (460, 1, 1), (320, 1, 4), (240, 2, 5), (176, 3, 8)  # width of a panel, parts side by side, in a column
KEY = (LINE, "outline of the scan: it has to follow the part in the picture"), (DEFECT, "mask")
LEGEND = (
    "left: picture; in its corner the whole frame · middle: depth, red near, blue far, grey not measured · right: both"
)


def write_contact_sheet(folder, names, title, labels, workers=1):
    """Write contact_sheet.png into ``folder``, or contact_sheet_1.png … for several pages; older pages are deleted.

    Args:
        folder: a defect folder of the layout, with rgb, xyz and perhaps gt.
        names: file names of the parts, without suffix; fewer parts are shown larger.
        title: first line of each page.
        labels: {name: text beside the name}.
        workers: number of processes.

    Returns:
        List of the pages' paths.
    """
    folder = Path(folder)
    panel, columns, rows = next((page for page in PAGES if len(names) <= page[1] * page[2]), PAGES[-1])
    count = -(-len(names) // (columns * rows))
    paths = [folder / f"contact_sheet{f'_{i}' * (count > 1)}.png" for i in range(1, count + 1)]
    pool = ProcessPoolExecutor(workers, initializer=begin_worker) if workers > 1 and len(names) > 8 else None
    try:
        with beginning_workers():
            make = partial(make_tile, folder, panel)
            tiles = (pool.map if pool else map)(make, names, [labels.get(name, "") for name in names])
        tiles = iter(tqdm(tiles, total=len(names), desc="contact sheet", disable=None, leave=False, unit="part"))
        for number, path in enumerate(paths, 1):
            more = f" · page {number} of {count}" if count > 1 else ""
            sheet = draw_page(list(islice(tiles, columns * rows)), columns, title + more)
            with atomic_path(path) as temporary:
                sheet.save(temporary, format="PNG")
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)
    for old in set(folder.glob("contact_sheet*.png")) - set(paths):
        old.unlink()
    return paths


def make_tile(folder, width, name, label=""):
    """Picture of the part ``name`` in ``folder``: three panels of ``width`` pixels, and lines of text below them."""
    with Image.open(folder / "rgb" / f"{name}.png") as file:
        picture = file.convert("RGB")
    xyz = tifffile.imread(folder / "xyz" / f"{name}.tiff")
    measured, part = xyz.any(2), part_pixels(xyz)
    height = round(width * picture.height / picture.width)
    left, top, share = window(part if part.any() else measured)
    rows = ((top + share * (np.arange(height) + 0.5) / height) * xyz.shape[0]).astype(int)
    columns = ((left + share * (np.arange(width) + 0.5) / width) * xyz.shape[1]).astype(int)
    box = [left * picture.width, top * picture.height, (left + share) * picture.width, (top + share) * picture.height]
    photo = np.asarray(picture.resize((width, height), Image.LANCZOS, box=box))
    overlay = photo.copy()
    _draw_outline(overlay, part[rows][:, columns], LINE, 1 + (width >= BROAD))
    mask = folder / "gt" / f"{name}.png"
    if mask.exists():
        with Image.open(mask) as file:
            defect = np.asarray(file.convert("L").resize((width, height), Image.BOX, box=box)) > 0
        _draw_outline(overlay, defect, DEFECT)
    photo = _with_frame(photo, part) if share < 1 else photo
    enlarged = f" · enlarged {1 / share:.1f} times" if share < 1 else ""
    depth = in_colour(xyz[..., 2][rows][:, columns], measured[rows][:, columns])
    size, wide = min(TEXT, 12 + width // 80), 3 * width + 2 * PANEL_GAP
    lines = [(line, FAINT) for line in _wrapped(facts(xyz, measured, part) + enlarged, size, wide)]
    lines = [(line, INK) for line in _wrapped(f"{name}   {label}".rstrip(), size, wide)] + lines
    tile = Image.new("RGB", (wide, height + 3 + len(lines) * (size + 3)), PAPER)
    for number, panel in enumerate((photo, depth, overlay)):
        tile.paste(Image.fromarray(panel), (number * (width + PANEL_GAP), 0))
    draw = ImageDraw.Draw(tile)
    for number, (line, colour) in enumerate(lines):
        draw.text((0, height + 3 + number * (size + 3)), line, font=_font(size), fill=colour)
    return tile


def _draw_outline(photo, mask, colour, width=1):
    """Draw the outline of ``mask`` [h, w]; the image's own edge is none."""
    solid = ndimage.binary_closing(np.pad(mask, 3, mode="edge"), np.ones((3, 3)), iterations=2)
    photo[(solid & ~ndimage.binary_erosion(solid, iterations=width))[3:-3, 3:-3]] = colour


def _with_frame(photo, part):
    """``photo`` [h, w, 3] with the whole frame in its corner, as a small map of the ``part`` [H, W] in it."""
    wide = max(FRAME_WIDTH, photo.shape[1] // 5)
    tall = max(2, round(wide * part.shape[0] / part.shape[1]))
    rows, columns = (np.arange(n) * side // n for n, side in zip((tall, wide), part.shape))
    small = np.where(part[rows][:, columns][..., None], PAPER, INK).astype(np.uint8)
    small[[0, -1]], small[:, [0, -1]] = FAINT, FAINT
    out = photo.copy()
    out[:tall, :wide] = small
    return out


def window(part):
    """(left, top, share) of the image, each from 0 to 1: a square window around the pixels of the part [H, W].

    If the window would cover more than three quarters of the image's side, it is the whole image.
    """
    left, top, width, height = np.divide(cv2.boundingRect(part.astype(np.uint8)), part.shape[::-1] * 2)
    share = float(ROOM * max(width, height))
    if not 0 < share <= 0.75:
        return 0.0, 0.0, 1.0
    left, top = np.clip((left + width / 2 - share / 2, top + height / 2 - share / 2), 0, 1 - share)
    return float(left), float(top), share


def facts(xyz, measured, part):
    """One line of text on a scan: its size, that of the part in it, extents in millimetres, range of z."""
    text = f"{xyz.shape[0]}×{xyz.shape[1]} · {size_text(size_of(part))}"
    if not measured.any():
        return text
    low, high = np.percentile(xyz[measured], [1, 99], axis=0) * 1000
    wide, tall = (f"{side:.0f}" if side >= 10 else f"{side:.2g}" for side in (high - low)[:2])
    return f"{text} · {wide} × {tall} mm · z {low[2]:.1f} to {high[2]:.1f} mm"


def in_colour(z, measured):
    """Depth [h, w] as colours [h, w, 3] uint8, scaled to its middle 96 %: red is near, blue far, grey not measured."""
    from matplotlib import colormaps

    if not measured.any():
        return np.full((*z.shape, 3), MISSING, np.uint8)
    low, high = np.percentile(z[measured], [2, 98])
    scaled = np.clip((z - low) / max(high - low, 1e-9), 0, 1)
    colours = (colormaps["turbo"](1 - 0.92 * scaled - 0.04)[..., :3] * 255).astype(np.uint8)
    return np.where(measured[..., None], colours, np.uint8(MISSING))


def draw_page(tiles, columns, title):
    """PIL image of a page with ``tiles``, so many ``columns`` side by side."""
    wide, step = tiles[0].width + GAP, max(tile.height for tile in tiles) + GAP
    columns = min(columns, len(tiles))
    width = max(columns * wide + GAP, 760)
    head = [(line, TEXT + 2, INK, True) for line in _wrapped(title, TEXT + 2, width - 2 * GAP, True)]
    head += [(line, TEXT, FAINT, False) for line in _wrapped(LEGEND, TEXT, width - 2 * GAP)]
    top = GAP + (len(head) + 1) * (TEXT + 7)
    sheet = Image.new("RGB", (width, top + GAP + -(-len(tiles) // columns) * step), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (line, size, colour, bold) in enumerate(head):
        draw.text((GAP, GAP + number * (TEXT + 7)), line, font=_font(size, bold), fill=colour)
    x, y = GAP, top - TEXT - 7
    for colour, text in KEY:
        draw.line((x, y + TEXT // 2 + 1, x + 22, y + TEXT // 2 + 1), fill=colour, width=3)
        draw.text((x + 30, y), text, font=_font(TEXT), fill=FAINT)
        x += 54 + int(_font(TEXT).getlength(text))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (GAP + number % columns * wide, top + GAP + number // columns * step))
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

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / f"DejaVuSans{'-Bold' * bold}.ttf"), size)
