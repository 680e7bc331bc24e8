"""Working in many threads and processes."""
