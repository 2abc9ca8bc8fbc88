"""What no exporter tells: whether inputs have drifted from their reference, and whether answers are still what they
should be. All of it becomes metrics under names of our own (`exposition.py`), since nobody has a standard for them."""
