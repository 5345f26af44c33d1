"""The part in a frame of its own: found in the scan, laid at constant millimetres per pixel, compared in place."""
