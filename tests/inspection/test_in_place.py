"""What the comparison in place says: each defect in words, in mm, at its place; and the whole way by commands."""

import csv
import json
import re

import numpy as np
import pytest
import tifffile
from PIL import Image

import main as run_main
from inspection.in_place import InPlace, PlaceFacts, place_text
from inspection.regions import find_regions, inspect_regions
from tests.part_frame.scenes import DENT, good, reference, scan
from tools import predict

NUMBER = r"-?\d+\.\d"
WHERE = rf"over \d+ mm² at x {NUMBER}, y {NUMBER} mm of the part"


def region_of(defect, seed=50):
    """(PlaceFacts, its mm², its text) of the region in which a part with the defect differs most."""
    placement, normal = reference(6, turn=180)
    one = scan(seed, 33, (1, -3), defects=(defect,))
    placed = placement.place(one.rgb, one.xyz)
    maps, pitch = normal.maps(placed.appearance)[1], placement.frame.pitch
    total = np.maximum.reduce(list(maps.values()))
    flat = np.zeros((*total.shape, 3))
    region = max(find_regions(total, 6.0, flat), key=lambda of: of.pixels)
    left, top, right, bottom = region.box
    shares = {name: float(values[top:bottom, left:right][region.mask].mean()) for name, values in maps.items()}
    facts, _ = InPlace(normal, placed.appearance, pitch).facts(region.mask, region.box, shares)
    return facts, region.pixels * pitch**2, place_text(facts, region.pixels * pitch**2, {}), placed, placement


def test_a_dent_in_mm():
    facts, area, text, *_ = region_of("dent")
    assert facts.kind.endswith("height") and -1.1 * DENT < facts.height_mm < -0.75 * DENT and 20 < area < 120
    assert re.fullmatch(
        rf"0\.[678]\d? mm lower than good parts(, measured from the surface around it,)? {WHERE} "
        r"\(good parts there: ±0\.0\d+ mm\)",
        text,
    )


def test_the_outline_is_that_of_the_area_that_is_told():
    *_, placed, placement = region_of("dent")
    maps, pitch = reference(6, turn=180)[1].maps(placed.appearance)[1], placement.frame.pitch
    in_place = InPlace(reference(6, turn=180)[1], placed.appearance, pitch)
    total = np.maximum.reduce(list(maps.values()))
    found = inspect_regions(total, 6.0, None, maps, in_place)
    dent = max(found, key=lambda of: of.pixels)
    x, y = max(dent.contours, key=len).T
    drawn = abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2 * pitch**2  # shoelace formula
    assert drawn == pytest.approx(dent.area_mm2, rel=0.1) != pytest.approx(dent.pixels * pitch**2, rel=0.2)
    assert dent.area_mm2 == pytest.approx(np.pi * 4.5**2, rel=0.3)  # the whole dent, not what is above a threshold


def test_a_map_of_negative_values_is_told_in_the_same_words():
    *_, placed, placement = region_of("dent")
    normal = reference(6, turn=180)[1]
    maps, in_place = normal.maps(placed.appearance)[1], InPlace(normal, placed.appearance, placement.frame.pitch)
    total = np.maximum.reduce(list(maps.values()))
    kinds = [
        [of.in_place.kind for of in inspect_regions(total - less, 6.0 - less, None, maps, in_place)][0]
        for less in (0.0, total.max() + 1)
    ]
    assert [kind.removeprefix("local_") for kind in kinds] == ["height", "height"]  # of a dent both say the same


def test_the_place_is_the_one_in_the_frame():
    facts, _, _, placed, placement = region_of("dent")
    of, pitch = placed.appearance.height, placement.frame.pitch
    cell = np.array([(len(of) - 1) / 2 - facts.y_mm / pitch, (len(of) - 1) / 2 + facts.x_mm / pitch])
    shown = np.array([a[tuple(np.rint(cell).astype(int))] for a in (placed.laid.row, placed.laid.column)])
    one = scan(50, 33, (1, -3), defects=("dent",))
    assert np.hypot(*(one.at[tuple(np.rint(shown).astype(int))] - (-4, -9))) < 2


FACTS = PlaceFacts(12.5, -3.0, "height", -0.8, 0.05, 0.0, (0.0, 0.0), 1.0)
OVER = "over 20 mm² at x 12.5, y -3.0 mm of the part"
COLOUR = dict(kind="colour", height_mm=None)
TEXTS = [
    ({}, 31.4, f"0.8 mm lower than good parts {OVER.replace('20', '31')} (good parts there: ±0.05 mm)"),
    (dict(kind="local_height"), 20, f"0.8 mm lower than good parts, measured from the surface around it, {OVER}"),
    (dict(height_mm=0.12), 4.2, "0.12 mm higher than good parts over 4.2 mm² at x 12.5"),
    (dict(COLOUR, brightness=-0.2), 20, f"18 % darker than good parts {OVER}"),
    (dict(kind="colour", brightness=-0.2), 20, f"0.8 mm lower and 18 % darker than good parts {OVER}"),
    (dict(COLOUR, hues=(-0.2, 0.1)), 20, f"less red {OVER}"),
    (dict(COLOUR, hues=(-0.5, 0.5)), 20, f"bluer {OVER}"),  # a blue cable instead of an orange one
    (dict(COLOUR, hues=(-0.3, -0.3)), 20, f"greener {OVER}"),
    (dict(COLOUR, kind="brightness", brightness=0.15), 20, f"16 % brighter than good parts in the same light {OVER}"),
    (dict(COLOUR, brightness=0.2, hues=(0.1, -0.3)), 20, f"22 % brighter than good parts and yellower {OVER}"),
    (COLOUR, 20, f"another colour than good parts {OVER}"),
    (dict(kind="missing"), 20, f"no surface {OVER}, where good parts have one"),
    (dict(kind="extra"), 20, f"surface {OVER}, where good parts have none"),
    (dict(kind="rgb", height_mm=None), 20, f"unlike good parts in RGB features {OVER}"),
    (dict(kind="xyz"), 20, f"unlike good parts in xyz {OVER}, 0.8 mm lower than these"),
]


