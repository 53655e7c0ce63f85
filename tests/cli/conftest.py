from fixtures import recognizer, spoken, tagging, trained, translation  # noqa: F401
