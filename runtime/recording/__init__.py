"""Recordings of a rig as MCAP files."""
