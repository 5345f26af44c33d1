"""What measures and generates: benchmark, evidence, a GPU's results, demo, recordings. Not installed."""
