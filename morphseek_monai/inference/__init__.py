"""What is done with a trained network on one pair: its steps, samples, scores, and instance optimisation."""
