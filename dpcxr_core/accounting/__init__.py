"""Accounting room: what a mechanism promises, in numbers and in words. It knows neither images nor networks."""
