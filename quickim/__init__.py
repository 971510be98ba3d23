"""quickim: instant messaging as one self-hosted module. This package is its ground and its roof."""
