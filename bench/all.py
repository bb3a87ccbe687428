"""`make bench`: the benches that need no file, in turn; `--json` collects their JSON in one object."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHES = ("encoder", "roundtrip", "load", "recall", "grounding")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = {}
    for name in BENCHES:
        command = [sys.executable, str(HERE / f"{name}.py")]
        if args.json:
            done = subprocess.run([*command, "--json"], check=True, stdout=subprocess.PIPE, text=True)
            found[name] = json.loads(done.stdout)
        else:
            print(f"\n== {name}", flush=True)
            subprocess.run(command, check=True)
    if args.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
