"""Patches of source code: adds the scoring to a checkout of the release."""
