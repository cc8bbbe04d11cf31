"""Runs that other machines, or other times, make: submitted once, interrupted, continued, found."""
