"""What a registration takes, and the plan that fits it."""
