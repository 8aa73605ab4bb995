"""Does harm to small runs at random moments, and looks whether the same command then comes to the same end.

    python tests/faults/run.py --tries=20 [--faults=kill,truncated] [--seed=0] [--output=faults.json]

Each try harms a run of the digits, of 12 steps, gives the same command again, and compares the last state bit for bit,
the metrics without their times and the accuracy with those of a run that nobody harmed. It prints for each fault how
many tries ended well, and what happened on the way; the exit code is 1 if one did not.
"""

import argparse
import collections
import json
import pathlib
import random
import shutil
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers"), str(ROOT / "launch")]

from disturbed import FaultError, Setting, Try, setting_of  # noqa: E402
from harm import FAULTS  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path)
    flags = parser.parse_args()
    if unknown := set(flags.faults.split(",")) - FAULTS.keys():
        parser.error(f"unknown faults {', '.join(sorted(unknown))}: there are {', '.join(FAULTS)}")
    report: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory(prefix="faults") as temporary:
        folder, made = pathlib.Path(temporary), dict[str, Setting]()
        for fault in flags.faults.split(","):
            setting, seen, failures = setting_of(fault, folder, made), collections.Counter[str](), []
            begin = time.monotonic()
            for i in range(flags.tries):
                workdir = folder / f"{fault}_{i}"
                trial = Try(setting, workdir, random.Random(f"{flags.seed} {fault} {i}"))
                try:
                    seen[FAULTS[fault](trial)] += 1
                    setting.finish(workdir)
                except FaultError as error:
                    failures.append(f"try {i}: {error}")
                shutil.rmtree(workdir, ignore_errors=True)
            well = flags.tries - len(failures)
            print(f"{fault}: {well} of {flags.tries} ended well ({time.monotonic() - begin:.0f} s)", flush=True)
            for what, count in seen.most_common():
                print(f"  {count} x {what}")
            for failure in failures:
                print(f"  FAILED {failure}")
            report[fault] = {"tries": flags.tries, "well": well, "seen": seen, "failures": failures}
    if flags.output is not None:
        flags.output.write_text(json.dumps(report, indent=2) + "\n")
    return int(any(each["failures"] for each in report.values()))


if __name__ == "__main__":
    sys.exit(main())
