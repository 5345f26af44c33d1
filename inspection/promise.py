"""What a saved model promises at a rate of false alarms; known from its metadata, before anything slow is imported."""

from pathlib import Path

from common.errors import InputError
from inspection import verdict
from inspection.model_file import Meta


def needs_clouds(meta: Meta) -> bool:
    """Whether parts to be judged need a cloud: the method reads clouds, or its training parts had some, with which
    the gate compares. ``meta``: the model's metadata."""
    fitted, scan = meta["fitted"], meta["scan"]
    compared = scan is not None and "missing" in scan["names"]
    return fitted.get("placement") is not None or set(fitted["banks"]) != {"rgb"} or compared


def check_rate(path: Path, meta: Meta, false_alarm: float, scoring: str | None = None) -> str:
    """The name of the scoring that decides.

    Args:
        path, meta: the model's file, for messages, and its metadata.
        false_alarm: share of good parts that fail.
        scoring: the scoring asked for; None: the model's first.

    Raises:
        InputError: too few calibration parts for ``false_alarm``, or the model does not have the scoring.
    """
    names: list[str] = meta["scoring"]["names"]
    if scoring is not None and scoring not in names:
        raise InputError(f"{path}: does not know the scoring {scoring}; it knows: {', '.join(names)}")
    try:
        verdict.rank(meta["calibration"]["parts"], false_alarm)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return scoring or names[0]


def promise_of(meta: Meta, false_alarm: float) -> str:
    """A sentence on what the model guarantees at the rate ``false_alarm``, which :func:`check_rate` has accepted."""
    calibration = meta["calibration"]
    if calibration["promised"]:
        return verdict.promise_text(verdict.promise(calibration["parts"], false_alarm))
    return (
        f"no guarantee, only an estimate: there are no calibration parts, so the {calibration['parts']} training parts "
        "stand in for them, each measured without its own rows; about "
        f"{verdict.percent(false_alarm)} of good parts fail if they are as unlike the banks as these. "
        "tools/recalibrate.py gives the model calibration parts, and with them a promise"
    )
