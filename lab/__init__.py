"""What measures and generates: benchmark, evidence, demo, recordings. Not installed."""
