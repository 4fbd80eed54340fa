"""Look for bytes that break a promise of lvseg's input, guided by coverage.

python fuzz/run.py dicom|contour|request [LIBFUZZER OPTIONS]

Example: python fuzz/run.py dicom -max_total_time=3600

What is found is written to the working directory as crash-*, timeout-* or oom-*; keep it as a test
(tests/fuzz/crashes).
The corpus grows in fuzz/corpus, which git ignores.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lvseg", "lvseg_serve", "fuzz"]):
    from fuzz import properties

from fuzz.seeds import SEEDS

CORPUS = Path(__file__).parent / "corpus"
LONGEST = {"dicom": 65536, "contour": 4096, "request": 65536}


def main() -> None:
    """Run libFuzzer on one of the properties."""
    if len(sys.argv) < 2 or sys.argv[1] not in SEEDS:
        sys.exit(__doc__)
    target, *options = sys.argv[1:]
    corpus = CORPUS / target
    corpus.mkdir(parents=True, exist_ok=True)
    for name, data in SEEDS[target]().items():
        (corpus / name).write_bytes(data)
    limits = [
        f"-rss_limit_mb={properties.MEMORY_MIB}",
        f"-timeout={properties.TIME_S}",
        f"-max_len={LONGEST[target]}",
    ]
    atheris.Setup([sys.argv[0], str(corpus), *limits, *options], getattr(properties, target))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
