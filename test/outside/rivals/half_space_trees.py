"""River's HalfSpaceTrees over a folder of series: half_space_trees.py IN OUT. Answers rows and processor seconds as JSON."""
import csv, json, os, sys, time
from river import anomaly, preprocessing

source, target = sys.argv[1:3]
rows, seconds = 0, 0.0
for folder, _, names in os.walk(source):
    for name in sorted(n for n in names if n.endswith(".csv")):
        lines = list(csv.reader(open(os.path.join(folder, name))))[1:]
        trees, scaler, scores = anomaly.HalfSpaceTrees(seed=42), preprocessing.MinMaxScaler(), []
        began = time.process_time()
        for line in lines:
            reading = {"value": float(line[1])}
            scaler.learn_one(reading)
            scaled = scaler.transform_one(reading)
            scores.append(trees.score_one(scaled))
            trees.learn_one(scaled)
        seconds += time.process_time() - began
        rows += len(lines)
        out = os.path.join(target, os.path.relpath(folder, source))
        os.makedirs(out, exist_ok=True)
        with open(os.path.join(out, name), "w") as file:
            file.write("timestamp,value,anomaly_score\n")
            file.writelines(f"{line[0]},{line[1]},{score:.6f}\n" for line, score in zip(lines, scores))
print(json.dumps({"rows": rows, "seconds": seconds}))
