"""Units: a scan of known size in metres, written in each unit, is taken for what it is."""

from argparse import ArgumentTypeError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError
from data.units import NAMES, UNITS, VIEW, guess_unit, metres_of, recognise_unit, unit, unit_fault

SIZES, DISTANCES = st.floats(0.03, 0.15), st.floats(0.2, 1.4)  # metres


@given(SIZES, DISTANCES, st.sampled_from(list(UNITS)))
def test_each_unit_is_recognised_and_mended_by_its_flag(size, away, unit):
    seen = size / UNITS[unit], away / UNITS[unit]
    assert guess_unit(*seen) == unit and unit_fault(*seen, unit) is None
    told = unit_fault(*seen, None)
    assert told is None if unit == "m" else NAMES[unit] in told and f"--unit {unit} (factor {UNITS[unit]:g}" in told


@given(SIZES, DISTANCES, st.sampled_from(list(UNITS)), st.sampled_from(list(NAMES)))
def test_a_unit_that_is_off_by_a_thousand_is_refused(size, away, unit, said):
    off = max(UNITS[unit] / UNITS[said], UNITS[said] / UNITS[unit])
    if off >= 1e3 and (unit, said) != ("mm", "um"):  # parts of a tenth of a millimetre exist
        assert f"--unit {said}" in unit_fault(size / UNITS[unit], away / UNITS[unit], said)


@given(st.floats(1e-6, 1e6), st.floats(0, 1e9))
def test_metres_that_are_meant(extent, distance):
    assert unit_fault(extent, distance, "m") is None


def test_coordinates_of_a_map():
    for name in (None, "mm", "cm"):
        assert "offset" in unit_fault(0.08 / UNITS[name or "m"], 4e6 / UNITS[name or "m"], name)


@given(SIZES, DISTANCES, st.sampled_from(["m", "cm", "mm"]), st.booleans())
def test_what_an_import_recognises(size, away, unit, whole):
    """Metres or millimetres that fit alone; a refusal names each unit that fits, with the distance it would mean."""
    extent, distance = size / UNITS[unit], away / UNITS[unit]
    tried = ("mm", "0.00025", "0.0001") if whole else ("m", "cm", "mm")
    fitting = [name for name in tried if VIEW[0] <= extent * metres_of(name) <= VIEW[1]]
    if fitting in (["m"], ["mm"]):
        found = recognise_unit(extent, distance, whole)
        assert found.name == fitting[0] and found.metres == UNITS[found.name]
        return
    with pytest.raises(InputError, match="fits several units|cannot be told") as error:
        recognise_unit(extent, distance, whole)
    assert all(f"{name} if it is {distance * metres_of(name):.3g} m away" in str(error.value) for name in fitting)


@pytest.mark.parametrize("text, metres", [("mm", 1e-3), ("um", 1e-6), ("0.00025", 0.00025), ("1e-4", 1e-4)])
def test_units_that_are_said(text, metres):
    assert metres_of(unit(text)) == pytest.approx(metres)


@pytest.mark.parametrize("text", ["inch", "", "-1", "0", "nan", "inf"])
def test_units_that_are_none(text):
    with pytest.raises(ArgumentTypeError, match="metres of one count"):
        unit(text)
