"""miniswift and a real Swift side by side. README.md here says what is measured and how to read it."""
