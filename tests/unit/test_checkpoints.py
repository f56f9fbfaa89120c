import logging
import os
import signal

import pytest
import torch
from drawn import FIT, several

from cytolapse.checkpoints import Checkpoints, Snapshot, TrainingInterrupted
from cytolapse.learning import fit_network
from cytolapse.models import weights_digest
from cytolapse.progress import Progress, Work

STEPS = 6


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


class Cut(Progress):
    """A training that something happens to after one of its steps, and that counts them."""

    def __init__(self, at=None, happens=None):
        super().__init__({"test": Work(STEPS)}, None, at_most=False)
        self.at, self.happens, self.steps = at, happens, []

    def stepped(self, phase, step, steps, loss):
        super().stepped(phase, step, steps, loss)
        self.steps.append(step)
        if step == self.at:
            self.happens()


def fit(checkpoints=None, progress=None, **changes):
    settings = FIT | {"steps": STEPS, "crop_px": 32} | changes
    return fit_network(several(2), phase="test", check=None, checkpoints=checkpoints, progress=progress, **settings)


def lose_power():
    raise ConnectionError("the power is gone")


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def uninterrupted():
    torch.set_num_threads(1)
    network, rows = fit()
    return weights_digest(network.state_dict()), rows


@pytest.mark.parametrize("at", [1, 4])
def test_a_training_that_lost_its_machine_goes_on_and_gives_the_same_network_bit_by_bit(tmp_path, uninterrupted, at):
    with pytest.raises(ConnectionError), Checkpoints(tmp_path / "c", "key", every_s=0) as checkpoints:
        fit(checkpoints, Cut(at, lose_power))

    again = Cut()
    with Checkpoints(tmp_path / "c", "key", every_s=0) as checkpoints:
        network, rows = fit(checkpoints, again)

    assert again.steps == list(range(at, STEPS + 1))  # the step that was lost is made again
    assert weights_digest(network.state_dict()) == uninterrupted[0]
    assert rows == again.rows == uninterrupted[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_training_after_its_step_with_a_checkpoint_to_go_on_from(tmp_path, uninterrupted, number):
    before = signal.getsignal(number)
    with (
        pytest.raises(TrainingInterrupted, match=f"training interrupted by {number.name}; .* goes on from there"),
        Checkpoints(tmp_path / "c", "key") as checkpoints,
    ):
        fit(checkpoints, Cut(3, lambda: os.kill(os.getpid(), number)))
    assert signal.getsignal(number) is before

    again = Cut()
    with Checkpoints(tmp_path / "c", "key") as checkpoints:
        network, _ = fit(checkpoints, again)

    assert again.steps == [4, 5, 6]
    assert weights_digest(network.state_dict()) == uninterrupted[0]


def test_a_signal_between_trainings_ends_at_once(tmp_path):
    with pytest.raises(TrainingInterrupted, match="SIGTERM"), Checkpoints(tmp_path, "key"):
        terminate()


def test_a_phase_that_is_done_is_not_made_again(tmp_path, uninterrupted):
    for _ in range(2):
        progress = Cut()
        with Checkpoints(tmp_path / "c", "key") as checkpoints:
            network, rows = fit(checkpoints, progress)

    assert progress.steps == []
    assert weights_digest(network.state_dict()) == uninterrupted[0]
    assert rows == progress.rows == uninterrupted[1]
    assert not network.training


def test_a_training_that_stalled_ends_at_the_same_step_after_it_was_cut_off(tmp_path):
    def stalled(checkpoints, progress):
        settings = FIT | {"steps": 20, "crop_px": 32, "patience": 1}
        return fit_network(
            several(2), phase="test", check=lambda _: (0.5, 0.5), checkpoints=checkpoints, progress=progress, **settings
        )

    whole, rows = stalled(None, None)
    with pytest.raises(TrainingInterrupted), Checkpoints(tmp_path / "c", "key") as checkpoints:
        stalled(checkpoints, Cut(5, terminate))
    with Checkpoints(tmp_path / "c", "key") as checkpoints:
        again, rows_again = stalled(checkpoints, None)

    assert rows[-1].step == rows_again[-1].step == 6
    assert rows_again == rows
    assert weights_digest(again.state_dict()) == weights_digest(whole.state_dict())


# the files


def snapshot():
    return Snapshot({"network.weight": torch.arange(6.0).reshape(2, 3)}, {"step": 7})


def test_what_is_saved_is_loaded(tmp_path):
    Checkpoints(tmp_path / "c", "key").save("final", snapshot())

    loaded = Checkpoints(tmp_path / "c", "key").load("final")

    assert torch.equal(loaded.tensors["network.weight"], snapshot().tensors["network.weight"])
    assert loaded.notes == {"step": 7}
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["final.safetensors"]


def test_where_there_is_no_checkpoint_none_is_loaded(tmp_path):
    assert Checkpoints(tmp_path / "c", "key").load("final") is None


def test_a_checkpoint_of_another_training_is_not_used_and_the_log_says_so(tmp_path, caplog):
    Checkpoints(tmp_path, "one").save("final", snapshot())

    with caplog.at_level(logging.INFO):
        assert Checkpoints(tmp_path, "another").load("final") is None

    assert "final.safetensors is not used: it is of other annotations, settings, code or arithmetic" in caplog.text


def flip_a_bit(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-5], lambda content: b"", flip_a_bit, lambda content: b"\x80\x04pickle" * 9]
)
def test_a_damaged_checkpoint_is_not_used_and_the_log_says_so(tmp_path, caplog, damage):
    checkpoints = Checkpoints(tmp_path, "key")
    checkpoints.save("final", snapshot())
    path = tmp_path / "final.safetensors"
    path.write_bytes(damage(path.read_bytes()))

    assert checkpoints.load("final") is None
    assert "final.safetensors is not used: it is damaged" in caplog.text


def test_a_disk_that_takes_no_checkpoint_costs_no_training(tmp_path, caplog):
    (tmp_path / "c").write_text("a file where the folder should be")

    Checkpoints(tmp_path / "c", "key").save("final", snapshot())

    assert "no checkpoint could be written" in caplog.text


def test_a_checkpoint_is_due_after_its_time_and_at_once_after_a_signal(tmp_path):
    assert Checkpoints(tmp_path, "key", every_s=0).due
    due = []
    with (
        pytest.raises(TrainingInterrupted),
        Checkpoints(tmp_path, "key", every_s=1e9) as checkpoints,
        checkpoints.deferred(),
    ):
        due += [checkpoints.due, terminate(), checkpoints.due]

    assert due == [False, None, True]


def test_a_training_that_ended_well_leaves_nothing(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c", "key")
    checkpoints.save("final", snapshot())

    checkpoints.remove()

    assert list(tmp_path.iterdir()) == []
