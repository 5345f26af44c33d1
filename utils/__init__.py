"""The util names that users of the release know."""
