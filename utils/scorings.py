"""Which scorings a method with given memory banks can have: asked before any work, and again where saved maps are
scored."""

from scoring_addon import SCORINGS, needs_maps


def available_scorings(bank_names, map_source="decision"):
    """Names of the scorings that a method with these banks can have."""
    return [name for name in SCORINGS if scoring_problem(name, bank_names, map_source) is None]


def needs_test_set(name, reference):
    """Whether a scoring normalises over the test parts; ``reference``: --scoring_reference."""
    return reference == "test" and name in ("partial", "full", "disagreement")


def scoring_problem(name, bank_names, map_source="decision"):
    """Why a method with these banks cannot be scored so, as a text; None where it can.

    Args:
        name: the scoring.
        bank_names: of "xyz", "rgb" and "fusion".
        map_source: where M_fusion comes from, "decision" or "bank" (--scoring_map).
    """
    banks = ", ".join(bank_names)
    if name not in SCORINGS:
        return f"--scoring {name} is unknown; known: {', '.join(SCORINGS)}"
    if map_source == "bank" and "fusion" not in bank_names:
        return f"--scoring_map bank needs a fusion bank, the method has only: {banks}"
    if needs_maps([name], map_source) and not {"rgb", "xyz"} <= set(bank_names):
        what = f"--scoring {name}" + (" --scoring_map bank" if map_source == "bank" else "")
        return f"{what} needs an RGB and an xyz bank, the method has only: {banks}"
    return None
