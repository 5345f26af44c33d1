"""A verdict as JSON: what /judge answers, what pages, webhook and MQTT get."""

SOMETIMES = ("judged_before", "note", "clock")  # told only where there is something to tell


def answer(event, pictures):
    """The JSON of a verdict's event; ``pictures``: {name: address}."""
    content = event.content
    return {
        "id": event.number,
        "time": event.time,
        "verdict": event.verdict,
        "p_value": event.p_value,
        "score": event.score,
        "threshold": content["threshold"],
        "regions": content["regions"],
        "explanation": content["explanation"],
        "model": event.recipe,
        "model_id": f"{event.recipe}:{event.model[:12]}",
        "name": event.name,
        "serial": event.serial,
        "metadata": content["metadata"],
        "milliseconds": content["milliseconds"],
        "drawn_for_review": event.chance is not None,
        "check": content["check"],
        "pictures": pictures,
        "review": event.review,
        **{name: content[name] for name in SOMETIMES if name in content},
    }
