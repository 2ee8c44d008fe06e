"""Each promise of speed, measured as a ratio against what a user would use instead, in the same run.

    make bench                      everything that is quick (start-up)
    make bench BENCH="provision"    one or more of: startup lab provision comply report netbox plan engine rollout
                                    demo all
    make bench BENCH="provision --hosts 7"

Seconds depend on the machine; ratios travel. Nothing here passes or fails: it prints what was measured.
"""

from __future__ import annotations

import argparse

from tests.bench import comply, demo, engine, lab, netbox, plan, provision, report, rollout, startup

BENCHES = {
    "startup": startup.run,
    "lab": lab.run,
    "provision": provision.run,
    "comply": comply.run,
    "report": report.run,
    "netbox": netbox.run,
    "plan": plan.run,
    "engine": engine.run,
    "rollout": rollout.run,
    "demo": demo.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benches", nargs="*", choices=[*BENCHES, "all", []], help="default: startup")
    parser.add_argument("--hosts", type=int, default=20, help="size of the fleet for provision, comply and rollout")
    parser.add_argument("--sizes", type=int, nargs="*", default=[7, 20, 40], help="sizes for lab")
    parser.add_argument("--runs", type=int, default=3, help="how often netbox measures each thing")
    options = parser.parse_args()
    chosen = list(BENCHES) if "all" in options.benches else options.benches or ["startup"]
    for name in chosen:
        BENCHES[name](options)


if __name__ == "__main__":
    main()
