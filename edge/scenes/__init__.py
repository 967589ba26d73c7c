"""Training scenes, made on the device that trains: bodies, cameras and detectors drawn at random, in batches, in torch."""
