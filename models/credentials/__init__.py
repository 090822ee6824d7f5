"""Content credentials (C2PA) on recordings and stills: what made them, signed into the file. `python -m models.credentials verify FILE`."""
