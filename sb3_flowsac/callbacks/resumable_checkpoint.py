"""Checkpoints from which an interrupted run goes on as if nothing had happened."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EventCallback

from sb3_flowsac.algorithm import FlowSAC
from sb3_flowsac.checks import integer
from sb3_flowsac.files.checkpoints import read_checkpoint, write_checkpoint
from sb3_flowsac.files.run_settings import check_same_run, run_settings
from sb3_flowsac.files.run_state import restore_run, run_state


class ResumableCheckpoint(BaseCallback):
    """
    Save all that training depends on, and start from there when the same run is started again.

    Run the same program again after an interruption, whatever the moment: ``learn`` goes on from the checkpoint in the
    folder and ends, on one CPU thread, with the parameters that the uninterrupted run has, to the last bit. A folder
    stands for one run; that of a finished run ends ``learn`` at once, with the finished model.

    A checkpoint holds networks, optimisers, the filled part of the replay buffer, ``VecNormalize``'s statistics, action
    noise, random generators, counters, the buffers for logging and the state of the environments. It is taken when
    training starts, then between two rollouts, and written under a temporary name before it takes the place of the one
    before, so that none is ever half written. Like SB3's own files it holds pickles, which can run code: resume only
    your own runs.

    ``total_timesteps`` of ``learn`` is the length of the whole run. It may be raised if ``learning_rate`` and
    ``learning_starts`` are numbers.

    Environments must offer ``get_state()`` and ``set_state(state)``, as ``MaxEntLQR-v0`` does, for an episode to go on
    where it was; otherwise, or inside a wrapper whose state is not known, a warning names what is missing, and the
    interrupted episodes start anew. Other callbacks get the number of their calls back, and their state if they have
    such methods, as ``LQROptimalityCallback`` has.

    :param folder: where the checkpoint is
    :param save_freq: save every ``save_freq`` calls of the callback, at the next start of a rollout; with several
        environments each call stands for ``n_envs`` steps
    :param verbose: verbosity level: 0 for no output, 1 for a line on resuming, 2 for one at each checkpoint, too
    :raises ValueError: if a number is out of range; when training starts, if the model is no FlowSAC, the checkpoint is
        of another run, or damaged
    :raises TypeError: when training starts, if something of the run's state cannot be pickled
    :raises OSError: if a checkpoint cannot be written; the earlier one is kept
    """

    def __init__(self, folder: str | Path, save_freq: int, verbose: int = 1) -> None:
        super().__init__(verbose)
        self.save_freq = integer("save_freq", save_freq, 1)
        self.path = Path(folder) / "checkpoint.zip"
        self._saved_call = 0
        self._between_rollouts = False

    def _init_callback(self) -> None:
        if not isinstance(self.model, FlowSAC):
            raise ValueError(f"ResumableCheckpoint needs a FlowSAC model, got {type(self.model).__name__}")
        self._flow_model = self.model

    def _on_training_start(self) -> None:
        self._settings = run_settings(self._flow_model, self.training_env)
        if self.path.exists():
            self._restore(read_checkpoint(self.path))
            self._saved_call = self.n_calls
        else:
            self._save()  # so what cannot be saved is known now, and not after hours
        self._between_rollouts = True

    def _on_rollout_start(self) -> None:
        if self.n_calls - self._saved_call >= self.save_freq:
            self._save()
        self._between_rollouts = False

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._between_rollouts = True

    def _on_training_end(self) -> None:
        # A callback that ends training stops within a rollout; and the RL Zoo calls this after an interruption, too,
        # which may be one of the gradient steps. No run could go on from there
        model = self._flow_model
        is_finished = model.num_timesteps >= model._total_timesteps and not model.policy.training
        if self._between_rollouts and is_finished and self.n_calls > self._saved_call:
            self._save()

    def _save(self) -> None:
        callbacks = {
            key: (callback.n_calls, callback.get_state() if hasattr(callback, "get_state") else None)
            for key, callback in self._callbacks().items()
        }
        content = {"settings": self._settings, "callbacks": callbacks, **run_state(self._flow_model, self.training_env)}
        write_checkpoint(self.path, content)
        self._saved_call = self.n_calls
        if self.verbose >= 2:
            print(f"Saved {self.path} at step {self.num_timesteps}")

    def _restore(self, content: dict[str, Any]) -> None:
        check_same_run(self.path, content["settings"], self._settings)
        callbacks = self._callbacks()
        for key, (n_calls, state) in content["callbacks"].items():
            if key in callbacks:
                callbacks[key].n_calls = n_calls
                if state is not None:
                    callbacks[key].set_state(state)
        restore_run(self._flow_model, self.training_env, content)
        for callback in callbacks.values():  # those before this one have seen 0
            callback.num_timesteps = self._flow_model.num_timesteps
        if self.verbose >= 1:
            print(f"Resuming at step {self.num_timesteps} from {self.path}")

    def _callbacks(self) -> dict[str, Any]:
        """All callbacks of the run, by their class and a number among those of the class."""
        seen: Counter[str] = Counter()
        found = {}
        for callback in _tree(self.locals["callback"]):
            name = type(callback).__name__
            found[f"{name} {seen[name]}"] = callback
            seen[name] += 1
        return found


def _tree(callback: BaseCallback) -> Iterator[BaseCallback]:
    yield callback
    children = callback.callbacks if isinstance(callback, CallbackList) else []
    if isinstance(callback, EventCallback) and callback.callback is not None:
        children = [callback.callback]
    for child in children:
        yield from _tree(child)
