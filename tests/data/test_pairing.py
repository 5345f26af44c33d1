"""Which files belong to one part: by name, by number; what is refused, and what is passed over."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.pairing import pair


def make(root, rgb, xyz, gt=(), name="hole"):
    """Empty files of these names."""
    for kind, names in (("rgb", rgb), ("xyz", xyz), ("gt", gt)):
        folder = Path(root) / name / kind
        folder.mkdir(parents=True, exist_ok=True)
        for file in names:
            (folder / file).touch()
    return Path(root) / name


def names(pairing):
    return [tuple(path and path.name for path in part) for part in pairing.parts]


def kinds(pairing):
    return [kind for kind, _ in pairing.notes]


PAIRED = {  # pictures, tiffs → their order, how it is told
    "padded without a word": ("9.png 10.png 11.png", "09.tiff 10.tiff 11.tiff", "9=09 10=10 11=11", "number"),
    "a number that is always there": (
        "cam2_1.png cam2_3.png",
        "s7_3.tiff s7_1.tiff",
        "cam2_1=s7_1 cam2_3=s7_3",
        "number",
    ),
    "words": ("rgb_b.png rgb_a.png", "a_xyz.tiff b_xyz.tiff", "rgb_a=a_xyz rgb_b=b_xyz", "number"),
    "words with dots": ("s.png s.r.png", "s_xyz.tiff s.r_xyz.tiff", "s=s_xyz s.r=s.r_xyz", "number"),
    "a preview beside": ("1.png 1.jpg", "1.tiff", "1=1", "files not read"),
    "notes beside": ("1.png notes.jpg read.txt", "1.tiff", "1=1", "files not read"),
    "hidden files": ("1.png ._1.png .DS_Store Thumbs.db", "1.tiff ._1.tiff", "1=1", ""),
}


@pytest.mark.parametrize("case", PAIRED)
def test_paired(tmp_path, case):
    rgb, xyz, wanted, told = PAIRED[case]
    found = pair(make(tmp_path, rgb.split(), xyz.split(), name="good"), with_masks=False)
    assert found.problems == () and found.incomplete == ()
    assert " ".join(f"{Path(a).stem}={Path(b).stem}" for a, b, _ in names(found)) == wanted
    assert [kind.removeprefix("paired by ") for kind in kinds(found)] == ([told] if told else [])


@pytest.mark.parametrize("form, other", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_in_two_spellings(tmp_path, form, other):
    pictures = [unicodedata.normalize(form, f"{c}.png") for c in "äé"]
    found = pair(make(tmp_path, pictures, [unicodedata.normalize(other, f"{c}.tiff") for c in "éä"]), with_masks=False)
    assert found.problems == () and kinds(found) == [] and len(found.parts) == 2
    assert all(unicodedata.normalize(other, part.rgb.stem) == part.xyz.stem for part in found.parts)


def test_the_same_name_in_both_spellings_is_refused(tmp_path):
    folder = make(tmp_path, [unicodedata.normalize(form, "ä.png") for form in ("NFC", "NFD")], ["ä.tiff"])
    problem = pair(folder, with_masks=False).problems[0]
    assert "answer to one name" in problem and "\\" in problem  # else the two look alike


REFUSED = {  # pictures, tiffs, masks → what the problems name
    "a tiff lacks": ("1.png 2.png", "1.tiff", "", ["2.png: has no 2.tiff"]),
    "a picture lacks": ("1.png", "1.tiff 2.tiff", "", ["2.tiff: has no picture 2.png"]),
    "other numbers": ("img_0.png img_1.png", "c_1.tiff c_2.tiff", "", ["img_0.png", "c_2.tiff"]),
    "other numbers of one part": ("img_1.png", "0002.tiff", "", ["img_1.png", "0002.tiff"]),
    "other words": ("a.png c.png", "q.tiff w.tiff", "", ["a.png", "c.png", "q.tiff", "w.tiff"]),
    "one side without numbers": ("a9.png", "q.tiff", "", ["a9.png", "q.tiff"]),
    "a mask lacks": ("1.png 2.png 3.png", "1.tiff 2.tiff 3.tiff", "1_mask.png 3_mask.png", ["2.png"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path, case):
    *files, wanted = REFUSED[case]
    found = pair(make(tmp_path, *(names.split() for names in files)), with_masks=bool(files[2]))
    assert len(found.problems) == len(wanted)
    assert all(len(text.splitlines()) == 1 and str(tmp_path) in text for text in found.problems)
    assert all(word in text for word, text in zip(wanted, found.problems))


def test_masks_pair_by_number_and_name(tmp_path):
    for name, gt in (("a", ["2_mask.png", "10_mask.png"]), ("b", ["mask10.bmp", "mask2.bmp"])):
        found = pair(make(tmp_path, ["2.png", "10.png"], ["2.tiff", "10.tiff"], gt, name), with_masks=True)
        assert not found.problems and [("10" in part[2]) == ("10" in part[0]) for part in names(found)] == [True, True]
        assert [part[0] for part in names(found)] == ["10.png", "2.png"]  # as the release sorts


def test_a_broken_link_is_named(tmp_path):
    folder = make(tmp_path, ["1.png"], [])
    (folder / "xyz/1.tiff").symlink_to(tmp_path / "gone.tiff")
    found = pair(folder, with_masks=False)
    assert [part.xyz.name for part in found.parts] == ["1.tiff"]  # reading says what is wrong with it


@pytest.mark.parametrize("name", ["Good", "GOOD"])
def test_good_in_capitals_is_no_defect(tmp_path, name):
    assert "call it good" in pair(make(tmp_path, ["1.png"], ["1.tiff"], name=name), with_masks=True).problems[0]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30, unique=True), st.integers(1, 8), st.integers(1, 8))
def test_numbers_pair_whatever_their_padding(tmp_path_factory, numbers, left, right):
    pictures, clouds = [f"img_{n:0{left}}.png" for n in numbers], [f"{n:0{right}}_xyz.tiff" for n in numbers]
    found = names(pair(make(tmp_path_factory.mktemp("n"), pictures, clouds, name="good"), with_masks=False))
    assert [int(a[4:-4]) for a, _, _ in found] == [int(b.split("_")[0]) for _, b, _ in found] == sorted(numbers)
