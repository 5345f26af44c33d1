"""M3DM's method: patches of a part, memory banks of normal patches, anomaly maps."""
