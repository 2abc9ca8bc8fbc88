"""What speaks HTTP: doors for machines, pages for people."""
