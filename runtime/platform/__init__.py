"""What machine this is: the Jetson, the NVIDIA driver and GPU."""
