import pytest
import torch

from cytolapse import devices
from cytolapse.devices import choose_device, cuda_problem, driver_version

CPU = torch.device("cpu")


@pytest.fixture
def gpu(monkeypatch):
    """torch says that there is a card that it can use."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "NVIDIA Test")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 6))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90", "compute_120"])
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *size, device=None, **more: zeros(*size, **more))
    return monkeypatch


@pytest.fixture
def driver(monkeypatch, tmp_path):
    path = tmp_path / "version"
    path.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 UTC 2021\n")
    monkeypatch.setattr(devices, "DRIVER_FILE", path)


def test_auto_and_cuda_take_a_gpu_that_can_be_used(gpu):
    assert cuda_problem() is None
    assert choose_device("auto").type == choose_device("cuda").type == "cuda"


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (8, 9), (9, 0), (12, 0), (13, 1)])
def test_a_card_of_a_generation_that_the_build_serves_is_taken(gpu, capability):
    gpu.setattr(torch.cuda, "get_device_capability", lambda *_: capability)

    assert cuda_problem() is None


@pytest.mark.parametrize("capability", [(6, 0), (7, 0), (10, 0)])
def test_a_card_that_the_build_does_not_serve_is_named_with_its_capability_driver_and_remedy(gpu, driver, capability):
    gpu.setattr(torch.cuda, "get_device_capability", lambda *_: capability)

    with pytest.raises(
        RuntimeError,
        match=rf"device is cuda, but the GPU NVIDIA Test has compute capability {capability[0]}.{capability[1]}, and "
        r"torch .* \(CUDA 13.0\) serves sm_75, .* \(driver 470.57.02\); choose a newer card .* set device to cpu",
    ):
        choose_device("cuda")


def no_driver():
    raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\nMore lines.")


def test_a_driver_that_is_missing_or_too_old_is_named_with_the_remedy(gpu, driver):
    gpu.setattr(torch.cuda, "init", no_driver)
    gpu.setenv("CUDA_VISIBLE_DEVICES", "")

    with pytest.raises(
        RuntimeError,
        match=r"finds no GPU that it can use: The NVIDIA driver on your system is too old \(found version 11040\). "
        r"\(driver 470.57.02, CUDA_VISIBLE_DEVICES \); run the job on a partition with GPUs .* driver installed",
    ):
        choose_device("cuda")


def test_a_build_without_cuda_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)

    with pytest.raises(RuntimeError, match=r"torch .* is built without CUDA; install the packages pinned in envs"):
        choose_device("cuda")


def test_a_card_that_does_not_compute_is_named(gpu):
    def taken(*_, **__):
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable")

    gpu.setattr(torch, "zeros", taken)

    with pytest.raises(RuntimeError, match="the GPU NVIDIA Test .* does not compute: CUDA error: all .* nvidia-smi"):
        choose_device("cuda")


def test_auto_without_a_gpu_computes_on_the_cpu_and_says_why(gpu, caplog):
    gpu.setattr(torch.cuda, "init", no_driver)

    assert choose_device("auto") == CPU
    assert "device is auto, the CPU computes: torch" in caplog.text
    assert "driver on your system is too old" in caplog.text


def test_the_cpu_is_taken_where_it_is_asked_for():
    assert choose_device("cpu") == CPU


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="device is 'tpu'; wanted auto, cuda or cpu"):
        choose_device("tpu")


def test_a_machine_without_driver_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "DRIVER_FILE", tmp_path / "none")

    assert driver_version() == "not found"


def test_auto_does_not_leave_a_gpu_idle_that_the_job_was_given(gpu):
    gpu.setattr(torch.cuda, "init", no_driver)
    gpu.setenv("CUDA_VISIBLE_DEVICES", "0")

    with pytest.raises(
        RuntimeError, match=r"this job was given a GPU \(CUDA_VISIBLE_DEVICES 0\), but torch .* finds no"
    ):
        choose_device("auto")
    gpu.setenv("CUDA_VISIBLE_DEVICES", "")
    assert choose_device("auto") == CPU
