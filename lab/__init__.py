"""What measures and generates: evidence, a GPU's results, demo, recordings. Not installed."""
