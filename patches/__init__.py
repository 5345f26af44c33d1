"""Adds the scoring to a checkout of the release."""
