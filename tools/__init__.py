"""One thin file per command that users run."""
