"""Numbers depend on seed, purpose and index alone."""

import torch

from tasks.common.seeds import generator_for, seed_for


def test_the_same_question_has_the_same_answer_whatever_was_asked_before():
    first = torch.randn(4, generator=generator_for(0, "noise", 3, "a"))
    torch.randn(100)
    assert torch.equal(torch.randn(4, generator=generator_for(0, "noise", 3, "a")), first)


def test_seed_purpose_and_index_all_count():
    seeds = {seed_for(0, "noise", 1), seed_for(1, "noise", 1), seed_for(0, "order", 1), seed_for(0, "noise", 2)}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)
