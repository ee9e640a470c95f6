"""Several machines, as far as one can play them: groups of processes, each started by a torchrun of its own,
that find each other by a rendezvous."""

import os
import subprocess
import sys

from conftest import command, same_tensors, write_config
from processes import free_port

from solvers.run.checkpoint import load_checkpoint

LAUNCH = [sys.executable, "-m", "torch.distributed.run"]


def launched(config_file, *words):
    pipe, environment = subprocess.PIPE, {**os.environ, "OMP_NUM_THREADS": "1"}
    line = [*LAUNCH, *words, *command(config_file)[1:]]
    return subprocess.Popen(line, env=environment, stdout=pipe, stderr=pipe, text=True)


def test_two_nodes_of_one_process_train_what_one_node_of_two_trains(experiment, tmp_path):
    files = {}
    for name in ("one", "two"):
        values = {**experiment, "run_dir": str(tmp_path / name), "precision": "fp32"}
        values["training"] = {**experiment["training"], "max_iters": 4, "model_save_freq": 4}
        files[name] = write_config(values, tmp_path / f"{name}.json")
    node = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=toy"]
    node.append(f"--rdzv-endpoint=localhost:{free_port()}")
    groups = [launched(files["two"], *node) for _ in range(2)]
    groups.append(launched(files["one"], "--standalone", "--nproc-per-node=2"))
    said = [group.communicate(timeout=300) for group in groups]
    assert [group.returncode for group in groups] == [0, 0, 0], said
    assert sum("Run folder" in out for out, _ in said[:2]) == 1  # one of all processes speaks
    states = [load_checkpoint(tmp_path / name / "models/000004-checkpoint.pt") for name in files]
    for part in ("networks", "optimizers"):
        assert same_tensors(states[0][part], states[1][part])
