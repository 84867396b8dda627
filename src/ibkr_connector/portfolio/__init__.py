"""What the account holds: immutable snapshots, swapped whole."""
