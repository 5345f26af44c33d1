"""A contact sheet: each part's picture, its depth, and its scan's outline on the picture, to see whether they fit."""

import textwrap
import warnings
from pathlib import Path

import cv2
import numpy as np
import tifffile
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from cameras.alignment import part_pixels, size_text
from common.files import atomic_path

LINE, DEFECT, MISSING = "magenta", "gold", "dimgrey"  # colours: outline, mask, not measured
ROOM = 1.6  # the shown window is this many times as large as the measured area, so that misplaced parts are visible
COLUMNS, MOST = 2, 24  # parts side by side, and on one page
PANEL, GAP, TEXT, HEAD = 220, 8, 78, 56  # pixels: a panel, between panels, text of a part, of a page
DOTS, FONT, CHARACTER = 100, 8, 7  # pixels per inch; points; pixels that a character takes
LEGEND = "left: picture · middle: depth, red near, blue far, grey not measured · right: both"
KEY = "magenta: outline of the scan, it has to follow the part in the picture · yellow: mask"


def write_contact_sheet(folder, names, title, labels):
    """Write contact_sheet.png into ``folder``, or contact_sheet_1.png … for several pages; returns their paths.

    Older pages are deleted. ``folder``: a defect folder of the layout; ``names``: of the parts, without suffix;
    ``title``: first line of each page; ``labels``: {name: text beside the name}.
    """
    folder, count = Path(folder), -(-len(names) // MOST)
    paths = [folder / f"contact_sheet{f'_{i}' * (count > 1)}.png" for i in range(1, count + 1)]
    for number, path in enumerate(tqdm(paths, desc="contact sheet", disable=None, leave=False, unit="page")):
        more = f" · page {number + 1} of {count}" if count > 1 else ""
        shown = names[number * MOST : (number + 1) * MOST]
        with atomic_path(path) as temporary, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # letters that the font lacks
            draw_page(folder, shown, title + more, labels).savefig(temporary, format="png")
    for old in set(folder.glob("contact_sheet*.png")) - set(paths):
        old.unlink()
    return paths


def draw_page(folder, names, title, labels):
    """Matplotlib's figure of a page with the parts ``names``."""
    rows, across = -(-len(names) // COLUMNS), 3 * COLUMNS
    with Image.open(folder / "rgb" / f"{names[0]}.png") as picture:
        tall = PANEL * picture.height / picture.width
    wide, high = across * (PANEL + GAP) + GAP, HEAD + rows * (TEXT + tall) + GAP
    figure = Figure((wide / DOTS, high / DOTS), DOTS)
    head = "\n".join(_wrapped(text, wide - 2 * GAP) for text in (title, LEGEND, KEY))
    figure.text(GAP / wide, 1 - GAP / high, head, va="top", fontsize=FONT, parse_math=False)
    inside = {"left": GAP / wide, "right": 1 - GAP / wide, "bottom": GAP / high, "top": 1 - (HEAD + TEXT) / high}
    spaces = {"wspace": GAP / PANEL, "hspace": TEXT / tall}
    places = figure.subplots(rows, across, squeeze=False, gridspec_kw={**inside, **spaces})
    for place in places.flat:
        place.axis("off")
    for name, panels in zip(names, places.reshape(-1, 3)):
        text = draw_part(panels, folder, name)
        told = f"{name}   {labels.get(name, '')}".rstrip()
        lines = "\n".join(_wrapped(line, 3 * PANEL, most) for line, most in ((told, 3), (text, 2)))  # TEXT has room
        panels[0].set_title(lines, loc="left", fontsize=FONT, parse_math=False)
    return figure


def draw_part(panels, folder, name):
    """Draw the part ``name`` into three axes; returns a line of text on its scan."""
    with Image.open(folder / "rgb" / f"{name}.png") as file:
        picture = file.convert("RGB")
    xyz = tifffile.imread(folder / "xyz" / f"{name}.tiff")
    measured, part = xyz.any(2), part_pixels(xyz)
    left, top, share = window(part if part.any() else measured)
    near, far = np.percentile(xyz[measured, 2], [2, 98]) if measured.any() else (0, 1)
    # a page holds all its images at once: only the window, and no more pixels of it than a panel has
    width, height = PANEL, round(PANEL * picture.height / picture.width)
    rows = ((top + share * (np.arange(height) + 0.5) / height) * xyz.shape[0]).astype(int)
    columns = ((left + share * (np.arange(width) + 0.5) / width) * xyz.shape[1]).astype(int)
    box = [left * picture.width, top * picture.height, (left + share) * picture.width, (top + share) * picture.height]
    photo = picture.resize((width, height), Image.LANCZOS, box=box)
    pixels = np.ix_(rows, columns)
    scaled = np.ma.array((xyz[..., 2][pixels] - near) / max(far - near, 1e-9), mask=~measured[pixels])
    depth = colormaps["turbo_r"].with_extremes(bad=MISSING)(scaled, bytes=True)
    for place, image in zip(panels, (photo, depth, photo)):
        place.imshow(image)
    _draw_outline(panels[2], part[pixels], LINE)
    mask = folder / "gt" / f"{name}.png"
    if mask.exists():
        with Image.open(mask) as file:
            seen = file.convert("L").resize((width, height), Image.BOX, box=box)  # a person may have saved it in colour
        _draw_outline(panels[2], np.asarray(seen) > 0, DEFECT)
    text = facts(xyz, measured, part)
    return text if share == 1 else f"{text} · enlarged {1 / share:.1f} times"


def _draw_outline(place, mask, colour):
    solid = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5)))
    if solid.min() != solid.max():
        place.contour(solid, [0.5], colors=colour, linewidths=1)


def window(part):
    """(left, top, share) of the image, each from 0 to 1: a square window around the pixels of the part [H, W], or the
    whole image where it would cover more than three quarters of a side."""
    left, top, width, height = np.divide(cv2.boundingRect(part.astype(np.uint8)), part.shape[::-1] * 2)
    share = float(ROOM * max(width, height))
    if not 0 < share <= 0.75:
        return 0.0, 0.0, 1.0
    left, top = np.clip((left + width / 2 - share / 2, top + height / 2 - share / 2), 0, 1 - share)
    return float(left), float(top), share


def facts(xyz, measured, part):
    """One line of text on a scan: its size, that of the part in it, extents in millimetres, range of z."""
    text = f"{xyz.shape[0]}×{xyz.shape[1]} · {size_text(part)}"
    if not measured.any():
        return text
    low, high = np.percentile(xyz[measured], [1, 99], axis=0) * 1000
    wide, tall = (f"{side:.0f}" if side >= 10 else f"{side:.2g}" for side in (high - low)[:2])
    return f"{text} · {wide} × {tall} mm · z {low[2]:.1f} to {high[2]:.1f} mm"


def _wrapped(text, width, most=None):
    text = text.encode("utf-8", "replace").decode()
    return "\n".join(textwrap.wrap(text, width // CHARACTER, max_lines=most, placeholder=" …"))
