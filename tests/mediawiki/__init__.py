"""A real MediaWiki on loopback for tests."""
