"""A throw-away Phoenix estate made of real and third-party servers, for tests and for trying phoenix-dr by hand."""
