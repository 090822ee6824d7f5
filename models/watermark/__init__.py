"""The mark in the pixels that says that a picture was made by Headcast, and what finds it again: `python -m models.watermark detect FILE`."""
