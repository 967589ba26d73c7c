"""Archives: thousands of recorded clips to files of poses, on the cores of one machine or on many machines."""
