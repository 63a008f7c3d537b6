"""Two scans as the network's input."""
