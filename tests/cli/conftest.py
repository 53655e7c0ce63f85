from fixtures import tagging, trained, translation  # noqa: F401
