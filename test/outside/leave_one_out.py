"""leave_one_out.py SCORER RESULTS LABELS: thresholds and scores of each file, chosen without it, as one line of JSON.

By the benchmark's own scorer, which lies in the folder SCORER. For each profile and each file: the threshold that is best for all the other files,
what they score at it, and what this one does."""
import json
import sys

sys.path.insert(0, sys.argv[1])
import score_nab  # noqa: E402

# Whatever is repeated of an event scores at most this: no threshold below it is of use, and the sweep is short.
LEAST_SCORE = 0.3


def notable(loaded):
    points = [point for point in zip(*loaded) if point[0] > LEAST_SCORE]
    return [list(column) for column in zip(*points)] if points else [[], [], []]


with open(sys.argv[3]) as labels_file:
    labels = json.load(labels_file)
files = sorted(labels)
loaded = score_nab.load_corpus(sys.argv[2], labels, files)
short = {file: notable(loaded[file]) for file in files}
told = {}
for name, profile in score_nab.PROFILES.items():
    told[name] = {}
    for file in files:
        others = [other for other in files if other != file]
        threshold, _ = score_nab.sweep(others, short, profile)
        applied = score_nab.apply(files, loaded, profile, threshold)
        told[name][file] = {
            "threshold": threshold,
            "others": sum(applied[other]["raw"] for other in others),
            "raw": applied[file]["raw"],
            "null": applied[file]["null"],
            "perfect": len(labels[file]) * profile["tp"],
        }
print(json.dumps(told))
