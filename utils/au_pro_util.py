"""The release's AU-PRO, under the name that its users import; the code is in ``scoring/au_pro.py``."""

from scoring.au_pro import calculate_au_pro

__all__ = ["calculate_au_pro"]
