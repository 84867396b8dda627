"""One live connection to the broker: its thread, its link, its pace, and the one lane that writes orders."""
