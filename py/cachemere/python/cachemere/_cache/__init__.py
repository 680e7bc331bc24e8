"""What a cache is made of: its methods, and their twins for tasks."""
