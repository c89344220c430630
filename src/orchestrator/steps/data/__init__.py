"""Databases, files, and what is kept between runs."""
