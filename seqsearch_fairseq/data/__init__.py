"""Data as they are published: readers of their formats, what is done to their text, and what the scripts share."""
