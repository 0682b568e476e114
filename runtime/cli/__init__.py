"""``adsn-rig`` and ``adsn-doctor``, and what all console scripts share."""

__all__: list[str] = []
