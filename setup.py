from setuptools import find_packages, setup

setup(
    packages=find_packages(include=["seqsearch_fairseq", "seqsearch_fairseq.*"]),
    package_data={"seqsearch_fairseq": ["py.typed"]},
)
