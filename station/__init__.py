"""The station: parts come in by HTTP or folder, verdicts go into a journal before they are answered, people review."""
