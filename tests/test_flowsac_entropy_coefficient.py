"""alpha: fixed or learnt, what moves it, and that the value given when a model is loaded rules."""

import numpy as np
import pytest
import torch
from stable_baselines3 import SAC

from sb3_flowsac import FlowSAC
from sb3_flowsac.algorithm.entropy_coefficient import EntropyCoefficient


def learnt(start=0.5):
    return EntropyCoefficient(f"auto_{start}", learning_rate=1e-2)


@pytest.mark.parametrize(("excess", "change"), [(1.0, -1), (-1.0, 1)])
def test_alpha_falls_while_the_entropy_is_above_its_target(excess, change):
    alpha = learnt()
    assert alpha().item() == pytest.approx(0.5)
    loss = alpha.step(torch.tensor(excess))
    assert loss.item() == pytest.approx(np.log(0.5) * excess)  # SAC's: -(log alpha) (log pi + target entropy)
    assert np.sign(alpha().item() - 0.5) == change


def test_a_fixed_alpha_stays():
    alpha = EntropyCoefficient(0.3, learning_rate=1e-2)
    alpha.step(torch.tensor(5.0))
    assert alpha().item() == pytest.approx(0.3) and not list(p for p in alpha.parameters() if p.requires_grad)


@pytest.mark.parametrize("saved", [0.1, "auto_0.2"])
@pytest.mark.parametrize("given", [0.5, "auto", "auto_0.3"])
def test_the_value_given_at_load_rules(make_model, tmp_path, saved, given):
    model = make_model("Pendulum-v1", ent_coef=saved, learning_rate=1e-2, policy_delay=1).learn(60)
    model.save(tmp_path / "model")
    start = {0.5: 0.5, "auto": 1.0, "auto_0.3": 0.3}[given]
    loaded = FlowSAC.load(tmp_path / "model", device="cpu", ent_coef=given)
    through_objects = FlowSAC.load(tmp_path / "model", device="cpu", custom_objects={"ent_coef": given})
    through_parameters = make_model("Pendulum-v1", ent_coef=given)
    through_parameters.set_parameters(model.get_parameters())
    for each in (loaded, through_objects, through_parameters):
        assert each.current_ent_coef() == pytest.approx(start)
        each.set_env(model.get_env()) if each.get_env() is None else None
        each.learn(40)
        assert (each.current_ent_coef() == pytest.approx(start)) == (given == 0.5)


def test_parameters_of_a_sac_name_what_they_lack(make_model):
    sac = SAC("MlpPolicy", "Pendulum-v1", buffer_size=10, policy_kwargs={"net_arch": [4]})
    theirs = {"ent_coef_optimizer": sac.get_parameters()["ent_coef_optimizer"]}
    model = make_model("Pendulum-v1")
    model.set_parameters(theirs, exact_match=False)
    assert model.current_ent_coef() == pytest.approx(0.1)
    with pytest.raises(RuntimeError, match="log_value"):
        model.entropy_coefficient.load_state_dict(theirs["ent_coef_optimizer"])


def test_a_learnt_alpha_goes_on_after_loading(make_model, tmp_path):
    """With the optimizer's moments, when nothing else is asked for."""
    model = make_model("Pendulum-v1", ent_coef="auto_0.2", learning_rate=1e-2, policy_delay=1).learn(60)
    model.save(tmp_path / "model")
    loaded = FlowSAC.load(tmp_path / "model", device="cpu")
    assert loaded.current_ent_coef() == model.current_ent_coef() != pytest.approx(0.2)
    moments = [m.entropy_coefficient.optimizer.state_dict()["state"][0]["exp_avg"] for m in (model, loaded)]
    assert torch.equal(*moments) and moments[0] != 0
