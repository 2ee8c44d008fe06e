"""What all tests share: how property tests draw their examples."""

from __future__ import annotations

from hypothesis import settings

# The same examples each time, and none too slow on a busy machine: this suite decides whether a change may land.
settings.register_profile("opsctl", deadline=None, derandomize=True)
settings.register_profile("brief", deadline=None, derandomize=True, max_examples=20)
settings.load_profile("opsctl")
