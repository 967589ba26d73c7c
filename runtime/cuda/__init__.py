"""All that engines need of CUDA: a device, its memory, captured graphs."""
