"""Protocols: the actors of each fold's training, validation and test."""
