"""The folder for files that can be made again, in the user's cache folder."""

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """This project's folder in the user's cache folder; it need not exist yet."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "m3dm"
