"""The page in a real browser, with a fake camera that plays a real face."""
