import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import InputError
from data.names import find_folder, same_name

WORDS = st.text("abcxyz019", min_size=1, max_size=8)


@st.composite
def spellings(draw):
    """Two spellings of one name."""
    word = draw(WORDS)
    return tuple(
        "".join(draw(st.sampled_from(["", "-", "_", " "])) + draw(st.sampled_from([c, c.upper()])) for c in word)
        for _ in range(2)
    )


@given(spellings())
def test_spellings_are_the_same(pair):
    first, second = pair
    assert same_name(first) == same_name(second) == same_name(same_name(first))


def folders(root, *names):
    for name in names:
        (root / name).mkdir()
    return root


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(spellings())
def test_any_spelling_finds_the_folder(tmp_path_factory, pair):
    disk, asked = (text.strip() or "a" for text in pair)
    root = folders(tmp_path_factory.mktemp("root"), disk, "other thing")
    assert find_folder(root, asked) == root / disk


def test_the_exact_name_wins(tmp_path):
    folders(tmp_path, "knob-cap", "knob_cap", "Knob Cap")
    for name in ("knob-cap", "knob_cap", "Knob Cap"):
        assert find_folder(tmp_path, name) == tmp_path / name


def test_two_candidates_are_named(tmp_path):
    folders(tmp_path, "knob-cap", "knob_cap")
    with pytest.raises(InputError) as info:
        find_folder(tmp_path, "KnobCap")
    assert all(name in str(info.value) for name in (str(tmp_path), "KnobCap", "knob-cap", "knob_cap"))
