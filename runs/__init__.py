"""From a command line to a run that loses nothing."""
