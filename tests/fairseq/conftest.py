import pytest
from fixtures import recognizer, rnnlm, spoken, tagging, trained, translation  # noqa: F401
from glue import Loaded


@pytest.fixture(scope="session")
def loaded(trained):  # noqa: F811
    """`loaded(arch)`: the trained model of that arch and its task, both new at each call."""
    return lambda arch, **options: Loaded.from_checkpoint(trained(arch), **options)
