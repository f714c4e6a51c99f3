"""A package, so that its conftest has a name of its own to a type checker."""
