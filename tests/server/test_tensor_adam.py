"""Adam with one second moment a tensor: no coordinate bends the direction of a release."""

import pytest
import torch

from homebody_server.tensor_adam import TensorAdam


def test_the_first_step_goes_along_the_gradient() -> None:
    p = torch.nn.Parameter(torch.zeros(3))
    p.grad = torch.tensor([3.0, -4.0, 0.0])
    TensorAdam([p], lr=0.5).step()
    root = (25.0 / 3.0) ** 0.5
    assert p.tolist() == pytest.approx([-1.5 / root, 2.0 / root, 0.0], rel=1e-6)


def test_a_tensor_without_a_gradient_stays_where_it_is() -> None:
    still, moved = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    moved.grad = torch.ones(2)
    TensorAdam([still, moved], lr=0.5).step()
    assert still.tolist() == [1.0, 1.0]
    assert moved.tolist() == pytest.approx([0.5, 0.5])


def test_gradients_of_any_scale_make_steps_of_one_length() -> None:
    steps = []
    for scale in (1e-6, 1.0, 1e6):
        p = torch.nn.Parameter(torch.zeros(2))
        p.grad = scale * torch.tensor([1.0, 2.0])
        TensorAdam([p], lr=0.1).step()
        steps.append(p.tolist())
    assert steps[0] == pytest.approx(steps[1], rel=1e-3)
    assert steps[1] == pytest.approx(steps[2], rel=1e-3)


@pytest.mark.parametrize(
    "options", [{"lr": 0.0}, {"lr": 0.1, "eps": 0.0}, {"lr": 0.1, "betas": (0.9, 1.0)}], ids=str
)
def test_constants_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="lr and eps"):
        TensorAdam([torch.nn.Parameter(torch.zeros(1))], **options)  # type: ignore[arg-type]


def test_a_release_is_made_once() -> None:
    optimizer = TensorAdam([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(ValueError, match="closure"):
        optimizer.step(lambda: 0.0)  # type: ignore[arg-type]
