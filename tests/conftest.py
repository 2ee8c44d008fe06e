"""What all tests share: how property tests draw their examples."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# The same examples each time, and none too slow on a busy machine: this suite decides whether a change may land.
# What a strategy filters out differs with the Unicode tables of each Python; that is no fault of what is tested.
CALM = (HealthCheck.filter_too_much, HealthCheck.too_slow)
settings.register_profile("opsctl", deadline=None, derandomize=True, suppress_health_check=CALM)
settings.register_profile("brief", deadline=None, derandomize=True, max_examples=20, suppress_health_check=CALM)
settings.load_profile("opsctl")
