import pytest
import torch

from cytolapse.arithmetic import choose_precision, reproducible

CPU = torch.device("cpu")
GPU = torch.device("cuda")


@pytest.mark.parametrize(
    ("precision", "float16", "allowed"),
    [
        ("int8", True, "auto, float32, bfloat16, float16"),
        ("float8", False, "auto, float32, bfloat16"),
        ("float16", False, "auto, float32, bfloat16"),
    ],
)
def test_a_precision_that_is_not_known_is_refused(precision, float16, allowed):
    with pytest.raises(ValueError, match=f"precision is '{precision}'; wanted one of {allowed}$"):
        choose_precision(precision, CPU, float16=float16)


def test_a_precision_that_is_named_is_taken():
    assert choose_precision("bfloat16", CPU) == torch.bfloat16
    assert choose_precision("float16", CPU, float16=True) == torch.float16


@pytest.mark.parametrize(
    ("capabilities", "chosen"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"neon": True, "bf16": True}, torch.float32),
    ],
)
def test_auto_takes_bfloat16_where_the_processor_is_quick_with_it(monkeypatch, capabilities, chosen):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)

    assert choose_precision("auto", CPU) == chosen
    assert choose_precision("auto", CPU, float16=True) == chosen


@pytest.mark.parametrize(
    ("has_bfloat16", "float16", "chosen"),
    [(True, True, torch.bfloat16), (False, True, torch.float16), (False, False, torch.float32)],
)
def test_a_gpu_computes_in_the_half_precision_that_it_has(monkeypatch, has_bfloat16, float16, chosen):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bfloat16)

    assert choose_precision("auto", GPU, float16=float16) == chosen


def test_torch_is_as_it_was_after_a_reproducible_part():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    with reproducible(seed=1, threads=threads + 1):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_num_threads() == threads + 1
        torch.rand(5)

    assert (torch.rand(3) == expected).all()
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
