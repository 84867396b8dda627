"""What `benchmarks/run.py` runs: the harness, the two kinds of sides, and one module per benchmark."""
