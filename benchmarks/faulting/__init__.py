"""What ``faults.py`` lets fail: everything that writes."""