@pytest.mark.parametrize("change, area, text", TEXTS)
def test_the_words(change, area, text):
    told = place_text(FACTS._replace(**change), area, {"rgb": "RGB features"})
    assert told.startswith(text)
    assert bool(re.search("mm (lower|higher)", told)) == bool(re.search("mm (lower|higher)", text))


def write(folder, one, name):
    for kind in ("rgb", "xyz"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    Image.fromarray(one.rgb).save(folder / "rgb" / f"{name}.png")
    points = np.nan_to_num(one.xyz / 1000).astype(np.float32)
    tifffile.imwrite(folder / "xyz" / f"{name}.tiff", points, photometric="rgb")


def test_the_plain_way_from_normal_parts_to_verdicts(tmp_path, capsys):
    """README's commands, without a network: good parts pass, each defect fails and is explained in place."""
    data, out = tmp_path / "data", tmp_path / "out"
    for split, count in (("train/good", 5), ("validation/good", 9)):
        for number, one in enumerate(good(count, first=100 * len(split), turn=180)):
            write(data / "plate" / split, one, f"{number:03d}")
    for number, one in enumerate(good(3, first=7, turn=180)):
        write(tmp_path / "new" / "good", one, f"{number:03d}")
    for defect in ("dent", "stain", "missing", "extra"):
        write(tmp_path / "new" / defect, scan(55, 140, (3, 2), defects=(defect,)), "000")
    write(tmp_path / "new" / "table", scan(56, shape=None), "000")
    fit = f"--preset best --method_name Reference --dataset_type folder --dataset_path {data} --output_dir {tmp_path}/r"
    assert run_main.main([*fit.split(), "--save_model", str(tmp_path / "m"), "--fit_only", "--num_workers", "0"]) == 0
    assert "the part is what lies above the table" in capsys.readouterr().out
    asked = [str(tmp_path / "m" / "plate.m3dm"), str(tmp_path / "new"), "-o", str(out), "--false_alarm", "0.1"]
    assert predict.main([*asked, "--num_workers", "0", "--pictures"]) == 1  # one scan cannot be judged
    with open(out / "verdicts.csv", newline="") as file:
        rows = {row["path"].rpartition("/rgb/")[0]: row for row in csv.DictReader(file)}
    assert {name: row["verdict"] for name, row in rows.items()} == {
        **dict.fromkeys(("dent", "stain", "missing", "extra"), "fail"),
        "good": "pass",
        "table": "cannot judge",
    }
    lines = [json.loads(line) for line in (out / "verdicts.jsonl").read_text().splitlines()]
    assert [line["verdict"] for line in lines if line["path"].startswith("good")] == ["pass"] * 3
    told = {line["path"].partition("/")[0]: line["explanation"] for line in lines}
    assert re.match(rf"0\.[678]\d? mm lower than good parts {WHERE}", told["dent"])
    assert re.match(rf"\d+ % darker than good parts.* {WHERE}", told["stain"])
    assert re.match(r"(strongest: )?no surface over", told["missing"])
    assert "mm higher than good parts" in told["extra"] or "where good parts have none" in told["extra"]
    assert "nothing lies on the table" in rows["table"]["reason"] and len(list((out / "pictures").rglob("*.png"))) == 8

    frame, mask = tmp_path / "m" / "plate_frame.png", tmp_path / "mask.png"
    again = [*fit.split(), "--save_model", str(tmp_path / "m"), "--fit_only", "--num_workers", "0", "--ignore"]
    assert run_main.main([*again, str(frame)]) == 2  # nothing was painted on it
    assert "nothing in it is white" in capsys.readouterr().err
    left, top, right, bottom = next(line for line in lines if line["path"].startswith("dent"))["regions"][0]["box"]
    picture = np.array(Image.open(frame))
    cells = len(picture) / 224
    rows, columns = (slice(int((a - 8) * cells), int((b + 8) * cells)) for a, b in ((top, bottom), (left, right)))
    picture[rows, columns] = 255
    Image.fromarray(picture).save(mask)
    assert run_main.main([*again, str(mask)]) == 0
    assert re.search(r"plate: \d+\.\d % of the part are not judged", capsys.readouterr().out)
    words = [*asked[:2], "-o", str(tmp_path / "out2"), *asked[4:], "--num_workers", "0"]
    assert predict.main(words) == 1
    told = [json.loads(line) for line in (tmp_path / "out2" / "verdicts.jsonl").read_text().splitlines()]
    verdicts = {line["path"].partition("/")[0]: line["verdict"] for line in told}
    assert (verdicts["dent"], verdicts["stain"]) == ("pass", "fail")
