"""What every room stands on: errors, files, signals, commands, progress, devices."""
