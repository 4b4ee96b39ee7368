"""Models share no hidden state: two in one process, in threads, and in processes started in every way."""

import multiprocessing
import threading

import numpy as np
import pytest
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv

from sb3_flowsac import FlowSAC

SIZES = {"learning_starts": 20, "batch_size": 8, "buffer_size": 100, "n_proposals": 4, "device": "cpu"}
STEPS, UPDATES = 30, 12


def global_settings():
    return (
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_inference_mode_enabled(),
    )


def trained_elsewhere(seed, queue):
    """Parameters after a few steps, from a process of its own."""
    torch.set_num_threads(1)  # a forked process must not wait for its parent's threads
    model = FlowSAC("FlowPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [4]}, seed=seed, **SIZES).learn(STEPS)
    queue.put((model._n_updates, torch.cat([p.detach().flatten() for p in model.policy.parameters()]).numpy()))


class TestThreads:
    """
    Two models whose batches are drawn before and whose noise comes from a generator of each thread's own: all that
    torch's and numpy's global generators, which Stable-Baselines3 uses, would otherwise mix up.
    """

    @pytest.fixture
    def own_noise(self, monkeypatch):
        local = threading.local()
        for owner, name in ((torch, "rand"), (torch, "randn"), (torch.Tensor, "normal_")):
            draw = getattr(owner, name)

            def drawn(*args, _draw=draw, generator=None, **kwargs):
                return _draw(*args, generator=local.generator if generator is None else generator, **kwargs)

            monkeypatch.setattr(owner, name, drawn)
        return local

    def prepared(self, make_model, local, seed):
        """A model with data, and the batches that its gradient steps will see."""
        local.generator = torch.Generator().manual_seed(seed)
        model = make_model("Pendulum-v1", seed=seed, learning_rate=1e-3).learn(20)
        return model, [model.replay_buffer.sample(8) for _ in range(UPDATES)]

    def train(self, model, batches, seed, local, meet):
        local.generator = torch.Generator().manual_seed(100 + seed)
        remaining = iter(batches)

        def sample(*_, **__):
            meet()  # neither thread runs ahead: their gradient steps interleave
            return next(remaining)

        model.replay_buffer.sample = sample
        model.train(UPDATES, 8)
        assert torch.is_grad_enabled()

    def test_two_models_in_threads_learn_what_they_learn_in_turn(self, make_model, own_noise):
        runs = {}
        for together in (False, True):
            before = global_settings()
            prepared = [self.prepared(make_model, own_noise, seed) for seed in (1, 2)]
            barrier = threading.Barrier(2, timeout=60)
            meet = barrier.wait if together else lambda: None
            work = [(model, batches, seed, own_noise, meet) for seed, (model, batches) in enumerate(prepared)]
            if together:
                errors = []

                def run(*args, errors=errors):
                    try:
                        self.train(*args)
                    except BaseException as error:
                        errors.append(error)
                        raise

                threads = [threading.Thread(target=run, args=args) for args in work]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                assert not errors
            else:
                for args in work:
                    self.train(*args)
            assert global_settings() == before
            runs[together] = [[p.detach().clone() for p in model.policy.parameters()] for model, _ in prepared]
        for in_turn, in_threads in zip(runs[False], runs[True], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(in_turn, in_threads, strict=True))
        assert not torch.equal(runs[True][0][0], runs[True][1][0])


def test_a_second_model_between_changes_nothing(make_model):
    """In turn, step by step: only the global generators are shared, and these are put back."""
    before = global_settings()
    runs = []
    for disturbed in (False, True):
        model = make_model("Pendulum-v1", learning_rate=1e-3).learn(30)
        if disturbed:
            torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
            make_model(
                "Pendulum-v1", seed=9, policy_kwargs={"ode_steps": 2, "squash_output": False}, ent_coef=0.3
            ).learn(30)
            torch.set_rng_state(torch_state)
            np.random.set_state(numpy_state)
        model.train(5, 8)
        runs.append([p.detach().clone() for p in model.policy.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    assert global_settings() == before


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_training_in_a_process_of_its_own(method):
    """Started in every way, also from a process that has already trained: the same parameters as here."""
    expected = multiprocessing.get_context("spawn").SimpleQueue()
    trained_elsewhere(3, expected)
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    process = context.Process(target=trained_elsewhere, args=(3, queue), daemon=True)
    process.start()
    process.join(600)  # seconds; importing torch takes minutes where other programs have the cores
    assert process.exitcode == 0
    (updates, parameters), (expected_updates, expected_parameters) = queue.get(), expected.get()
    assert updates == expected_updates == STEPS - SIZES["learning_starts"]
    np.testing.assert_allclose(parameters, expected_parameters, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_environments_in_processes(make_model, method):
    kwargs = {"n_envs": 2, "seed": 0, "vec_env_cls": SubprocVecEnv, "vec_env_kwargs": {"start_method": method}}
    env = make_vec_env("maxent_envs:MaxEntLQR-v0", **kwargs)
    try:
        assert make_model(env, gamma=0.95).learn(40)._n_updates > 0
    finally:
        env.close()
