"""The machine that runs us: a Jetson's files, the NVIDIA driver and its GPU."""
