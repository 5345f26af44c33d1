"""The scorings, the paper's and this project's own, and which of them a method can have with its memory banks. Commands
check this before any work, and again when they score saved maps."""

import scoring_addon
from scoring.ablation import SCORINGS, needs_maps

CALIBRATED = "calibrated"
# this project's own scorings, in the form of scoring.ablation.SCORINGS: name → (pixel map, image score, source)
OURS = {
    CALIBRATED: (
        "larger of the banks' maps, each in units of its normal training parts' maps",
        "mean of its 64 largest pixels",
        "ours, not the paper's; docs/scoring.md",
    )
}
ALL = {**SCORINGS, **OURS}


def add_scoring_arguments(group, reference=("test", "train")):
    """Add --scoring, which takes several names, and the add-on's parameters to an ``argparse`` parser or group.

    ``reference``: the choices of --scoring_reference.
    """
    group.add_argument(
        "--scoring",
        choices=[*ALL, "all"],
        metavar="NAME",
        default=["baseline"],
        nargs="+",
        help=f"one or more of: {', '.join(ALL)}; or all; scored from one feature pass; the table at the end describes "
        "them (default: baseline)",
    )
    scoring_addon.add_parameters(group)
    group.add_argument(
        "--scoring_reference",
        choices=reference,
        default="test",
        help="whose minima and maxima normalise the statistics: the test set's, or those of training parts measured "
        "without their own rows (default: %(default)s)",
    )


def names_from(args):
    """The paper's scorings asked for, in order, each once; all of them for "all"."""
    return list(SCORINGS) if "all" in args.scoring else list(dict.fromkeys(args.scoring))


def available_scorings(bank_names, map_source="decision"):
    """Names of the scorings that a method with these banks can have."""
    return [name for name in ALL if scoring_problem(name, bank_names, map_source) is None]


def needs_test_set(name, reference):
    """Whether a scoring normalises over the test parts; ``reference``: --scoring_reference."""
    return reference == "test" and name in ("partial", "full", "disagreement")


def needs_training_parts(names, reference, bank_names):
    """The flag, as on the command line, for which training parts must be measured without their own rows; "" if none
    needs it.

    Args:
        names: names of scorings.
        reference: --scoring_reference, which one-bank methods do not use.
        bank_names: the method's banks.
    """
    if CALIBRATED in names:
        return f"--scoring {CALIBRATED}"
    return "--scoring_reference train" if reference == "train" and {"rgb", "xyz"} <= set(bank_names) else ""


def scoring_problem(name, bank_names, map_source="decision"):
    """Text on why a method with these banks cannot have this scoring; None if it can.

    Args:
        name: name of the scoring.
        bank_names: the method's banks, some of "xyz", "rgb" and "fusion".
        map_source: where M_fusion comes from, "decision" or "bank" (--scoring_map).
    """
    banks = ", ".join(bank_names)
    if name not in ALL:
        return f"--scoring {name} is unknown; known: {', '.join(ALL)}"
    if map_source == "bank" and "fusion" not in bank_names:
        return f"--scoring_map bank needs a fusion bank, the method has only: {banks}"
    if name in SCORINGS and needs_maps([name], map_source) and not {"rgb", "xyz"} <= set(bank_names):
        what = f"--scoring {name}" + (" --scoring_map bank" if map_source == "bank" else "")
        return f"{what} needs an RGB and an xyz bank, the method has only: {banks}"
    return None
