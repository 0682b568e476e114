"""``adsn-rig`` and ``adsn-doctor``, and code shared by all console scripts."""

__all__: list[str] = []
