"""The sample wiki: a few hundred OpenMoji drawings, as a fan wiki would hold them, and a small server for them."""
