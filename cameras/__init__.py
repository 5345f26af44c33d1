"""From a camera's recording to parts."""
