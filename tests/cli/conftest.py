from fixtures import recognizer, rnnlm, spoken, tagging, trained, translation  # noqa: F401
