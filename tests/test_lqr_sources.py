"""Problems from files: every format, both names of the noise covariance, and what is refused."""

import json

import numpy as np
import pytest
import yaml

import maxent_envs
from maxent_envs import load_problem

PROBLEM = maxent_envs.random_problem(3, 2, seed=5, gamma=0.9)


def write(path, content):
    if path.suffix == ".npz":
        np.savez(path, **content)
    elif path.suffix == ".json":
        path.write_text(json.dumps(content))
    else:
        path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("ending", [".yaml", ".yml", ".json", ".npz", ".YAML"])
@pytest.mark.parametrize("noise_key", ["noise_cov", "W"])
def test_every_format_gives_the_same_problem(tmp_path, ending, noise_key):
    content = PROBLEM.to_dict()
    content[noise_key] = content.pop("noise_cov")
    path = write(tmp_path / f"problem{ending}", content)
    assert load_problem(path) == PROBLEM
    assert load_problem(str(path)) == PROBLEM


def test_a_cross_term_is_read(tmp_path):
    content = PROBLEM.to_dict() | {"N": [[0.1, 0.0], [0.0, 0.1], [0.0, 0.0]]}
    np.testing.assert_array_equal(load_problem(write(tmp_path / "p.yaml", content)).N, content["N"])


def test_continuous_time_is_sampled(tmp_path):
    """A falling mass: what the input does in one step, held constant, is known by hand."""
    content = {"A": [[0, 1], [0, 0]], "B": [[0], [2]], "dt": 0.5, "Q": [[1, 0], [0, 1]], "R": [[1]]}
    problem = load_problem(write(tmp_path / "p.yaml", content))
    np.testing.assert_allclose(problem.A, [[1.0, 0.5], [0.0, 1.0]])
    np.testing.assert_allclose(problem.B, [[0.25], [1.0]])
    with pytest.raises(ValueError, match=r"dt must be positive and finite, got 0\.0"):
        load_problem(write(tmp_path / "p.yaml", content | {"dt": 0.0}))
    with pytest.raises(ValueError, match=r"dt=100000\.0 must leave exp\(A dt\) finite"):
        load_problem(write(tmp_path / "p.yaml", content | {"A": [[1, 0], [0, 1]], "dt": 1e5}))


def test_only_the_four_matrices_are_required(tmp_path):
    content = {key: PROBLEM.to_dict()[key] for key in "ABQR"}
    assert load_problem(write(tmp_path / "p.json", content)) == maxent_envs.LQRProblem(**content)


def test_exponents_without_a_point_are_numbers_in_yaml(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("A: [[9e-1]]\nB: [[1]]\nQ: [[1E0]]\nR: [[2e-1]]\nW: [[+1e-2]]\ngamma: 0.9\n")
    problem = load_problem(path)
    assert (problem.A[0, 0], problem.R[0, 0], problem.noise_cov[0, 0]) == (0.9, 0.2, 0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"S": [[1.0]]}, "p.json does not know S; allowed are A, B, Q, R, N, noise_cov, initial_cov, gamma; W"),
        ({"W": np.eye(3).tolist()}, "p.json has both W and noise_cov"),
        ({"A": [[1.0, 2.0]]}, "A must have shape"),
        ({"gamma": 1.5}, "gamma must lie strictly between 0 and 1, got 1.5"),
        ({"R": [[float("nan")]]}, "R must be finite"),
    ],
)
def test_wrong_content_is_named(tmp_path, change, message):
    with pytest.raises(ValueError) as caught:
        load_problem(write(tmp_path / "p.json", PROBLEM.to_dict() | change))
    assert message in str(caught.value)


def test_missing_keys_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"p.yaml lacks B, R; A, B, Q, R are required"):
        load_problem(write(tmp_path / "p.yaml", {"A": [[1.0]], "Q": [[1.0]]}))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.yaml", "A: [1, 2", "p.yaml must be valid"),
        ("p.yaml", "- 1\n- 2\n", "p.yaml must hold a mapping of keys to matrices, got list"),
        ("p.yaml", "!!python/object/apply:os.getcwd []\n", "p.yaml must be valid"),
        ("p.json", "{", "p.json must be valid"),
        ("p.npz", "no archive", "p.npz must be valid"),
        ("p.yaml", "A: [[0.9]]\nB: [[1.0]]\nA: [[0.5]]\n", "p.yaml must be valid.*: A is given twice"),
        ("p.json", '{"A": [[0.9]], "Q": [[1]], "A": [[0.5]]}', "p.json must be valid.*: A is given twice"),
        ("p.txt", "", r"path must end in one of .yaml, .yml, .json, .npz; got 'p.txt'"),
    ],
)
def test_unreadable_files_are_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        load_problem(tmp_path / name)


def test_archives_of_objects_and_bare_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "objects.npz", A=np.array([{"a": 1}], dtype=object))
    (tmp_path / "array.npz").write_bytes(b"")
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, np.eye(2))
    for name in ("objects.npz", "array.npz"):
        with pytest.raises(ValueError, match=f"{name} must be valid"):
            load_problem(tmp_path / name)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="path must be an existing file"):
        load_problem(tmp_path / "absent.yaml")
