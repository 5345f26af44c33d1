"""The one name that an installation brings: ``from m3dm import Inspector``.

The wheel puts the rooms and the top-level modules beside it, as ``m3dm.scoring`` and so on; ``setup.py`` says how.
"""

__version__ = "0.9.0"
__all__ = ["Inspector"]


def __getattr__(name: str) -> object:
    """``Inspector``, imported at its first use, so that ``import m3dm`` costs nothing."""
    if name == "Inspector":
        from inspection.inspector import Inspector

        return Inspector
    raise AttributeError(f"module 'm3dm' has no attribute {name!r}")
