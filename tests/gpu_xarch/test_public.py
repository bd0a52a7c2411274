"""What `import gpu_xarch` offers, and what it costs."""

import ast
import inspect
import subprocess
import sys

import pytest

import gpu_xarch


def test_every_public_name_is_there_and_known_to_type_checkers():
    for name in gpu_xarch.__all__:
        assert getattr(gpu_xarch, name) is not None
    block = next(node for node in ast.parse(inspect.getsource(gpu_xarch)).body if isinstance(node, ast.If))
    told = {alias.asname: f"{part.module}:{alias.name}" for part in block.body for alias in part.names}
    made = {name: f"gpu_xarch.{module}:{there}" for name, (module, there) in gpu_xarch._HOME.items()}
    assert told == made
    assert {"ingest", "pair", "train", "predict", "evaluate", "load_model", "save_model", "find_gpu"} <= set(
        told
    )


def test_the_version_is_that_of_the_distribution():
    assert gpu_xarch.__version__.split(".")[0].isdigit()
    assert "__version__" in dir(gpu_xarch)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'ingset'"):
        gpu_xarch.ingset  # noqa: B018


@pytest.mark.parametrize(
    ("use", "absent"),
    [("gpu_xarch.find_gpu('P100')", {"numpy", "pyarrow"}), ("gpu_xarch.ingest", {"pandas", "sklearn"})],
)
def test_a_name_loads_only_what_it_needs(use, absent):
    script = f"import sys, gpu_xarch; {use}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & absent
