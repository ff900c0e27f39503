"""Segue: music recommendation that learns from what people play and skip."""
