"""The part in a frame of its own: found in the scan, laid at constant mm per pixel, compared in place: seven maps."""
