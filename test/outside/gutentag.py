"""Series with labelled anomalies by GutenTAG (PyPI timeeval-gutentag): python3 gutentag.py SEED OUT_DIR [SERIES_PER_KIND_AND_BASE]

Three channels a file, one anomaly in one of them; writes CSV files and kinds.json, which gutentag.mjs scores.
"""
import json
import random
import sys
from pathlib import Path

from gutenTAG import GutenTAG

LENGTH = 4000
KINDS = {
    "amplitude": {"amplitude_factor": 2.5},
    "extremum": {"min": False, "local": False},
    "frequency": {"frequency_factor": 3.0},
    "mean": {"offset": 1.0},
    "pattern": {"sinusoid_k": 10.0, "cbf_pattern_factor": 4.0},
    "pattern-shift": {"shift_by": 10, "transition_window": 20},
    "platform": {"value": 0.0},
    "trend": {"oscillation": {"kind": "polynomial", "polynomial": [0, 2]}},
    "variance": {"variance": 0.5},
}
BASES = {
    "sine": {"kind": "sine", "frequency": 1.0, "amplitude": 1.0, "variance": 0.05},
    "ecg": {"kind": "ecg", "frequency": 2.0, "amplitude": 1.0, "variance": 0.05},
    "random-walk": {"kind": "random-walk", "amplitude": 1.0, "variance": 0.05},
    "cylinder-bell-funnel": {"kind": "cylinder-bell-funnel", "avg-pattern-length": 60, "amplitude": 1.0, "variance": 0.05},
}
ONLY_FOR = {
    "pattern": {"sine", "ecg", "cylinder-bell-funnel"},
    "pattern-shift": {"sine", "ecg"},
    "frequency": {"sine", "ecg"},
    "amplitude": {"sine", "ecg", "cylinder-bell-funnel"},
    "trend": {"sine", "ecg", "random-walk"},
}


def config_of(name, kind, base, channel, at, length):
    return {
        "timeseries": [
            {
                "name": name,
                "length": LENGTH,
                "base-oscillations": [BASES[base] for _ in range(3)],
                "anomalies": [{"exact-position": at, "length": length, "channel": channel, "kinds": [{"kind": kind, **KINDS[kind]}]}],
            }
        ]
    }


def main():
    seed, out = int(sys.argv[1]), Path(sys.argv[2])
    each = int(sys.argv[3]) if len(sys.argv) > 3 else 4
    out.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)
    known, refused = [], []
    for kind in KINDS:
        for base in BASES:
            if base not in ONLY_FOR.get(kind, BASES):
                continue
            for k in range(each):
                name = f"{kind}-{base}-{k}"
                channel, at = chance.randrange(3), chance.randrange(2200, 3500)
                length = 1 if kind == "extremum" else 100
                try:
                    generator = GutenTAG(seed=seed * 1000 + len(known))
                    generator.load_config_dict(config_of(name, kind, base, channel, at, length))
                    made = generator.generate(return_timeseries=True)[0]
                except Exception as error:  # a kind that this base does not have is told at the end
                    refused.append(f"{name}: {error}")
                    continue
                table = made.timeseries.to_numpy()
                labelled = [i for i, row in enumerate(table) if row[-1]]
                rows = ["timestamp,m0,m1,m2,anomaly"]
                rows += [f"{1763680000 + i},{','.join(f'{v:.6f}' for v in row[:-1])},{int(row[-1])}" for i, row in enumerate(table)]
                (out / f"{name}.csv").write_text("\n".join(rows) + "\n")
                known.append({"file": f"{name}.csv", "kind": kind, "base": base, "channel": f"m{channel}", "from": labelled[0], "to": labelled[-1] + 1})
    (out / "kinds.json").write_text(json.dumps(known))
    print(json.dumps({"files": len(known), "refused": refused[:20]}))


main()
