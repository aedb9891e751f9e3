"""The embedded identity service."""
