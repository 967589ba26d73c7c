"""The training side and the command line: models, presets, data, training."""
