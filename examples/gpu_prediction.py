"""From profiles of two GPUs to a prediction of the DRAM throughput on the second one.

The profiles are simulated, so that the script needs no data: put the folder of your own in place of `profiles`.
"""

import tempfile
from pathlib import Path

import gpu_xarch

with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    gpus = [gpu_xarch.find_gpu("P100"), gpu_xarch.find_gpu("V100")]
    gpu_xarch.write_simulation(gpus, gpu_xarch.plan_runs(300), folder / "profiles")

    report = gpu_xarch.ingest(folder / "profiles", folder / "runs.parquet")
    runs = gpu_xarch.load_runs(folder / "runs.parquet")  # a row a run, values in SI units
    print(f"{report.read} files, {len(runs)} runs")

    pairing = gpu_xarch.pair(runs, source="P100", dest="V100")
    print(f"{len(pairing.pairs)} pairs, {len(pairing.unmatched)} runs without a partner")

    # Scores on applications that the model had not seen, beside "as on the old GPU".
    data = gpu_xarch.training_data(
        pairing.pairs, gpu_xarch.make_problem("dram_read_throughput", "P100", "V100")
    )
    for score in gpu_xarch.evaluate(data, ["forest"], folds=3).scores():
        print(f"{score['model']:8} median error {100 * score['median_ape']:.1f} %")

    model = gpu_xarch.train(data, "forest")
    gpu_xarch.save_model(model, folder / "dram-P100-V100.skops")
    new = runs[runs["device"] == "P100"].head(3)
    predictions, _ = gpu_xarch.predict(gpu_xarch.load_model(folder / "dram-P100-V100.skops"), new)
    print(predictions.to_string(index=False, max_colwidth=20))
