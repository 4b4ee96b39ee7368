"""How many proposals an update needs: the sample schedule that Remark 1 of the paper leaves open."""

import math

MIN_PROPOSALS = 12  # so many are to count, as an effective sample size, so fewer are never drawn
MEMORY = 0.98  # of the running effective sample size, over some fifty updates


def scheduled_proposals(ess_share: float, budget: int) -> int:
    """
    The number of proposals N at which ``MIN_PROPOSALS`` of them are expected to count.

    Theorem 2 bounds an update's error by a power of exp(R_4) / N, with R_4 the Renyi divergence of the target from the
    sampling distribution. The effective sample size is N exp(-R_2), its cheapest estimate. So most are drawn at the
    start, whose noise a policy with several modes does not get rid of later.

    :param ess_share: running effective sample size over the number of proposals, in [0, 1]
    :param budget: largest number of proposals
    :return: an even number of at least ``MIN_PROPOSALS``, or the budget if that is smaller
    """
    needed = 2 * math.ceil(0.5 * MIN_PROPOSALS / max(ess_share, MIN_PROPOSALS / budget))
    return min(budget, needed)


def running_ess_share(running: float, share: float) -> float:
    """
    The running effective sample size after one more update.

    :param running: the one before, 0 at the start: all of the budget
    :param share: what the update found, over its number of proposals
    """
    return MEMORY * running + (1.0 - MEMORY) * share
