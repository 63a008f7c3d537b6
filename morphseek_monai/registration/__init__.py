"""Register any two scans: read, align, run the network, bring the field to the fixed image, judge, report."""
