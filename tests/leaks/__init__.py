"""No face leaks: the camera of these tests carries a barcode, and everything that leaves the server is searched for it."""
