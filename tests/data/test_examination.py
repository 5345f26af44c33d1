"""Each kind of wrong input gets its answer: in the examination, in check_dataset.py, and in what a run then reads."""

import json
import os
import shutil

import numpy as np

from data import examination
from data.examination import examine
from data.findings import Options
from data.organised_clouds import find_missing
from data.part_facts import Job, read_part
from dataset import TrainDataset
from tests.make_data import add_part, make_scans, picture_of, scan, write_tiff


def look(root, **options):
    """The Category "toy"."""
    return next(examine(root, ["toy"], options=Options(**options)))


def hidden(value):
    return lambda cloud: np.where((cloud == 0).all(-1, keepdims=True), np.float32(value), cloud)


def test_a_data_set_of_another_convention_passes(tmp_path):
    make_scans(tmp_path, lambda cloud: cloud * 1000)
    (tmp_path / "preprocessing.json").write_text(json.dumps({"coordinates": "millimetres"}))
    found = look(tmp_path)
    assert found.texts("fault") == [] and found.reading.unit == "m" and "millimetres" in found.texts("note")[0]


def test_a_value_too_rare_in_one_file_is_taken_from_the_others(tmp_path):
    folder = make_scans(tmp_path, hidden(-1))
    rare = np.where(scan().any(2, keepdims=True), scan(), 0)
    rare[0, :9] = -1
    write_tiff(folder / "train/good/xyz/000.tiff", rare)
    found = look(tmp_path)
    assert found.reading.missing == ((-1.0, -1.0, -1.0),)
    assert find_missing(rare[rare.any(2)], 4096) == ()
    assert not TrainDataset("toy", 64, tmp_path, 1, reading=found.reading)[0][0][1][:, 0].any()


def test_surfaces_are_not_taken_for_missing():
    whole = scan(200)
    surface = whole[whole.any(2)]
    flat = surface.copy()
    flat[:, 2] = 0.5
    coarse = np.round(surface, 2)
    up = np.repeat(surface, 16, axis=0)
    for points in (surface, flat, coarse, up, np.full_like(surface, 0.3), surface - surface.mean(0)):
        assert find_missing(points, 40000) == ()


def test_what_was_found_is_kept(tmp_path, monkeypatch):
    folder = make_scans(tmp_path / "data", hidden(-1))
    cache = tmp_path / "results/examination.json"

    def run(workers=1, **options):
        settings = {"options": Options(**options), "workers": workers, "cache_path": cache}
        return list(examine(tmp_path / "data", ["toy"], **settings))

    first = run(2)
    read, read_again = [], examination.read_part
    monkeypatch.setattr(examination, "read_part", lambda job: read.append(job) or read_again(job))
    assert run() == first and read == []
    write_tiff(folder / "test/good/xyz/004.tiff", scan(seed=50))
    os.utime(folder / "test/hole/gt/006.png", (1, 1))
    assert run() != first and {job.rgb[-7:-4] for job in read} == {"004", "006"}
    read.clear()
    assert run(min_points=5) and read == []  # only a judgement changes
    parts = json.loads(cache.read_text())["parts"]
    assert len(parts) == 9  # 8 parts, one read again with the others' missing value; none of a file as it was before
    assert run(img_size=100) and len(read) >= 8
    read.clear()
    cache.write_text(cache.read_text()[:-100])
    assert run() and len(read) >= 8


def test_categories_with_faults(tmp_path):
    make_scans(tmp_path)
    make_scans(tmp_path, lambda c: c * 1000, category="large")
    shutil.rmtree(make_scans(tmp_path, category="none") / "test")
    faults = {found.name: found.texts("fault") for found in examine(tmp_path, ["toy", "large", "none"])}
    assert faults["toy"] == [] and "--unit mm" in faults["large"][0] and "missing or empty" in faults["none"][0]


def test_outlines_that_cannot_be_seen(tmp_path):
    """A picture without a plain border, a cloud without one, and a picture that says nothing."""
    rng = np.random.default_rng(0)
    hidden = [(rng.integers(0, 256, (64, 64, 3)), scan()[:, ::-1]), (picture_of(scan()), scan() + 0.01)]
    for rgb, xyz in [*hidden, (np.full((64, 64, 3), 77), scan())]:
        files = add_part(tmp_path, "train/good", "0", rgb.astype(np.uint8), np.ascontiguousarray(xyz))
        assert read_part(Job(str(files[0]), str(files[1]), None, 224, None, False)).misfit is None
