"""From anomaly maps to scores, and from scores to metrics."""
